"""Scores of one model, or of several that differ by their seed alone, to AUC, FPR and FNR with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gooseguard.core.errors import DataError
from gooseguard.metrics.ranking import POSITIVE, Ranking, confusion, known_rows, rates_of_counts
from gooseguard.metrics.resampling import N_RESAMPLES, Estimate, bootstrap, estimate, wilson_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

STATISTICS = ("auc", "fpr", "fnr")
"""Columns of `RunDraws`."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How well runs tell positives from negatives, mean over the runs."""

    n_positives: int
    """Rows that every run scored."""
    n_negatives: int
    """Rows that every run scored."""
    auc: Estimate
    """ROC AUC; higher is better."""
    fpr: Estimate
    """Share of negatives at or above the run's threshold; lower is better."""
    fnr: Estimate
    """Share of positives below it; lower is better."""


@dataclass(frozen=True, slots=True, eq=False)
class RunDraws:
    """Values and bootstrap draws of the statistics of some runs."""

    counts: tuple[int, int]
    """Positives and negatives."""
    values: NDArray[np.float64]
    """(3,), mean over the runs, as `STATISTICS`."""
    draws: NDArray[np.float64]
    """(N, 3)."""
    errors: tuple[tuple[int, int], tuple[int, int]] | None
    """Of a single run: false positives among negatives, false negatives among positives."""

    def rates(self) -> Rates:
        """Give the estimates: bootstrap intervals, but Wilson's for the rates of a single run."""
        auc, fpr, fnr = (estimate(float(self.values[k]), self.draws[:, k]) for k in range(len(STATISTICS)))
        if self.errors is not None:
            fpr, fnr = (wilson_interval(*counts) for counts in self.errors)
        return Rates(*self.counts, auc, fpr, fnr)

    def minus(self, other: RunDraws) -> Estimate:
        """Give how far the AUC is above another's, and the paired interval: of the same rows and seed."""
        return estimate(float(self.values[0] - other.values[0]), self.draws[:, 0] - other.draws[:, 0])


def draw_runs(
    labels: NDArray[np.floating[Any]],
    scores: NDArray[np.floating[Any]],
    thresholds: NDArray[np.floating[Any]],
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
) -> RunDraws:
    """Measure runs and resample them: rows within their class, and runs, both at once.

    A resample holds as many runs as there are, drawn with replacement: the interval covers other rows and
    other seeds. With few runs it is somewhat too narrow: R of them show (R - 1) / R of the variance.

    Args:
        labels: float, (n,), NaN = not annotated.
        scores: float, (R, n), NaN = not scored.
        thresholds: float, (R,), smallest score that each run flags.
        seed: of the resamples.
        n_resamples: how many.

    Raises:
        DataError: there is no run, or shapes do not fit.
    """
    R = len(scores)
    if R < 1 or scores.shape != (R, len(labels)) or thresholds.shape != (R,):
        raise DataError(
            f"runs: labels {labels.shape}, scores {scores.shape}, thresholds {thresholds.shape}; "
            "expected (n,), (R, n), (R,) with a run at least"
        )
    known = known_rows(labels, *scores)
    labels, scores = labels[known], scores[:, known]
    rankings = [Ranking.build(labels, own) for own in scores]
    # Of each run, n rows by TP, FP, FN, TN.
    outcomes = np.stack(
        [confusion(labels, own, limit).T for own, limit in zip(scores, thresholds.tolist(), strict=True)]
    ).astype(np.float32)

    def measure(weights: NDArray[Any], shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Row weights (B, n) and run shares (B, R) to statistics (B, 3)."""
        aucs = np.stack([ranking.tally(weights).roc_auc() for ranking in rankings], 1)
        rates = rates_of_counts(np.stack([weights @ own for own in outcomes], 1).astype(np.float64))
        columns = (aucs, rates["fpr"], rates["fnr"])
        return np.stack([(shares * column).sum(1) for column in columns], 1)

    of_runs = np.random.default_rng([seed, 1])

    def statistic(weights: NDArray[np.float32]) -> NDArray[np.float64]:
        drawn = of_runs.integers(R, size=(len(weights), R))
        shares = np.stack([np.bincount(row, minlength=R) for row in drawn]) / R
        return measure(weights, shares)

    positive = labels >= POSITIVE
    values = measure(np.ones((1, len(labels)), np.float32), np.full((1, R), 1 / R))[0]
    draws = bootstrap(statistic, positive, np.random.default_rng(seed), n_resamples)
    n_positives, n_negatives = int(positive.sum()), int((~positive).sum())
    errors = None
    if R == 1:
        _, fp, fn, _ = (int(count) for count in outcomes[0].sum(0))
        errors = ((fp, n_negatives), (fn, n_positives))
    return RunDraws((n_positives, n_negatives), values, draws, errors)
