"""Platt scaling on data whose scale and bias are known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.training.calibrate import SMALLEST_SCALE, apply_platt, fit_platt


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(("scale", "bias"), [(1.0, 0.0), (1.7, -0.4), (0.8, 1.0), (0.2, 3.0), (4.0, -6.0)])
def test_soft_labels_give_back_the_parameters_that_made_them(scale, bias):
    logits = np.random.default_rng(0).normal(0, 2, 2000).astype(np.float32)
    labels = sigmoid(scale * logits.astype(np.float64) + bias).astype(np.float32)
    found = fit_platt(logits, labels)
    # The ridge of 1e-6 and float32 labels leave this much.
    np.testing.assert_allclose(found, (scale, bias), rtol=2e-3, atol=2e-3)


def test_drawn_labels_give_nearly_back_the_parameters_that_made_them():
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, 40_000).astype(np.float32)
    labels = (rng.random(40_000) < sigmoid(1.7 * logits - 0.4)).astype(np.float32)
    # Standard errors are about 0.02.
    np.testing.assert_allclose(fit_platt(logits, labels), (1.7, -0.4), atol=0.08)


def test_the_mean_score_is_the_share_of_positives():
    # The bias's own equation at the optimum, whatever the data.
    rng = np.random.default_rng(2)
    logits, labels = rng.normal(3, 1, 500).astype(np.float32), (rng.random(500) < 0.1).astype(np.float32)
    scores = apply_platt(logits, *fit_platt(logits, labels))
    assert math.isclose(scores.mean(), labels.mean(), abs_tol=1e-4)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(2, 200))
def test_rankings_are_kept(seed, n):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, n).astype(np.float32)
    scale, bias = fit_platt(logits, rng.random(n).astype(np.float32).round(rng.integers(0, 3)))
    assert scale > 0
    assert math.isfinite(scale) and math.isfinite(bias)
    order = np.argsort(logits)
    scores = apply_platt(logits, scale, bias)
    assert (np.diff(scores[order]) >= 0).all()
    assert ((scores >= 0) & (scores <= 1)).all()


def test_logits_that_point_the_wrong_way_are_flattened_not_turned_round():
    logits = np.linspace(-3, 3, 100).astype(np.float32)
    scale, _ = fit_platt(logits, (logits < 0).astype(np.float32))
    assert scale == SMALLEST_SCALE


@pytest.mark.parametrize("labels", [[0, 0, 0, 1, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
def test_separable_and_one_sided_data_stay_finite(labels):
    logits = np.array([-2.0, -1.0, -0.5, 0.5, 3.0], np.float32)
    scale, bias = fit_platt(logits, np.array(labels, np.float32))
    scores = apply_platt(logits, scale, bias)
    assert math.isfinite(scale) and math.isfinite(bias)
    np.testing.assert_allclose(scores, labels, atol=0.01)


def test_scores_by_hand():
    logits = np.array([0.0, 1.0, 1e30, -1e30], np.float32)
    np.testing.assert_allclose(
        apply_platt(logits, math.log(3), -math.log(3)), [0.25, 0.5, 1.0, 0.0], atol=1e-15
    )
