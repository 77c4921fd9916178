"""The category heads against their definition, by hand; the native ones against those in NumPy."""

import math

import numpy as np
import pytest

from gooseguard.codec import extension
from gooseguard.codec.scores import Calibration
from gooseguard.core.errors import EngineError
from gooseguard.engine.heads import make_heads

needs_native = pytest.mark.skipif(bool(extension.problem()), reason="no native extension")
KINDS = [pytest.param(True, marks=needs_native, id="native"), pytest.param(False, id="python")]
CALIBRATION = Calibration(("toxicity", "insult"), np.array([1.0, 2.0]), np.array([0.0, -1.0]))


def sigmoid(odds):
    return 1 / (1 + math.exp(-odds))


@pytest.mark.parametrize("is_native", KINDS)
def test_scores_by_hand(is_native):
    weight = np.array([[1, 2, 3], [-1, 0, 0.5]], np.float32)
    heads = make_heads(weight, np.array([0.25, 0.5], np.float32), CALIBRATION, is_native=is_native)
    # Of the heads' own: weights are copied.
    weight[:] = np.nan
    found = heads.scores(
        np.array([[1, 0, -1], [0, 0, 0]], np.float32), np.array([[0, 1], [0.5, 0]], np.float32)
    )
    # Logits: 1 - 3 + 0.25 = -1.75, and -1 - 0.5 + 0.5 + 1 = 0; then 0.75 and 0.5.
    expected = [[sigmoid(-1.75), sigmoid(-1)], [sigmoid(0.75), sigmoid(0)]]
    np.testing.assert_allclose(found, expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize("is_native", KINDS)
@pytest.mark.parametrize("n_features", [1, 7, 8, 61])
def test_each_text_is_scored_as_if_alone(is_native, n_features):
    rng = np.random.default_rng(n_features)
    weight = rng.normal(0, 1, (2, n_features)).astype(np.float32)
    heads = make_heads(weight, np.zeros(2, np.float32), CALIBRATION, is_native=is_native)
    features = rng.normal(0, 1, (40, n_features)).astype(np.float32)
    added = rng.normal(0, 1, (40, 2)).astype(np.float32)
    whole = heads.scores(features, added)
    alone = np.concatenate([heads.scores(features[i : i + 1], added[i : i + 1]) for i in range(40)])
    assert whole.tobytes() == alone.tobytes()
    odds = (features.astype(np.float64) @ weight.T + added) * CALIBRATION.scale + CALIBRATION.bias
    np.testing.assert_allclose(whole, 1 / (1 + np.exp(-odds)), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("is_native", KINDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_logit_that_is_not_finite_gives_no_score(is_native, value):
    heads = make_heads(np.ones((2, 3), np.float32), np.zeros(2, np.float32), CALIBRATION, is_native=is_native)
    found = heads.scores(np.ones((1, 3), np.float32), np.array([[0, value]], np.float32))
    assert np.isnan(found).tolist() == [[False, True]]


@pytest.mark.parametrize("is_native", KINDS)
def test_the_far_ends_overflow_nothing(is_native):
    heads = make_heads(np.ones((2, 1), np.float32), np.zeros(2, np.float32), CALIBRATION, is_native=is_native)
    found = heads.scores(np.array([[3e38], [-3e38]], np.float32), np.zeros((2, 2), np.float32))
    assert found.tolist() == [[1, 1], [0, 0]]


@needs_native
def test_features_of_another_model_are_refused():
    heads = make_heads(np.ones((2, 3), np.float32), np.zeros(2, np.float32), CALIBRATION)
    for features, added in (((1, 4), (1, 2)), ((1, 3), (1, 3)), ((2, 3), (1, 2))):
        with pytest.raises(EngineError, match="of another model"):
            heads.scores(np.zeros(features, np.float32), np.zeros(added, np.float32))
    with pytest.raises(EngineError, match="different numbers of categories"):
        make_heads(np.ones((3, 3), np.float32), np.zeros(3, np.float32), CALIBRATION, is_native=True)
