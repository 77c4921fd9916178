"""Losses over logits and labels. A label that nobody annotated (NaN) carries no loss."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


def category_weights(labels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weigh categories by 1 / sqrt(annotated rows), so that a small set is heard beside a large one; mean over annotations is 1.

    Args:
        labels: float32, (n, K), NaN where not annotated.

    Returns:
        float32, (K,); 0 for a category without annotations.
    """
    counts = (~np.isnan(labels)).sum(0)
    raw = np.where(counts > 0, 1 / np.sqrt(np.maximum(counts, 1)), 0.0)
    total = float((raw * counts).sum())
    return (raw * counts.sum() / max(total, 1e-30)).astype(np.float32)


def masked_bce(logits: Tensor, labels: Tensor, weights: Tensor, n_annotated: int | None = None) -> Tensor:
    """Give the weighted binary cross-entropy, averaged over annotated labels.

    Args:
        logits: float32, (B, K).
        labels: float32, (B, K), soft labels 0..1; NaN where not annotated.
        weights: float32, (K,), weight of each category.
        n_annotated: what to divide the sum by, where these rows are a share of a batch; None counts their own annotated labels.

    Returns:
        A scalar; 0 (with a zero gradient) where nothing is annotated.
    """
    annotated = ~torch.isnan(labels)
    losses = functional.binary_cross_entropy_with_logits(logits, labels.nan_to_num(0.0), reduction="none")
    weighted = torch.where(annotated, losses * weights, torch.zeros_like(losses))
    return weighted.sum() / max(n_annotated if n_annotated is not None else int(annotated.sum()), 1)
