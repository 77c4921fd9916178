"""Tables and findings of scores that are made up here, counted by hand."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from gooseguard.core.manifest import read_manifest
from gooseguard.evaluation import robustness_figure
from gooseguard.evaluation.robustness import Curve, Point
from gooseguard.evaluation.runs import draw_runs
from gooseguard.experiment.fusion import CONDITIONS, TRAININGS, Found, FusionExperiment, ItemsConfig
from gooseguard.experiment.fusion_report import find_winners, tabulate, to_markdown, write_fusion_report
from gooseguard.models.fusion import FusionKind

CASES = np.array(["none"] * 40 + ["text"] * 20 + ["image"] * 20 + ["combination"] * 20)
SEEDS = (0, 1)


def make_found():
    """Each kind sees its own part of the harm: late misses combinations, early is noisier."""
    rng = np.random.default_rng(0)
    scores = {}
    for training in TRAININGS:
        for kind in FusionKind:
            for condition in CONDITIONS:
                lift = (CASES != "none") * 0.4
                if kind is FusionKind.LATE:
                    lift = lift * (CASES != "combination")
                noise = 0.3 if kind is FusionKind.EARLY else 0.1
                drawn = 0.3 + lift + rng.normal(0, noise, (2, len(CASES)))
                scores[training, kind, condition] = np.clip(drawn, 0, 1).astype(np.float32)
    run = SimpleNamespace(threshold=0.5, facts={"parameters": 1234, "steps": 7, "seconds": 1.5})
    drivers = np.zeros((2, len(CASES), 2), bool)
    drivers[:, CASES == "text", 0] = True
    drivers[:, CASES == "image", 1] = True
    drivers[:, CASES == "combination"] = True
    labels = (CASES != "none").astype(float)
    rates = draw_runs(labels, scores["balanced", FusionKind.EARLY, "complete"], np.full(2, 0.5)).rates()
    return Found(
        FusionExperiment(seeds=SEEDS, n_resamples=200, items=ItemsConfig(n_val=30)),
        CASES,
        {(training, kind): [run, run] for training in TRAININGS for kind in FusionKind},
        scores,
        dict.fromkeys(FusionKind, drivers),
        [Curve("early", "text", "absent", (Point(0, 100, rates), Point(1, 90, rates)))],
        {"widths": {kind.value: 8 for kind in FusionKind}},
    )


@pytest.fixture(scope="module")
def found():
    return make_found()


@pytest.fixture(scope="module")
def document(found):
    return tabulate(found)


def share_of_pairs(positives, negatives):
    """ROC AUC by its definition: the share of pairs in the right order, ties one half."""
    gaps = positives[:, None] - negatives
    return ((gaps > 0) + 0.5 * (gaps == 0)).mean()


def test_the_table_is_of_one_case_against_all_harmless_items(found, document):
    assert len(document["table"]) == 2 * 3 * 4 * 4
    for row in document["table"]:
        is_positive = (CASES != "none") if row["case"] == "any" else np.isin(CASES, row["case"])
        chosen = is_positive | (CASES == "none")
        scores = found.scores[row["training"], FusionKind(row["fusion"]), row["condition"]]
        labels = CASES[chosen] != "none"
        aucs = [share_of_pairs(own[chosen][labels], own[chosen][~labels]) for own in scores]
        assert row["auc"]["value"] == pytest.approx(np.mean(aucs), abs=1e-6)
        assert row["fpr"]["value"] == pytest.approx((scores[:, CASES == "none"] >= 0.5).mean())
        assert row["fnr"]["value"] == pytest.approx((scores[:, chosen][:, labels] < 0.5).mean())
        assert (row["n_positives"], row["n_negatives"]) == (60 if row["case"] == "any" else 20, 40)


def test_differences_are_of_asymmetric_less_the_other(document):
    value = {
        (row["training"], row["fusion"], row["case"], row["condition"]): row["auc"]["value"]
        for row in document["table"]
    }
    for row in document["differences"]:
        key = (row["case"], row["condition"])
        expected = value[row["training"], "asymmetric", *key] - value[row["training"], row["against"], *key]
        assert row["auc"]["value"] == pytest.approx(expected)


def test_findings_say_who_is_above_where_the_interval_excludes_nothing():
    def row(case, value, low, high, against="early"):
        return {
            "training": "balanced", "against": against, "case": case, "condition": "complete",
            "auc": {"value": value, "low": low, "high": high},
        }  # fmt: skip

    rows = [row("text", 0.1, 0.01, 0.2), row("image", -0.1, -0.2, -0.01), row("any", 0.1, -0.1, 0.3)]
    rows.append(row("any", float("nan"), float("nan"), float("nan"), "late"))
    nothing = "above in none; below in none; not told apart in 0 of 0"
    assert find_winners(rows) == [
        (
            "balanced training, asymmetric against early: above in harm in text, complete (+0.100); "
            "below in harm in image, complete (-0.100); not told apart in 1 of 3"
        ),
        "balanced training, asymmetric against late: above in none; below in none; not told apart in 1 of 1",
        f"imbalanced training, asymmetric against early: {nothing}",
        f"imbalanced training, asymmetric against late: {nothing}",
    ]


def test_drivers_are_counted_among_flagged_items(found, document):
    rows = {(row["fusion"], row["case"]): row for row in document["drivers"]}
    flagged = found.scores["balanced", FusionKind.EARLY, "complete"][:, CASES == "text"] >= 0.5
    assert rows["early", "text"] == {
        "fusion": "early", "case": "text", "n_flagged": flagged.sum(), "text": 1.0, "image": 0.0, "both": 0.0,
    }  # fmt: skip
    assert rows["asymmetric", "combination"]["both"] == 1.0


def test_the_page_says_that_it_is_a_controlled_benchmark(document):
    page = to_markdown(document)
    assert page.startswith("> A controlled benchmark, drawn and written by code")
    assert page.count("| early | text |") == 2 * 2 + 1
    assert "early 1,234 parameters (width 8)" in page
    first = next(row for row in document["table"] if row["fusion"] == "early" and row["case"] == "text")
    assert f"| early | text | {first['auc']['value']:.3f} ({first['auc']['low']:.3f} to" in page


def test_the_report_is_a_folder_with_a_manifest(found, document, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(robustness_figure, "DPI", 40)
    made = write_fusion_report(found, document, tmp_path / "report")
    manifest = read_manifest(tmp_path / "report", "fusion-report", 1, verify=True)
    assert set(manifest.files) == set(made)
    assert json.loads(made["results.json"].read_text("utf-8")) == document
    assert "![fusion.png](fusion.png)" in made["report.md"].read_text("utf-8")
    assert all(path.stat().st_size > 1000 for path in made.values())
