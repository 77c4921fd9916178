"""Labels and scores to calibration metrics: reliability, expected calibration error, Brier score, log loss.

Rows whose label or score is NaN are left out; a metric without rows is NaN. Labels may be soft: the share of
annotators is then what a score is compared with. Knows nothing of models or files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gooseguard.core.errors import DataError
from gooseguard.metrics.ranking import Floats, check_lengths, known_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_BINS = 15
"""Bins of a reliability curve."""

CLIP = 1e-7
"""Scores are held this far from 0 and 1 in the log loss: one certain mistake would else make it infinite."""


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Mean score against mean label, in bins of about equal numbers of rows, lowest scores first."""

    scores: NDArray[np.float64]
    """Mean score of each bin, (D,)."""
    labels: NDArray[np.float64]
    """Mean label of each bin, (D,)."""
    counts: NDArray[np.int64]
    """Rows of each bin, (D,)."""


def _known(labels: Floats, scores: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    check_lengths(labels=labels, scores=scores)
    known = known_rows(labels, scores)
    values = scores[known].astype(np.float64)
    if values.size and (values.min() < 0 or values.max() > 1):
        raise DataError(
            f"calibration over scores from {values.min():.4g} to {values.max():.4g}; expected 0..1; "
            "calibrate logits first"
        )
    return labels[known].astype(np.float64), values


def reliability_curve(labels: Floats, scores: Floats, n_bins: int = N_BINS) -> Reliability:
    """Give mean score and mean label in equal-mass bins.

    Bin edges are quantiles of the scores and equal scores share a bin, so the order of rows never matters;
    many equal scores leave fewer bins.

    Args:
        labels: float, (n,), 0..1, NaN = not annotated.
        scores: float, (n,), 0..1, NaN = not scored.
        n_bins: most bins.

    Raises:
        DataError: a score is outside 0..1, `n_bins` is below 1, or the lengths differ.
    """
    if n_bins < 1:
        raise DataError(f"reliability curve of {n_bins} bins; expected at least 1")
    truth, values = _known(labels, scores)
    if not values.size:
        empty = np.empty(0)
        return Reliability(empty, empty, np.empty(0, dtype=np.int64))
    edges = np.quantile(values, np.arange(1, n_bins) / n_bins, method="inverted_cdf")
    bins = np.searchsorted(edges, values, side="left")
    counts = np.bincount(bins, minlength=n_bins)
    used = counts > 0
    # Rounding may carry a mean of equal scores a hair outside 0..1.
    mean_scores = np.clip(np.bincount(bins, values, n_bins)[used] / counts[used], 0.0, 1.0)
    mean_labels = np.bincount(bins, truth, n_bins)[used] / counts[used]
    return Reliability(mean_scores, mean_labels, counts[used].astype(np.int64))


def expected_calibration_error(labels: Floats, scores: Floats, n_bins: int = N_BINS) -> float:
    """Give the mean gap between score and label over equal-mass bins, weighted by rows.

    Source: Nguyen and O'Connor 2015, "Posterior calibration and exploratory analysis for NLP models",
    section 3 (adaptive bins); absolute gaps rather than squared ones, as Guo et al. 2017, equation 3.

    Args:
        labels: float, (n,), 0..1, NaN = not annotated.
        scores: float, (n,), 0..1, NaN = not scored.
        n_bins: most bins.

    Returns:
        0..1, lower is better; NaN without rows.
    """
    curve = reliability_curve(labels, scores, n_bins)
    if not curve.counts.size:
        return float("nan")
    return float(np.average(np.abs(curve.scores - curve.labels), weights=curve.counts))


def brier_score(labels: Floats, scores: Floats) -> float:
    """Give the mean squared gap between score and label.

    Args:
        labels: float, (n,), 0..1, NaN = not annotated.
        scores: float, (n,), 0..1, NaN = not scored.

    Returns:
        0..1, lower is better; NaN without rows.
    """
    truth, values = _known(labels, scores)
    return float(np.mean((values - truth) ** 2)) if values.size else float("nan")


def log_loss(labels: Floats, scores: Floats) -> float:
    """Give the mean cross-entropy of label and score, in nats.

    Args:
        labels: float, (n,), 0..1, NaN = not annotated.
        scores: float, (n,), 0..1, NaN = not scored.

    Returns:
        At least 0, lower is better, 0.693 for a constant 0.5; NaN without rows.
    """
    truth, values = _known(labels, scores)
    if not values.size:
        return float("nan")
    values = np.clip(values, CLIP, 1 - CLIP)
    return float(-np.mean(truth * np.log(values) + (1 - truth) * np.log1p(-values)))
