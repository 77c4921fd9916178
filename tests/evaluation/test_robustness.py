"""Curves of a scorer that reads its scores off its input, so that every value is known beforehand."""

import json

import numpy as np
import pytest

from gooseguard.core.content import Content, Modality, Part
from gooseguard.core.errors import DataError
from gooseguard.core.scorer import Scores
from gooseguard.evaluation.corruption import KINDS
from gooseguard.evaluation.robustness import ALL_KINDS, RobustnessConfig, Runs, measure_robustness, score_runs

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE


class Plain:
    """Scores 0.9 where a part holds an X, else 0.1."""

    name, categories, modalities, languages = "plain@0", {"harm"}, {TEXT, IMAGE}, {"en"}

    def __init__(self, reads=(TEXT, IMAGE)):
        self.reads = reads

    def score(self, contents):
        return [
            Scores(
                {
                    "harm": 0.9
                    if any(b"X" in part.data for part in content.parts if part.modality in self.reads)
                    else 0.1
                },
                self.name,
            )
            for content in contents
        ]


def content(text, image):
    return Content((Part.from_text(text), Part(IMAGE, image, "image/png")))


CONTENTS = [content("say X", b"-") for _ in range(20)] + [content("say y", b"-") for _ in range(80)]
LABELS = np.array([1.0] * 20 + [0.0] * 80)


def measure(kinds, **changes):
    return measure_robustness(
        [Runs("both", [Plain()], [0.5]), Runs("image", [Plain((IMAGE,))], [0.5])],
        CONTENTS,
        LABELS,
        "harm",
        RobustnessConfig(kinds, n_resamples=50, **changes),
    )


def test_absent_text_is_missed_in_proportion():
    curve, blind = measure({TEXT: ["absent"]})
    assert (curve.name, curve.modality, curve.kind) == ("both", "text", "absent")
    assert [point.strength for point in curve.points] == [0, 1, 2, 3, 4, 5]
    # A fifth more of all items lose their text; of the harmful ones about as many: none at 0, all at 5.
    missed = [point.rates.fnr.value for point in curve.points]
    assert missed[0] == 0
    assert missed[-1] == 1
    assert missed == sorted(missed)
    # AUC of a scorer with two values: its hits rank above, the missed tie with the negatives.
    assert [point.rates.auc.value for point in curve.points] == pytest.approx(
        [1 - share / 2 for share in missed]
    )
    assert all(point.rates.fpr.value == 0 for point in curve.points)
    assert [point.rates.auc.value for point in blind.points] == [0.5] * 6


def test_replaced_text_gives_false_alarms():
    curve = measure({TEXT: ["replaced"]})[0]
    # At full strength the harmful texts stand with 20 other items; few of those are harmful themselves.
    last = curve.points[-1].rates
    assert last.fpr.value == pytest.approx(20 * last.fnr.value / 80)
    assert last.fnr.value > 0.5


def test_damage_to_what_is_not_read_changes_nothing():
    blind = measure({TEXT: ["truncation", "character-noise"]}, strengths=(1, 5))[1::2]
    for curve in blind:
        assert {point.rates for point in curve.points} == {curve.points[0].rates}


def test_progress_and_json():
    told = []
    curves = measure_robustness(
        [Runs("both", [Plain()], [0.5])],
        CONTENTS,
        LABELS,
        "harm",
        RobustnessConfig({TEXT: ["absent", "truncation"]}, strengths=(2,), n_resamples=20),
        lambda done, total: told.append((done, total)),
    )
    assert told == [(0, 2), (1, 2), (2, 2)]
    table = json.loads(json.dumps([curve.to_json() for curve in curves], allow_nan=False))
    assert table[1]["kind"] == "truncation"
    assert table[1]["points"][1]["rates"]["auc"].keys() == {"value", "low", "high"}


def test_nothing_left_is_not_scored():
    alone = [Content.from_text("X"), Content.from_text("y"), None]
    scores = score_runs([Plain(), Plain((IMAGE,))], alone, "harm")
    assert scores[:, :2].tolist() == [[pytest.approx(0.9), pytest.approx(0.1)], [pytest.approx(0.1)] * 2]
    assert np.isnan(scores[:, 2]).all()


def test_labels_of_another_length():
    with pytest.raises(DataError, match="for 100 contents"):
        measure_robustness([], CONTENTS, LABELS[:5], "harm", ALL_KINDS)


def test_everything_is_measured_unless_less_is_asked_for():
    assert ALL_KINDS.kinds == KINDS
    assert ALL_KINDS.strengths == (1, 2, 3, 4, 5)


def test_contents_are_damaged_only_for_who_asks():
    """A scorer of scores that are kept never sees the contents, so that they need not be made again."""
    asked = []

    def score(scorers, make, category, damage):
        asked.append(damage)
        if damage == "text truncation 2":
            assert len(make()) == len(CONTENTS)
        return np.full((1, len(CONTENTS)), 0.5, np.float32)

    (curve,) = measure_robustness(
        [Runs("kept", [], [0.5])],
        CONTENTS,
        LABELS,
        "harm",
        RobustnessConfig({TEXT: ["truncation"]}, strengths=(1, 2), n_resamples=5),
        score=score,
    )
    assert asked == ["complete", "text truncation 1", "text truncation 2"]
    assert [point.n_left for point in curve.points] == [100, 100, 100]
