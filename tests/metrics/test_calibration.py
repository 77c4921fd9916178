import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as reference_log_loss

from gooseguard.core.errors import DataError
from gooseguard.metrics.calibration import (
    brier_score,
    expected_calibration_error,
    log_loss,
    reliability_curve,
)

NAN = float("nan")


def test_expected_calibration_error_known_value():
    # Two bins of two: scores .1 .3 (mean .2) with labels 0 0; .6 .8 (mean .7) with labels 1 0 (mean .5).
    labels, scores = np.array([0, 0, 1, 0.0]), np.array([0.1, 0.3, 0.6, 0.8])
    curve = reliability_curve(labels, scores, 2)
    np.testing.assert_allclose(curve.scores, [0.2, 0.7])
    np.testing.assert_allclose(curve.labels, [0.0, 0.5])
    np.testing.assert_array_equal(curve.counts, [2, 2])
    assert expected_calibration_error(labels, scores, 2) == pytest.approx((0.2 + 0.2) / 2)


def test_equal_scores_share_a_bin():
    labels, scores = np.array([1, 0, 1, 0, 1.0]), np.array([0.4, 0.4, 0.4, 0.4, 0.9])
    curve = reliability_curve(labels, scores, 4)
    np.testing.assert_allclose(curve.scores, [0.4, 0.9])
    np.testing.assert_allclose(curve.labels, [0.5, 1.0])


def test_bins_have_equal_mass():
    scores = np.random.default_rng(0).random(1000) ** 4
    np.testing.assert_array_equal(reliability_curve(np.zeros(1000), scores, 10).counts, [100] * 10)


def test_calibrated_scores_have_a_small_error():
    generator = np.random.default_rng(1)
    scores = generator.random(200_000)
    labels = (generator.random(200_000) < scores).astype(float)
    assert expected_calibration_error(labels, scores) < 0.005
    # Squeezed towards one half by .5: the mean gap of |s - s'| over uniform s is 1/8.
    assert expected_calibration_error(labels, 0.25 + scores / 2) == pytest.approx(0.125, abs=0.005)


def test_soft_labels_are_compared_as_shares():
    assert expected_calibration_error(np.full(4, 0.25), np.full(4, 0.25)) == 0
    assert brier_score(np.array([0.25]), np.array([0.75])) == 0.25


@pytest.mark.parametrize("metric", [expected_calibration_error, brier_score, log_loss])
def test_no_data_is_nan(metric):
    assert math.isnan(metric(np.array([]), np.array([])))
    assert math.isnan(metric(np.array([NAN, 1]), np.array([0.5, NAN])))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 9)), min_size=2, max_size=50), st.randoms())
def test_agrees_with_scikit_learn_in_any_order(rows, random):
    labels, scores = np.array(rows, dtype=float).T
    scores = scores / 10
    assert brier_score(labels, scores) == pytest.approx(
        brier_score_loss(labels, scores, pos_label=1), abs=1e-12
    )
    assert log_loss(labels, scores) == pytest.approx(
        reference_log_loss(labels, scores, labels=[0, 1]), abs=1e-9
    )
    order = random.sample(range(len(rows)), len(rows))
    for metric in (expected_calibration_error, brier_score, log_loss):
        assert metric(labels, scores) == pytest.approx(metric(labels[order], scores[order]), abs=1e-12)


def test_a_certain_mistake_is_finite():
    assert log_loss(np.array([1.0]), np.array([0.0])) == pytest.approx(-math.log(1e-7))


def test_logits_are_refused():
    with pytest.raises(DataError, match=r"expected 0\.\.1"):
        brier_score(np.array([1.0, 0.0]), np.array([2.5, -1.0]))
    with pytest.raises(DataError, match="at least 1"):
        reliability_curve(np.array([1.0]), np.array([0.5]), 0)
