"""Labels and scores to ranking metrics: ROC AUC, average precision, rates at a threshold, AUC within sources.

Every metric leaves out rows whose label or score is NaN (not annotated, not scored), reads a label of at
least 0.5 as positive, and is NaN, never 0, where it has no data or only one class. Knows nothing of models or
files.

The ranking metrics take integer row weights, so that a point estimate (all weights one) and a bootstrap
resample (how often each row was drawn) are the same code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gooseguard.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

Floats = NDArray[np.floating[Any]]
Rows = NDArray[np.intp]

POSITIVE = 0.5
"""Smallest label that counts as positive; labels are soft where annotators disagreed."""

MIN_CLASS = 30
"""Positives and negatives a source must hold to take part in a headline AUC."""


def check_lengths(**arrays: NDArray[Any]) -> int:
    """Give the common length of named one-dimensional arrays.

    Raises:
        DataError: an array is not one-dimensional, or the lengths differ.
    """
    shapes = {name: array.shape for name, array in arrays.items()}
    if any(len(shape) != 1 for shape in shapes.values()) or len(set(shapes.values())) > 1:
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise DataError(
            f"metric over arrays of shapes {found}; expected one-dimensional arrays of one length"
        )
    return int(next(iter(shapes.values()))[0])


def known_rows(labels: Floats, *scores: Floats) -> NDArray[np.bool_]:
    """Tell which rows are annotated and scored by every scorer.

    Args:
        labels: float, (n,), 0..1, NaN = not annotated.
        scores: float, (n,) each, NaN = not scored.

    Returns:
        bool, (n,).
    """
    known = ~np.isnan(labels)
    for values in scores:
        known &= ~np.isnan(values)
    return known


def _ratio(numerator: Floats, denominator: Floats) -> NDArray[np.float64]:
    """Divide; NaN where the denominator is 0."""
    out = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    np.divide(numerator, denominator, out=out, where=denominator != 0)
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Weights of one `Ranking` under B sets of row weights, accumulated from the highest score down."""

    ranking: Ranking
    """What was tallied."""
    positives: NDArray[np.float64]
    """Weight of each positive, (B, P), highest score first."""
    false_positives: NDArray[np.float64]
    """Weight of the first j negatives, (B, N + 1), j = 0..N, highest score first."""

    @property
    def _sums(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self.positives.sum(axis=1), self.false_positives[:, -1]

    def roc_auc(self) -> NDArray[np.float64]:
        """Give the ROC AUC of each set of weights, float64, (B,); higher is better; ties count one half."""
        n_positives, n_negatives = self._sums
        ranking = self.ranking
        beside = self.false_positives[:, ranking.n_above] + self.false_positives[:, ranking.n_reached]
        lost = np.einsum("bp,bp->b", self.positives, beside) / 2
        return 1 - _ratio(lost, n_positives * n_negatives)

    def _at_distinct_scores(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weight of true and of false positives at each distinct score of a positive, (B, D) both."""
        ends = self.ranking.tie_ends
        hits = np.cumsum(self.positives, axis=1)[:, ends]
        return hits, self.false_positives[:, self.ranking.n_reached[ends]]

    def average_precision(self) -> NDArray[np.float64]:
        """Give the average precision of each set of weights, float64, (B,); higher is better.

        The sum over distinct scores of (gain in recall) x (precision there), without interpolation.
        """
        n_positives, n_negatives = self._sums
        hits, alarms = self._at_distinct_scores()
        gains = np.diff(hits, axis=1, prepend=0.0)
        precision = np.divide(hits, hits + alarms, out=np.zeros_like(hits), where=hits > 0)
        area = np.einsum("bd,bd->b", gains, precision)
        return np.where(n_negatives > 0, _ratio(area, n_positives), np.nan)

    def recall_at_fpr(self, max_fpr: float) -> NDArray[np.float64]:
        """Give the highest recall at a false-positive rate of at most `max_fpr`, float64, (B,).

        Higher is better. Only thresholds that a score attains count: no interpolation, no tie split.
        """
        n_positives, n_negatives = self._sums
        hits, alarms = self._at_distinct_scores()
        allowed = np.where(alarms <= max_fpr * n_negatives[:, None], hits, 0.0)
        best = allowed.max(axis=1, initial=0.0)
        return np.where(n_negatives > 0, _ratio(best, n_positives), np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Rows of one scorer and one category, sorted once, so that any number of row weights can be tallied."""

    positives: Rows
    """Rows of the positives, highest score first."""
    negatives: Rows
    """Rows of the negatives, highest score first."""
    n_above: Rows
    """Negatives with a higher score than each positive, (P,)."""
    n_reached: Rows
    """Negatives with at least the score of each positive, (P,)."""
    tie_ends: Rows
    """Index into `positives` of the last of each run of equal scores."""

    @classmethod
    def build(cls, labels: Floats, scores: Floats, among: NDArray[np.bool_] | None = None) -> Ranking:
        """Sort the known rows.

        Args:
            labels: float, (n,), NaN = not annotated; read only.
            scores: float, (n,), higher = more likely positive, NaN = not scored; read only.
            among: bool, (n,), rows to keep; all when left out.

        Raises:
            DataError: the arrays differ in length.
        """
        check_lengths(labels=labels, scores=scores)
        known = known_rows(labels, scores)
        if among is not None:
            known &= among
        positives = np.flatnonzero(known & (labels >= POSITIVE))
        negatives = np.flatnonzero(known & (labels < POSITIVE))
        positives = positives[np.argsort(-scores[positives], kind="stable")]
        negatives = negatives[np.argsort(-scores[negatives], kind="stable")]
        hits, alarms = -scores[positives], -scores[negatives]
        changes = np.flatnonzero(hits[1:] != hits[:-1])
        tie_ends = np.append(changes, hits.size - 1) if hits.size else changes
        return cls(
            positives,
            negatives,
            np.searchsorted(alarms, hits, side="left"),
            np.searchsorted(alarms, hits, side="right"),
            tie_ends,
        )

    def tally(self, weights: NDArray[Any]) -> Tally:
        """Accumulate row weights.

        Args:
            weights: (B, n), how often each row counts in each of B sets; read only.
        """
        # np.take is far faster here than fancy indexing, because the source is contiguous.
        negatives = np.take(weights, self.negatives, axis=1)
        cumulative = np.zeros((weights.shape[0], self.negatives.size + 1))
        np.cumsum(negatives, axis=1, dtype=np.float64, out=cumulative[:, 1:])
        positives = np.take(weights, self.positives, axis=1).astype(np.float64)
        return Tally(self, positives, cumulative)

    def tally_once(self) -> Tally:
        """Count every row once: the point estimates."""
        rows = np.concatenate((self.positives, self.negatives))
        return self.tally(np.ones((1, int(rows.max(initial=-1)) + 1)))


def roc_auc(labels: Floats, scores: Floats) -> float:
    """Give the area under the ROC curve: the chance that a positive outscores a negative, ties one half.

    Args:
        labels: float, (n,), NaN = not annotated.
        scores: float, (n,), NaN = not scored.

    Returns:
        0..1, higher is better, 0.5 is chance; NaN without both classes.
    """
    return float(Ranking.build(labels, scores).tally_once().roc_auc()[0])


def average_precision(labels: Floats, scores: Floats) -> float:
    """Give the area under the precision-recall steps.

    Args:
        labels: float, (n,), NaN = not annotated.
        scores: float, (n,), NaN = not scored.

    Returns:
        0..1, higher is better, the share of positives is chance; NaN without both classes.
    """
    return float(Ranking.build(labels, scores).tally_once().average_precision()[0])


def recall_at_fpr(labels: Floats, scores: Floats, max_fpr: float) -> float:
    """Give the highest recall at a false-positive rate of at most `max_fpr`.

    Args:
        labels: float, (n,), NaN = not annotated.
        scores: float, (n,), NaN = not scored.
        max_fpr: 0..1.

    Returns:
        0..1, higher is better; NaN without both classes.
    """
    return float(Ranking.build(labels, scores).tally_once().recall_at_fpr(max_fpr)[0])


def precision_recall_curve(
    labels: Floats, scores: Floats
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Give precision and recall at each distinct score, from the highest score down.

    Args:
        labels: float, (n,), NaN = not annotated.
        scores: float, (n,), NaN = not scored.

    Returns:
        precision, recall and threshold, float64, (D,) each; recall never falls. Empty without both classes.
    """
    check_lengths(labels=labels, scores=scores)
    known = known_rows(labels, scores)
    positive, values = labels[known] >= POSITIVE, scores[known].astype(np.float64)
    if not positive.any() or positive.all():
        empty = np.empty(0)
        return empty, empty, empty
    order = np.argsort(-values, kind="stable")
    positive, values = positive[order], values[order]
    ends = np.append(np.flatnonzero(values[1:] != values[:-1]), values.size - 1)
    hits = np.cumsum(positive)[ends]
    return hits / (ends + 1.0), hits / hits[-1], values[ends]


@dataclass(frozen=True, slots=True)
class Rates:
    """What a threshold does; each NaN where its denominator is 0."""

    fpr: float
    """Share of negatives flagged; lower is better."""
    fnr: float
    """Share of positives not flagged; lower is better."""
    precision: float
    """Share of flagged rows that are positive; higher is better."""
    recall: float
    """Share of positives flagged; higher is better."""
    f1: float
    """Harmonic mean of precision and recall; higher is better; NaN without both classes."""


def confusion(labels: Floats, scores: Floats, threshold: float) -> NDArray[np.bool_]:
    """Sort rows into true positives, false positives, false negatives and true negatives.

    Args:
        labels: float, (n,), NaN = not annotated.
        scores: float, (n,), NaN = not scored.
        threshold: smallest score that is flagged.

    Returns:
        bool, (4, n): TP, FP, FN, TN; a row that is not known is in none of them.
    """
    check_lengths(labels=labels, scores=scores)
    known = known_rows(labels, scores)
    positive, flagged = labels >= POSITIVE, scores >= threshold
    return np.stack(
        (
            known & positive & flagged,
            known & ~positive & flagged,
            known & positive & ~flagged,
            known & ~positive & ~flagged,
        )
    )


def rates_of_counts(counts: Floats) -> dict[str, NDArray[np.float64]]:
    """Turn counts of TP, FP, FN and TN into rates.

    Args:
        counts: float, (..., 4): TP, FP, FN, TN.

    Returns:
        `fpr`, `fnr`, `precision`, `recall` and `f1`, float64, (...) each.
    """
    tp, fp, fn, tn = (counts[..., i] for i in range(4))
    f1 = _ratio(2 * tp, 2 * tp + fp + fn)
    return {
        "fpr": _ratio(fp, fp + tn),
        "fnr": _ratio(fn, tp + fn),
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "f1": np.where((tp + fn > 0) & (fp + tn > 0), f1, np.nan),
    }


def rates_at_threshold(labels: Floats, scores: Floats, threshold: float) -> Rates:
    """Give the error rates of flagging `score >= threshold`.

    Args:
        labels: float, (n,), NaN = not annotated.
        scores: float, (n,), NaN = not scored.
        threshold: smallest score that is flagged.
    """
    counts = confusion(labels, scores, threshold).sum(axis=1).astype(np.float64)
    return Rates(**{name: float(value) for name, value in rates_of_counts(counts).items()})


def threshold_of_best_f1(labels: Floats, scores: Floats) -> float:
    """Give the score whose use as a threshold has the highest F1: for validation data, never for test data.

    Args:
        labels: float, (n,), NaN = not annotated.
        scores: float, (n,), NaN = not scored.

    Returns:
        The highest such score; NaN without both classes.
    """
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    if not thresholds.size:
        return float("nan")
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(np.float64).tiny)
    return float(thresholds[np.argmax(f1)])


@dataclass(frozen=True, slots=True)
class GroupedAuc:
    """ROC AUC of one category, within sources and over all of them."""

    headline: float
    """Unweighted mean of `by_source`, which telling sources apart cannot raise; NaN if it is empty."""
    pooled: float
    """AUC over the rows of every source."""
    by_source: Mapping[str, float]
    """AUC within each source that holds enough of both classes."""


def sources_with_both_classes(
    labels: Floats, sources: NDArray[Any], min_class: int = MIN_CLASS, among: NDArray[np.bool_] | None = None
) -> list[str]:
    """List, sorted, the sources with at least `min_class` positives and as many negatives.

    Args:
        labels: float, (n,), NaN = not annotated.
        sources: str, (n,).
        min_class: rows needed of each class.
        among: bool, (n,), rows to count; all when left out.
    """
    known = known_rows(labels) if among is None else known_rows(labels) & among
    names, index = np.unique(sources[known], return_inverse=True)
    positive = labels[known] >= POSITIVE
    n_positives = np.bincount(index[positive], minlength=names.size)
    n_negatives = np.bincount(index[~positive], minlength=names.size)
    return [str(name) for name in names[(n_positives >= min_class) & (n_negatives >= min_class)]]


def grouped_auc(
    labels: Floats, scores: Floats, sources: NDArray[Any], min_class: int = MIN_CLASS
) -> GroupedAuc:
    """Give the AUC within sources, their mean, and the pooled AUC.

    Args:
        labels: float, (n,), NaN = not annotated.
        scores: float, (n,), NaN = not scored.
        sources: str, (n,), where each row was published.
        min_class: positives and negatives a source must hold to count.
    """
    check_lengths(labels=labels, scores=scores, sources=sources)
    names = sources_with_both_classes(labels, sources, min_class, ~np.isnan(scores))
    by_source = {name: roc_auc(labels[sources == name], scores[sources == name]) for name in names}
    headline = float(np.mean(list(by_source.values()))) if by_source else float("nan")
    return GroupedAuc(headline, roc_auc(labels, scores), by_source)
