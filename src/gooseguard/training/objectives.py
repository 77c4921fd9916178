"""Losses over logits and targets.

A label that nobody annotated carries no loss, or a teacher's opinion at a weight of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Targets:
    """What each row should score, and how much that counts."""

    values: NDArray[np.float32]
    """(n, K), 0..1; 0 where the weight is 0."""
    weights: NDArray[np.float32]
    """(n, K), at least 0; 0 carries no loss."""
    is_taught: NDArray[np.bool_]
    """(n, K), whether the value is a teacher's."""
    sources: NDArray[np.int64] | None
    """(n,), row of `SourceOffsets` that each row belongs to; None where sources have no offsets."""


def category_weights(labels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weigh categories by their annotated rows to the power of -1/3: a small one is heard beside a large one.

    Args:
        labels: float32, (n, K), NaN where not annotated.

    Returns:
        float32, (K,), with mean 1 over all annotations; 0 for a category without any.
    """
    counts = (~np.isnan(labels)).sum(0)
    raw = np.where(counts > 0, np.maximum(counts, 1) ** (-1 / 3), 0.0)
    total = float((raw * counts).sum())
    weights: NDArray[np.float32] = (raw * counts.sum() / max(total, 1e-30)).astype(np.float32)
    return weights


def make_targets(
    labels: NDArray[np.float32],
    sources: NDArray[np.int64] | None = None,
    teacher: NDArray[np.float32] | None = None,
    teacher_weight: float = 0.0,
) -> Targets:
    """Join people's labels with a teacher's scores where there is no label.

    Args:
        labels: float32, (n, K), NaN where not annotated.
        sources: int64, (n,), numbers of the rows' sources; None where they have no offsets.
        teacher: float32, (n, K), 0..1, NaN where the teacher gives none; read only where `labels` is NaN.
        teacher_weight: weight of a teacher's score; a label has its category's weight, 1 on average.
    """
    annotated = ~np.isnan(labels)
    weights = np.where(annotated, category_weights(labels), np.float32(0.0))
    values = np.where(annotated, labels, np.float32(0.0))
    is_taught = np.zeros(labels.shape, dtype=bool)
    if teacher is not None:
        is_taught = ~annotated & ~np.isnan(teacher)
        weights = np.where(is_taught, np.float32(teacher_weight), weights)
        values = np.where(is_taught, teacher, values)
    return Targets(values.astype(np.float32), weights.astype(np.float32), is_taught, sources)


def weighted_bce(logits: Tensor, values: Tensor, weights: Tensor) -> Tensor:
    """Give the sum of the weighted binary cross-entropies, a scalar.

    Args:
        logits: float32, (B, K).
        values: float32, (B, K), soft targets 0..1.
        weights: float32, (B, K); 0 carries neither loss nor gradient.
    """
    return functional.binary_cross_entropy_with_logits(logits, values, weights, reduction="sum")
