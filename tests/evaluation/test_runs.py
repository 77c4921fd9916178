"""Means over runs against counts by hand, and intervals against their known widths."""

import math

import numpy as np
import pytest

from gooseguard.core.errors import DataError
from gooseguard.evaluation.runs import draw_runs


def make(n=400, n_run=3, seed=0, spread=1.0):
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 4 == 0).astype(float)
    scores = rng.normal(labels * 1.2, spread, (n_run, n))
    return labels, 1 / (1 + np.exp(-scores))


def test_values_are_means_over_the_runs():
    labels, scores = make()
    thresholds = np.array([0.5, 0.6, 0.7])
    rates = draw_runs(labels, scores, thresholds).rates()
    assert (rates.n_positives, rates.n_negatives) == (100, 300)
    # ROC AUC by its definition: the share of pairs in the right order; there are no ties.
    pairs = [(own[labels == 1][:, None] > own[labels == 0]).mean() for own in scores]
    assert rates.auc.value == pytest.approx(np.mean(pairs))
    flagged = scores >= thresholds[:, None]
    assert rates.fpr.value == pytest.approx(flagged[:, labels == 0].mean())
    assert rates.fnr.value == pytest.approx(1 - flagged[:, labels == 1].mean())
    for found in (rates.auc, rates.fpr, rates.fnr):
        assert found.low < found.value < found.high


def test_a_single_run_has_wilsons_intervals():
    labels = np.array([1.0] * 10 + [0.0] * 20)
    scores = np.array([[0.9] * 8 + [0.1] * 2 + [0.1] * 20])
    rates = draw_runs(labels, scores, np.array([0.5])).rates()
    assert rates.fpr.value == 0
    # Wilson, 0 of 20 and 2 of 10 at 95 %, by its formula with z = 1.959964.
    z2 = 1.959963984540054**2
    assert rates.fpr.high == pytest.approx(z2 / (20 + z2))
    centre, half = (2 + z2 / 2) / (10 + z2), math.sqrt(z2 * (2 * 8 / 10 + z2 / 4)) / (10 + z2)
    assert (rates.fnr.low, rates.fnr.high) == pytest.approx((centre - half, centre + half))


def test_the_interval_covers_rows_and_runs():
    """Of equal runs only the rows vary, and among equal rows only the runs: both widths are known."""
    labels = np.array([0.0] * 500 + [1.0])
    scores = np.zeros((4, 501))
    scores[:, :100] = 0.9
    rows_only = draw_runs(labels, scores, np.full(4, 0.5), n_resamples=4000)
    # A share of 0.2 of 500.
    assert rows_only.draws[:, 1].std() == pytest.approx(math.sqrt(0.2 * 0.8 / 500), rel=0.05)
    scores = np.zeros((4, 501))
    scores[:2] = 0.9
    runs_only = draw_runs(labels, scores, np.full(4, 0.5), n_resamples=4000)
    # The mean of four draws of 0 and 1.
    assert runs_only.draws[:, 1].std() == pytest.approx(math.sqrt(0.25 / 4), rel=0.05)


def test_differences_are_paired():
    labels, scores = make(spread=2.0)
    limits = np.full(3, 0.5)
    one = draw_runs(labels, scores, limits)
    same = draw_runs(labels, scores, limits)
    assert one.minus(same) == type(one.minus(same))(0.0, 0.0, 0.0)
    # A scorer that is a little better on every row: the interval of the difference is narrower than its own.
    better = draw_runs(labels, np.clip(scores + 0.05 * labels, 0, 1), limits)
    gap = better.minus(one)
    assert 0 < gap.low < gap.value < gap.high
    assert gap.high - gap.low < one.rates().auc.high - one.rates().auc.low


def test_rows_that_a_run_did_not_score_are_left_out():
    labels, scores = make()
    scores[1, ::2] = np.nan
    rates = draw_runs(labels, scores, np.full(3, 0.5)).rates()
    assert rates.n_positives + rates.n_negatives == 200
    nothing = draw_runs(labels, np.full((2, 400), np.nan), np.full(2, 0.5)).rates()
    assert math.isnan(nothing.auc.value)
    assert math.isnan(nothing.fnr.value)


def test_shapes_that_do_not_fit():
    labels, scores = make()
    for changed in (
        (labels[:-1], scores, np.ones(3)),
        (labels, scores, np.ones(2)),
        (labels, scores[:0], np.ones(0)),
    ):
        with pytest.raises(DataError, match="expected"):
            draw_runs(*changed)
