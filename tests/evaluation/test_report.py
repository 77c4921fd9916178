import json

import pytest

from gooseguard.evaluation.report import (
    CategoryMetrics,
    CategoryReport,
    OrdinaryReport,
    Report,
    ScorerReport,
    SourceReport,
    ranking_table,
)
from gooseguard.metrics.resampling import Estimate

NAN = float("nan")
NOTHING = Estimate(NAN)


def metrics(auc):
    return CategoryMetrics(
        headline_auc=auc,
        pooled_auc=Estimate(0.9123, 0.9, 0.92),
        average_precision=NOTHING,
        recall_at_fpr=Estimate(0.25, 0.2, 0.3),
        threshold=0.5,
        f1=NOTHING,
        fpr=Estimate(0.0123, 0.01, 0.02),
        fnr=Estimate(0.5, 0.4, 0.6),
        precision=NOTHING,
        ece=0.0312,
        brier=0.1,
    )


@pytest.fixture
def report():
    scorers = (metrics(Estimate(0.95, 0.94, 0.96)), metrics(NOTHING))
    return Report(
        dataset="made@abc",
        split="val",
        n_rows=12345,
        scorers=(ScorerReport("m@1", 0, Estimate(0.95, 0.94, 0.96)), ScorerReport("b@2", 3, NOTHING)),
        mean_difference=Estimate(0.05, 0.04, 0.06),
        mean_categories=("hate",),
        categories=(
            CategoryReport("hate", 1200, 34000, ("a",), scorers, Estimate(-0.01, -0.02, 0.001), None),
        ),
        sources=(SourceReport("hate", "a", 1200, 34000, (Estimate(0.95, 0.94, 0.96), None)),),
        languages=(),
        ordinary=(
            OrdinaryReport("plain", 1000, (Estimate(0.01, 0.005, 0.02), NOTHING), ({"hate": 0.01}, {})),
        ),
        settings={"max_fpr": 0.01},
    )


def test_markdown(report):
    expected = (
        "| category | positives / negatives | sources | AUC, model | AUC, baseline | difference "
        "| pooled AUC, model / baseline | average precision, model / baseline |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        "| `hate` | 1,200 / 34,000 | 1 | 0.950 (0.940 to 0.960) | – | -0.010 (-0.020 to +0.001) "
        "| 0.912 / 0.912 | – / – |\n"
        "| **mean of 1** |  |  | **0.950 (0.940 to 0.960)** | **–** | **+0.050 (+0.040 to +0.060)** |  |  |"
    )
    assert ranking_table(report) == expected
    text = report.to_markdown()
    assert text.startswith(
        "12,345 rows of made@abc, split val. `m@1` against `b@2`; refused rows: 0, 3.\n\n### Ranking\n"
    )
    assert "| `hate` | 0.500 / 0.500 | – / – | 1.2 % / 1.2 % | 50.0 % / 50.0 % | – / – |" in text
    assert "| `plain` | 1,000 | 1.00 % (0.50 % to 2.00 %) | – |" in text
    assert "### Languages" not in text
    # Every line of a table has as many cells as its header.
    for table in text.split("\n\n"):
        lines = [line for line in table.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1


def test_json_has_null_for_nan(report):
    found = json.loads(report.to_json(), parse_constant=pytest.fail)
    assert (found["kind"], found["format"]) == ("report", 1)
    category = found["categories"][0]
    assert category["scorers"][1]["headline_auc"] == {"value": None, "low": None, "high": None}
    assert category["scorers"][0]["fpr"] == {"value": 0.0123, "low": 0.01, "high": 0.02}
    assert category["average_precision_difference"] is None
    assert found["sources"][0]["aucs"][1] is None
