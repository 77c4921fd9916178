import json
import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, confusion_matrix, f1_score, roc_auc_score

from gooseguard.core.errors import ConfigError, DataError
from gooseguard.evaluation.compare import EvaluationConfig, evaluate
from gooseguard.evaluation.scored import LabelledRows, ScoredRows

NAN = float("nan")
CATEGORIES = ("toxicity", "hate", "spam")
THRESHOLDS = {"toxicity": 0.6, "hate": 0.4}
CONFIG = EvaluationConfig(n_resamples=60, ordinary_sources=("ordinary", "absent"))


def make_rows(n=900, seed=0):
    generator = np.random.default_rng(seed)
    labels = (generator.random((n, 3)) < 0.3).astype(float)
    labels[generator.random((n, 3)) < 0.2] = NAN
    sources = np.repeat(["a", "b", "ordinary"], n // 3)
    labels[sources == "ordinary"] = NAN
    # Nobody annotated a positive of spam.
    labels[labels[:, 2] == 1, 2] = 0
    languages = np.array(["en", "de"])[generator.integers(0, 2, n)]
    languages[:10] = "fr"
    return LabelledRows(CATEGORIES, labels, sources, languages, "made@abc", "val")


def make_scores(rows, strength, seed, name):
    noise = np.random.default_rng(seed).normal(size=rows.labels.shape)
    logits = strength * (np.nan_to_num(rows.labels) - 0.5) + noise
    return ScoredRows(name, 1 / (1 + np.exp(-logits)), THRESHOLDS)


@pytest.fixture(scope="module")
def rows():
    return make_rows()


@pytest.fixture(scope="module")
def report(rows):
    return evaluate(rows, make_scores(rows, 3, 1, "model@1"), make_scores(rows, 1, 2, "baseline@2"), CONFIG)


def known(rows, k, source=None):
    chosen = ~np.isnan(rows.labels[:, k])
    return chosen if source is None else chosen & (rows.sources == source)


def test_point_estimates_agree_with_scikit_learn(rows, report):
    for place, scored in enumerate((make_scores(rows, 3, 1, ""), make_scores(rows, 1, 2, ""))):
        for k, category in enumerate(CATEGORIES[:2]):
            found = report.categories[k].scorers[place]
            chosen = known(rows, k)
            truth, scores = rows.labels[chosen, k], scored.scores[chosen, k]
            within = [
                roc_auc_score(rows.labels[known(rows, k, s), k], scored.scores[known(rows, k, s), k])
                for s in "ab"
            ]
            flagged = scores >= THRESHOLDS[category]
            tn, fp, fn, tp = confusion_matrix(truth, flagged).ravel()
            assert found.headline_auc.value == pytest.approx(np.mean(within), abs=1e-12)
            assert found.pooled_auc.value == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
            expected = average_precision_score(truth, scores)
            assert found.average_precision.value == pytest.approx(expected, abs=1e-12)
            assert found.f1.value == pytest.approx(f1_score(truth, flagged), abs=1e-12)
            assert found.fpr.value == fp / (fp + tn)
            assert found.fnr.value == fn / (fn + tp)
            assert found.precision.value == tp / (tp + fp)
            assert (report.categories[k].n_positives, report.categories[k].n_negatives) == (tp + fn, tn + fp)
            assert found.headline_auc.low < found.headline_auc.value < found.headline_auc.high


def test_sources_and_languages(rows, report):
    found = {(one.category, one.source): one for one in report.sources}
    assert set(found) == {(category, source) for category in ("toxicity", "hate") for source in "ab"}
    model = make_scores(rows, 3, 1, "")
    chosen = known(rows, 1, "b")
    expected = roc_auc_score(rows.labels[chosen, 1], model.scores[chosen, 1])
    assert found["hate", "b"].aucs[0].value == pytest.approx(expected, abs=1e-12)
    # French is too small; only toxicity is measured a language.
    assert [(one.category, one.language) for one in report.languages] == [
        ("toxicity", "de"),
        ("toxicity", "en"),
    ]
    chosen = known(rows, 0) & (rows.languages == "de")
    expected = roc_auc_score(rows.labels[chosen, 0], model.scores[chosen, 0])
    assert report.languages[0].aucs[0].value == pytest.approx(expected, abs=1e-12)
    assert report.languages[0].n_positives == rows.labels[chosen, 0].sum()


def test_differences_are_those_of_the_values(report):
    for found in report.categories[:2]:
        model, baseline = found.scorers
        expected = model.headline_auc.value - baseline.headline_auc.value
        assert found.headline_difference.value == pytest.approx(expected, abs=1e-12)
        assert found.headline_difference.low > 0
    assert report.mean_categories == ("toxicity", "hate")
    means = [np.mean([report.categories[k].scorers[i].headline_auc.value for k in (0, 1)]) for i in (0, 1)]
    assert [scorer.mean_headline_auc.value for scorer in report.scorers] == pytest.approx(means, abs=1e-12)
    assert report.mean_difference.value == pytest.approx(means[0] - means[1], abs=1e-12)
    assert report.mean_difference.low <= report.mean_difference.value <= report.mean_difference.high


def test_one_class_is_nan_and_a_missing_threshold_too(report):
    spam = report.categories[2].scorers[0]
    for found in (
        spam.headline_auc,
        spam.pooled_auc,
        spam.average_precision,
        spam.recall_at_fpr,
        spam.f1,
        spam.fpr,
    ):
        assert math.isnan(found.value)
    assert report.categories[2].headline_sources == ()


def test_ordinary_text(rows, report):
    (found,) = report.ordinary
    model = make_scores(rows, 3, 1, "").scores[rows.sources == "ordinary"]
    flagged = (model[:, 0] >= 0.6) | (model[:, 1] >= 0.4)
    assert (found.source, found.n_rows) == ("ordinary", 300)
    assert found.flagged[0].value == flagged.mean()
    assert found.by_category[0] == {
        "toxicity": (model[:, 0] >= 0.6).mean(),
        "hate": (model[:, 1] >= 0.4).mean(),
    }


def test_the_same_scorer_twice_differs_by_nothing(rows):
    model = make_scores(rows, 2, 1, "m@1")
    found = evaluate(rows, model, model, CONFIG).mean_difference
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_row_order_does_not_matter_to_values(rows, report):
    order = np.random.default_rng(9).permutation(rows.sources.size)
    shuffled = LabelledRows(CATEGORIES, rows.labels[order], rows.sources[order], rows.languages[order])
    scorers = [
        ScoredRows(name, make_scores(rows, strength, seed, "").scores[order], THRESHOLDS)
        for strength, seed, name in ((3, 1, "model@1"), (1, 2, "baseline@2"))
    ]
    other = evaluate(shuffled, *scorers, CONFIG)
    for first, second in zip(report.categories[:2], other.categories[:2], strict=True):
        for a, b in zip(first.scorers, second.scorers, strict=True):
            assert a.headline_auc.value == pytest.approx(b.headline_auc.value, abs=1e-12)
            assert a.average_precision.value == pytest.approx(b.average_precision.value, abs=1e-12)
            assert a.fpr == b.fpr
            assert a.ece == pytest.approx(b.ece, abs=1e-12)


def test_a_category_is_measured_where_all_its_scorers_scored(rows):
    model, baseline = make_scores(rows, 3, 1, "m@1"), make_scores(rows, 1, 2, "b@2")
    partly, without_hate = model.scores.copy(), baseline.scores.copy()
    partly[:50] = NAN
    without_hate[:, 1] = NAN
    found = evaluate(rows, ScoredRows("m@1", partly, THRESHOLDS, 50), ScoredRows("b@2", without_hate), CONFIG)
    chosen = known(rows, 0)
    chosen[:50] = False
    toxicity, hate, _ = found.categories
    assert toxicity.n_positives + toxicity.n_negatives == chosen.sum()
    expected = roc_auc_score(rows.labels[chosen, 0], baseline.scores[chosen, 0])
    assert toxicity.scorers[1].pooled_auc.value == pytest.approx(expected, abs=1e-12)
    assert math.isnan(toxicity.scorers[1].f1.value)
    assert hate.scorers[1] is None
    assert hate.headline_difference is None
    assert found.mean_categories == ("toxicity",)
    assert found.scorers[0].n_errors == 50
    json.loads(found.to_json())
    assert "refused rows: 50, 0" in found.to_markdown()


def test_a_model_alone(rows):
    found = evaluate(rows, make_scores(rows, 3, 1, "m@1"), config=CONFIG)
    assert found.mean_difference is None
    assert found.mean_categories == ("toxicity", "hate")
    assert "baseline" not in found.to_markdown()


def test_what_does_not_fit_is_refused(rows):
    scores = make_scores(rows, 1, 1, "m@1").scores
    with pytest.raises(DataError, match=r"scores of m@1 have shape \(900, 2\)"):
        evaluate(rows, ScoredRows("m@1", scores[:, :2]))
    with pytest.raises(DataError, match=r"expected 0\.\.1"):
        evaluate(rows, ScoredRows("m@1", scores * 2))
    with pytest.raises(ConfigError, match="n_resamples is 0"):
        EvaluationConfig(n_resamples=0)
    with pytest.raises(ConfigError, match="max_fpr"):
        EvaluationConfig(max_fpr=1.0)
