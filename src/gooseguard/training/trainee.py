"""A model while it is trained: the module, and what training may add to it and takes away again.

- A shared spelling: the embedding is a `SubwordEmbedding` until the end.
- An offset for each source and category. Sources were picked in different ways, so that a model can lower
  its loss by finding out where a text was posted. The offset says it first; what is left to learn is the
  text. It is fitted as in a mixed-effects logistic regression, and left out of scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from gooseguard.metrics.ranking import MIN_CLASS, POSITIVE
from gooseguard.training.objectives import weighted_bce
from gooseguard.training.subwords import SubwordEmbedding
from gooseguard.training.workers import Learner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gooseguard.models.mod_rwkv import ModRwkv
    from gooseguard.training.objectives import Targets
    from gooseguard.training.subwords import TokenNgrams


@dataclass(frozen=True, slots=True)
class SourceOffsets:
    """How far the logits of each source stand from those of all rows, before training."""

    names: tuple[str, ...]
    """Sources, in the order of the rows."""
    values: NDArray[np.float32]
    """(S + 1, K): difference of log odds; 0 where a source lacks one of the classes, and in the last row."""

    def number(self, sources: Sequence[str]) -> NDArray[np.int64]:
        """Give the rows of sources, int64, (n,); of one that is not among `names`, the last."""
        numbers = {name: number for number, name in enumerate(self.names)}
        return np.fromiter((numbers.get(source, len(numbers)) for source in sources), np.int64, len(sources))


def source_offsets(labels: NDArray[np.float32], sources: Sequence[str]) -> SourceOffsets:
    """Compare each source's share of positives with that of all rows.

    Args:
        labels: float32, (n, K), NaN where not annotated.
        sources: of the n rows.
    """
    names, rows = np.unique(np.asarray(sources, dtype=str), return_inverse=True)
    counts = np.zeros((2, len(names) + 1, labels.shape[1]))
    for is_positive in (0, 1):
        among = ~np.isnan(labels) & ((labels >= POSITIVE) == bool(is_positive))
        np.add.at(counts[is_positive], rows, among)
    negatives, positives = counts
    odds = np.log((positives + 1) / (negatives + 1))
    overall = np.log((positives.sum(0) + 1) / (negatives.sum(0) + 1))
    has_both = np.minimum(negatives, positives) >= MIN_CLASS
    return SourceOffsets(tuple(names), np.where(has_both, odds - overall, 0).astype(np.float32))


class Trainee(Learner):
    """A model; offsets of sources, and one offset more for the teacher."""

    def __init__(
        self, model: ModRwkv, ngrams: TokenNgrams | None = None, offsets: SourceOffsets | None = None
    ) -> None:
        """Wrap `model`; `finish` gives it back. Without n-grams and offsets it is trained as it is."""
        super().__init__()
        self.model = model
        if ngrams is not None:
            self.model.backbone.emb = SubwordEmbedding(model.backbone.emb, ngrams)
        self.has_offsets = offsets is not None
        if offsets is not None:
            self.source_offsets = nn.Parameter(torch.from_numpy(offsets.values))
            self.teacher_offset = nn.Parameter(torch.zeros(offsets.values.shape[1]))

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Give the logits as the model will: float32, (B, K)."""
        logits: Tensor = self.model(tokens, lengths)
        return logits

    def loss(self, logits: Tensor, targets: Targets, index: NDArray[np.int64]) -> Tensor:
        """Give the summed loss of rows, a scalar.

        Args:
            logits: float32, (B, K).
            targets: of all rows.
            index: int64, (B,), the rows that the logits are of.
        """
        values, weights = (torch.from_numpy(table[index]) for table in (targets.values, targets.weights))
        if self.has_offsets:
            assert targets.sources is not None
            is_taught, sources = (
                torch.from_numpy(table[index]) for table in (targets.is_taught, targets.sources)
            )
            logits = logits + torch.where(is_taught, self.teacher_offset, self.source_offsets[sources])
        return weighted_bce(logits, values, weights)

    def finish(self) -> ModRwkv:
        """Put the plain embedding back and give the model, which scores as this did."""
        embedding = self.model.backbone.emb
        if isinstance(embedding, SubwordEmbedding):
            self.model.backbone.emb = embedding.merged()
        return self.model
