import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.codec.scores import Calibration, to_scores, to_text_scores
from gooseguard.core.content import Modality
from gooseguard.core.errors import ArtefactError, EngineError

CATEGORIES = ("toxicity", "insult")
TABLE = {"toxicity": {"scale": 2.0, "bias": -1.0}, "insult": {"scale": 1, "bias": 0}}

finite = st.floats(-(2.0**100), 2.0**100, width=32)


def test_scores_of_known_logits():
    # 2 * 0.5 - 1 = 0, so 1/2; the logistic function at ln 3 is 3/4.
    scores = to_scores(
        np.array([0.5, math.log(3)], np.float64), Calibration.from_json(TABLE, CATEGORIES), "m@1"
    )
    assert scores.values["toxicity"] == 0.5
    assert scores.values["insult"] == pytest.approx(0.75, abs=1e-15)
    assert scores.model == "m@1"
    assert scores.applied == dict.fromkeys(CATEGORIES, frozenset({Modality.TEXT}))
    assert scores.spans == ()


def test_apply_keeps_the_far_ends_exact():
    calibration = Calibration(("toxicity",), np.array([1.0]), np.array([0.0]))
    logits = np.array([[-1e38], [-50.0], [0.0], [50.0], [1e38]], np.float32)
    expected = [0.0, math.exp(-50) / (1 + math.exp(-50)), 0.5, 1 / (1 + math.exp(-50)), 1.0]
    assert calibration.apply(logits)[:, 0].tolist() == pytest.approx(expected, rel=1e-14, abs=0)


@settings(max_examples=50, deadline=None)
@given(st.lists(finite, min_size=2, max_size=20), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_scores_rise_with_logits_and_stay_within_0_and_1(logits, scale, bias):
    calibration = Calibration(("toxicity",), np.array([scale]), np.array([bias]))
    scores = calibration.apply(np.sort(np.array(logits, np.float32))[:, None])[:, 0]
    assert (np.diff(scores) >= 0).all()
    assert scores.min() >= 0
    assert scores.max() <= 1


def test_json_there_and_back():
    calibration = Calibration.from_json(TABLE, CATEGORIES)
    assert calibration.to_json() == TABLE
    assert list(Calibration.from_json(calibration.to_json(), CATEGORIES[::-1]).scale) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("table", "messages"),
    [
        ([], ["no JSON object"]),
        ({"toxicity": TABLE["toxicity"]}, ["'insult' is missing"]),
        ({**TABLE, "hate": TABLE["insult"]}, ["'hate' is no category of the model"]),
        ({**TABLE, "insult": {"scale": 1.0}}, ["'insult' must have scale and bias"]),
        (
            {**TABLE, "insult": {"scale": True, "bias": "0"}},
            ["'insult' has a scale or bias that is no number"],
        ),
        (
            {**TABLE, "insult": {"scale": 0.0, "bias": math.nan}},
            ["scale of 'insult' is 0.0", "bias of 'insult' is nan"],
        ),
        (
            {**TABLE, "toxicity": {"scale": -1.0, "bias": 0.0}},
            ["scale of 'toxicity' is -1.0, expected a finite number above 0"],
        ),
        ({"hate": {}}, ["'toxicity' is missing", "'insult' is missing", "'hate' is no category"]),
    ],
)
def test_refusals(table, messages):
    with pytest.raises(ArtefactError) as caught:
        Calibration.from_json(table, CATEGORIES)
    for message in messages:
        assert message in str(caught.value)


def test_wrong_lengths_are_refused():
    with pytest.raises(ArtefactError, match=r"bias is of shape \(1,\), expected \(2,\)"):
        Calibration(CATEGORIES, np.ones(2), np.zeros(1))


@pytest.mark.parametrize("logit", [math.nan, math.inf])
def test_a_logit_that_is_not_finite_is_an_error(logit):
    with pytest.raises(EngineError, match="no finite logit for insult"):
        to_scores(np.array([0.0, logit]), Calibration.from_json(TABLE, CATEGORIES), "m@1")


def test_scores_of_texts_are_named_and_the_broken_ones_are_errors():
    first, second = to_text_scores(np.array([[0.25, 1.0], [0.5, math.nan]]), CATEGORIES, "m@1")
    assert first.values == {"toxicity": 0.25, "insult": 1.0}
    assert first.model == "m@1"
    assert first.applied == dict.fromkeys(CATEGORIES, frozenset({Modality.TEXT}))
    assert isinstance(second, EngineError)
    assert "no finite logit for insult;" in str(second)
