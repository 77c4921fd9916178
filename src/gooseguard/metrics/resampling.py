"""Uncertainty of a metric: bootstrap over rows, stratified and paired, and Wilson's interval of a share.

A resample is a set of counts, how often each row was drawn, so that every scorer and every category is
measured on the same resamples: that is what makes differences and means paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gooseguard.core.errors import DataError
from gooseguard.metrics.ranking import MIN_CLASS, Floats, Ranking, known_rows, sources_with_both_classes

N_RESAMPLES = 1000
"""Resamples of an interval."""

LEVEL = 0.95
"""Coverage of an interval."""

BLOCK_VALUES = 1 << 21
"""Row weights made at once; keeps a block near the size of a second-level cache."""

Statistic = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""Row weights (B, n) to statistics (B, M); NaN where a resample has none."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its interval; NaN where there is no data."""

    value: float
    """Point estimate."""
    low: float = float("nan")
    """Lower end of the interval."""
    high: float = float("nan")
    """Upper end of the interval."""


def resample_weights(
    strata: NDArray[Any], n_resamples: int, generator: np.random.Generator
) -> Iterator[NDArray[np.float32]]:
    """Draw bootstrap resamples, as many rows of each stratum as it holds.

    Args:
        strata: any, (n,), the stratum of each row.
        n_resamples: how many.
        generator: where randomness comes from.

    Yields:
        float32, (B, n): how often each row was drawn; the B add up to `n_resamples`.
    """
    n = strata.size
    _, index = np.unique(strata, return_inverse=True)
    order = np.argsort(index, kind="stable")
    sizes = np.bincount(index) if n else np.empty(0, dtype=np.intp)
    starts = np.cumsum(sizes) - sizes
    block = max(1, min(n_resamples, BLOCK_VALUES // max(n, 1)))
    for begin in range(0, n_resamples, block):
        n_block = min(block, n_resamples - begin)
        weights = np.zeros((n_block, n), dtype=np.float32)
        for start, size in zip(starts, sizes, strict=True):
            rows = order[start : start + size]
            draws = generator.integers(size, size=(n_block, size))
            draws += np.arange(n_block)[:, None] * size
            counts = np.bincount(draws.ravel(), minlength=n_block * size)
            weights[:, rows] = counts.reshape(n_block, size)
        yield weights


def bootstrap(
    statistic: Statistic, strata: NDArray[Any], generator: np.random.Generator, n_resamples: int = N_RESAMPLES
) -> NDArray[np.float64]:
    """Measure statistics on bootstrap resamples, all of them on the same ones.

    Args:
        statistic: row weights to statistics.
        strata: any, (n,), the stratum of each row.
        generator: where randomness comes from.
        n_resamples: how many.

    Returns:
        float64, (n_resamples, M).

    Raises:
        DataError: `n_resamples` is below 1.
    """
    if n_resamples < 1:
        raise DataError(f"bootstrap of {n_resamples} resamples; expected at least 1")
    return np.concatenate(
        [statistic(weights) for weights in resample_weights(strata, n_resamples, generator)]
    )


def percentile_interval(draws: Floats, level: float = LEVEL) -> tuple[float, float]:
    """Give the central interval of bootstrap draws.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3 (percentile interval).

    Args:
        draws: float, (R,); NaN draws (resamples of one class) are left out.
        level: coverage, 0..1.

    Returns:
        Both ends; NaN when every draw is NaN.
    """
    kept = draws[~np.isnan(draws)]
    if not kept.size:
        return float("nan"), float("nan")
    low, high = np.quantile(kept, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


def estimate(value: float, draws: Floats, level: float = LEVEL) -> Estimate:
    """Join a point estimate and the interval of its bootstrap draws; no interval without a value."""
    if np.isnan(value):
        return Estimate(float("nan"))
    return Estimate(float(value), *percentile_interval(draws, level))


def wilson_interval(n_hits: int, n: int, level: float = LEVEL) -> Estimate:
    """Give a share and its Wilson score interval.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA 22,
    page 210.

    Args:
        n_hits: rows that count, 0..n.
        n: rows.
        level: coverage, 0..1.

    Raises:
        DataError: `n_hits` is not in 0..n.
    """
    if not 0 <= n_hits <= n:
        raise DataError(f"share of {n_hits} rows among {n}; expected 0..{n}")
    if n == 0:
        return Estimate(float("nan"))
    share, z = n_hits / n, NormalDist().inv_cdf((1 + level) / 2)
    scale = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / scale
    # Rounding may leave an end a hair inside 0, 1 or the share itself.
    low = 0.0 if n_hits == 0 else float(centre - half)
    high = 1.0 if n_hits == n else float(centre + half)
    return Estimate(share, low, high)


@dataclass(frozen=True, slots=True, eq=False)
class HeadlineRanking:
    """Rankings of one category within each large enough source; the mean of their AUCs is the headline."""

    sources: tuple[str, ...]
    """Sources that count, sorted."""
    rankings: tuple[Ranking, ...]
    """One a source."""

    @classmethod
    def build(
        cls,
        labels: Floats,
        scores: Floats,
        sources: NDArray[Any],
        min_class: int = MIN_CLASS,
        among: NDArray[np.bool_] | None = None,
    ) -> HeadlineRanking:
        """Sort each large enough source once.

        Args:
            labels: float, (n,), NaN = not annotated.
            scores: float, (n,), NaN = not scored.
            sources: str, (n,).
            min_class: positives and negatives a source must hold.
            among: bool, (n,), rows to keep; all when left out.
        """
        known = known_rows(labels, scores) if among is None else known_rows(labels, scores) & among
        names = tuple(sources_with_both_classes(labels, sources, min_class, known))
        return cls(names, tuple(Ranking.build(labels, scores, known & (sources == name)) for name in names))

    def aucs(self, weights: NDArray[Any]) -> NDArray[np.float64]:
        """Give the AUC within each source, float64, (B, S), under row weights (B, n)."""
        columns = [ranking.tally(weights).roc_auc() for ranking in self.rankings]
        return np.stack(columns, axis=1) if columns else np.empty((weights.shape[0], 0))

    def headline(self, weights: NDArray[Any]) -> NDArray[np.float64]:
        """Give the headline AUC, float64, (B,), under row weights (B, n); NaN without a source."""
        if not self.rankings:
            return np.full(weights.shape[0], np.nan)
        return np.asarray(self.aucs(weights).mean(axis=1))


def auc_interval(
    labels: Floats, scores: Floats, generator: np.random.Generator, n_resamples: int = N_RESAMPLES
) -> Estimate:
    """Give the ROC AUC and its bootstrap interval over all rows.

    Args:
        labels: float, (n,), NaN = not annotated.
        scores: float, (n,), NaN = not scored.
        generator: where randomness comes from.
        n_resamples: resamples.
    """
    return auc_difference(labels, scores, None, generator, n_resamples)


def auc_difference(
    labels: Floats,
    scores: Floats,
    others: Floats | None,
    generator: np.random.Generator,
    n_resamples: int = N_RESAMPLES,
) -> Estimate:
    """Give the difference of two ROC AUCs and its paired bootstrap interval, over the rows that both scored.

    Args:
        labels: float, (n,), NaN = not annotated.
        scores: float, (n,), NaN = not scored.
        others: float, (n,), scores of the other scorer; when None, the plain AUC of `scores` is given.
        generator: where randomness comes from.
        n_resamples: resamples.

    Returns:
        AUC of `scores` minus that of `others`; positive when `scores` ranks better.
    """
    known = known_rows(labels, scores) if others is None else known_rows(labels, scores, others)
    first = Ranking.build(labels[known], scores[known])
    second = None if others is None else Ranking.build(labels[known], others[known])

    def difference(weights: NDArray[np.float32]) -> NDArray[np.float64]:
        auc = first.tally(weights).roc_auc()
        return (auc if second is None else auc - second.tally(weights).roc_auc())[:, None]

    n = int(known.sum())
    value = difference(np.ones((1, n), dtype=np.float32))[0, 0]
    draws = bootstrap(difference, np.zeros(n, dtype=np.int8), generator, n_resamples)
    return estimate(value, draws[:, 0])


def mean_headline_difference(
    labels: Floats,
    scores: Floats,
    others: Floats | None,
    sources: NDArray[Any],
    generator: np.random.Generator,
    n_resamples: int = N_RESAMPLES,
) -> Estimate:
    """Give the difference of two mean headline AUCs and its paired bootstrap interval.

    Rows are drawn once for all categories, within each source: a row labelled for several categories enters
    all of them together, as it does in the data.

    Args:
        labels: float, (n, K), NaN = not annotated.
        scores: float, (n, K), NaN = not scored.
        others: float, (n, K), the other scorer; when None, the mean of `scores` itself is given.
        sources: str, (n,).
        generator: where randomness comes from.
        n_resamples: resamples.

    Returns:
        The mean over those categories in which both scorers have a headline AUC; NaN when there is none.
    """
    pairs = []
    for k in range(labels.shape[1]):
        among = known_rows(
            labels[:, k], *((scores[:, k],) if others is None else (scores[:, k], others[:, k]))
        )
        first = HeadlineRanking.build(labels[:, k], scores[:, k], sources, among=among)
        if first.rankings:
            second = (
                None
                if others is None
                else HeadlineRanking.build(labels[:, k], others[:, k], sources, among=among)
            )
            pairs.append((first, second))
    if not pairs:
        return Estimate(float("nan"))

    def mean(weights: NDArray[np.float32]) -> NDArray[np.float64]:
        columns = [a.headline(weights) - (b.headline(weights) if b is not None else 0.0) for a, b in pairs]
        return np.asarray(np.mean(columns, axis=0))[:, None]

    value = mean(np.ones((1, labels.shape[0]), dtype=np.float32))[0, 0]
    return estimate(value, bootstrap(mean, sources, generator, n_resamples)[:, 0])
