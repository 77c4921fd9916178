import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.core.errors import ConfigError, DataError
from gooseguard.core.manifest import digest_file
from gooseguard.core.policy import Policy, Threshold
from gooseguard.data.shards import read_columns, read_dataset_manifest
from gooseguard.evaluation.cache import draw_order
from gooseguard.evaluation.report import CategoryReport, Report
from gooseguard.evaluation.run import (
    EvaluationRequest,
    gate_findings,
    is_same_data,
    kinship,
    matching_thresholds,
    run_evaluation,
)
from gooseguard.metrics.resampling import Estimate

_path = Path(__file__).parents[1] / "contracts" / "tiny_dataset.py"
_spec = importlib.util.spec_from_file_location("tiny_dataset", _path)
tiny_dataset = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny_dataset)

NAN = float("nan")
POLICY = Policy("p", "1", {"toxicity": Threshold(0.5, 0.9)})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return tiny_dataset.write_dataset(tmp_path_factory.mktemp("made") / "set", 30, 30, 60)


def run(dataset, output, card=None, **fields):
    request = EvaluationRequest(dataset, output, baseline=None, **fields)
    scorer = tiny_dataset.OracleScorer()
    return run_evaluation(scorer, POLICY, card or {}, request, tiny_dataset.SilentListener())


def test_labels_stay_with_their_scores(dataset, tmp_path):
    found = run(dataset, tmp_path / "out", limit=40)
    columns = read_columns(dataset, "test", ("toxicity", "insult"))
    order = draw_order(60)[:40]
    np.testing.assert_array_equal(found.rows.labels, columns.labels[order])
    assert found.rows.sources.tolist() == [columns.sources[row] for row in order]
    assert set(found.rows.languages.tolist()) == {"en", "und"}
    # The oracle's scores are above one half where the label is 1, and nowhere else.
    known = ~np.isnan(found.rows.labels)
    assert ((found.scorers[0].scores >= 0.5) == (found.rows.labels == 1))[known].all()
    assert found.rows.dataset == f"set@{digest_file(dataset / 'manifest.json')[:12]}"
    assert found.report.categories[0].scorers[0].f1.value == 1.0


def test_an_empty_split_is_an_error(tmp_path):
    dataset = tiny_dataset.write_dataset(tmp_path / "set", 3, 0, 3)
    with pytest.raises(DataError, match="split val holds no row"):
        run(dataset, tmp_path / "out", split="val")
    assert not (tmp_path / "out").exists()


def test_a_scorer_of_unknown_categories_is_an_error(dataset, tmp_path):
    class Other(tiny_dataset.OracleScorer):
        categories = frozenset({"rudeness"})

    request = EvaluationRequest(dataset, tmp_path / "out", baseline=None)
    with pytest.raises(DataError, match="no category of the taxonomy"):
        run_evaluation(Other(), POLICY, {}, request, tiny_dataset.SilentListener())


def test_another_artefact_is_not_written_over(dataset, tmp_path):
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(ConfigError, match="holds a something else"):
        run(dataset, tmp_path)


# Of four negatives the model flags two (0.6 and 0.7), so two of the baseline's (0.9 and 0.8) may be flagged.
LABELS = np.array([[0.0], [0.0], [0.0], [0.0], [1.0], [np.nan]])
MODEL = np.array([[0.1], [0.6], [0.7], [0.2], [0.9], [0.9]], np.float32)
BASELINE = np.array([[0.9], [0.4], [0.3], [0.8], [0.1], [0.99]], np.float32)


def test_the_baseline_flags_as_many_negatives_as_the_model():
    found = matching_thresholds(LABELS, MODEL, BASELINE, ("hate",), {"hate": 0.5})
    assert found == {"hate": float(np.nextafter(np.float32(0.4), np.float32(1)))}
    assert matching_thresholds(LABELS, MODEL, BASELINE, ("hate",), {"hate": 0.0}) == {"hate": 0.0}
    above = matching_thresholds(LABELS, MODEL, BASELINE, ("hate",), {"hate": 0.8})["hate"]
    assert above > 0.9
    assert above == pytest.approx(0.9)
    assert matching_thresholds(LABELS, MODEL, BASELINE, ("hate",), {"spam": 0.5}) == {}
    assert matching_thresholds(np.ones((6, 1)), MODEL, BASELINE, ("hate",), {"hate": 0.5}) == {}


GRID = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])


@settings(deadline=None, max_examples=60)
@given(rows=st.lists(st.tuples(GRID, GRID, st.booleans()), min_size=1, max_size=20), threshold=GRID)
def test_never_more_false_positives_and_the_next_lower_threshold_has_more(rows, threshold):
    model, baseline = (np.array([[row[place]] for row in rows], np.float32) for place in (0, 1))
    labels = np.array([[float(row[2])] for row in rows])
    found = matching_thresholds(labels, model, baseline, ("hate",), {"hate": threshold})
    negatives = labels[:, 0] == 0
    if not negatives.any():
        assert found == {}
        return
    allowed = (model[negatives, 0] >= threshold).sum()
    assert (baseline[negatives, 0] >= found["hate"]).sum() <= allowed
    if found["hate"] > 0:
        lower = np.nextafter(np.float32(found["hate"]), np.float32(-1))
        assert (baseline[negatives, 0] >= lower).sum() > allowed


def test_same_data(dataset):
    manifest = read_dataset_manifest(dataset)
    digest = digest_file(dataset / "manifest.json")
    card = tiny_dataset.make_card(manifest.facts)
    assert is_same_data(card, manifest, digest) is True
    assert is_same_data({}, manifest, digest) is None
    assert is_same_data({"data": {"rows": 3}}, manifest, digest) is None
    assert is_same_data({"data": {"dataset": digest}}, manifest, digest) is True
    assert is_same_data({"data": {"dataset": "0" * 64}}, manifest, digest) is False
    for key, change in (("languages", {"en": 1}), ("sets", {"a": {"rows": 1}}), ("categories", {"hate": {}})):
        other = {"data": card["data"] | {key: change}}
        assert is_same_data(other, manifest, digest) is False, key


def test_another_build_is_another_dataset(dataset, tmp_path):
    other = tiny_dataset.write_dataset(tmp_path / "other", 30, 30, 60, seed=5)
    card = tiny_dataset.make_card(read_dataset_manifest(other).facts)
    found = run(dataset, tmp_path / "out", card)
    assert found.is_own_data is False
    (warning,) = found.warnings
    assert warning.startswith("The model was trained on another build of the data: rows measured here may")
    assert run(other, tmp_path / "out", card).warnings == ()


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (None, []),
        ({}, []),
        ("x", []),
        ({"teacher_weight": 0, "ngrams": {"pairs": 0}}, []),
        ({"teacher_weight": 0.5, "ngrams": "x"}, ["distilled from logistic regressions"]),
        ({"teacher_weight": 1, "ngrams": {"pairs": 9}}, ["its n-gram head", "distilled"]),
    ],
)
def test_what_a_model_shares_with_the_baseline_is_said(recipe, said):
    found = kinship({} if recipe is None else {"recipe": recipe})
    assert len(found) == len(said)
    assert all(words in sentence for words, sentence in zip(said, found, strict=True))


def category(n_positives, headline, precision=None):
    return CategoryReport("hate", n_positives, 500, (), (), headline, precision)


def report(mean, *categories):
    return Report("d", "test", 9, (), mean, (), categories, (), (), (), {})


ABOVE, BELOW, EITHER, NOTHING = (
    Estimate(0.02, 0.01, 0.03),
    Estimate(-0.02, -0.03, -0.01),
    Estimate(0.0, -0.01, 0.01),
    Estimate(NAN),
)


@pytest.mark.parametrize(
    ("mean", "categories", "n_findings"),
    [
        (ABOVE, [], 0),
        (EITHER, [], 1),
        (BELOW, [], 1),
        (NOTHING, [], 1),
        (None, [], 1),
        (replace(ABOVE, low=0.0), [], 1),
        (ABOVE, [category(100, EITHER), category(5000, ABOVE)], 0),
        (ABOVE, [category(100, BELOW)], 1),
        (ABOVE, [category(99, BELOW)], 0),
        (ABOVE, [category(100, NOTHING, BELOW), category(100, None, BELOW)], 2),
        (ABOVE, [category(100, ABOVE, BELOW), category(100, None, None), category(100, NOTHING, NOTHING)], 0),
        (BELOW, [category(100, BELOW)], 2),
    ],
)
def test_gate(mean, categories, n_findings):
    assert len(gate_findings(report(mean, *categories))) == n_findings


def test_gate_says_what_and_by_how_much():
    assert gate_findings(report(ABOVE, category(100, BELOW))) == [
        "hate: headline AUC minus the baseline's is -0.0300 to -0.0100; expected no interval below 0"
    ]
