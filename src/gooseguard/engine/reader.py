"""Whole texts to scores: the parts of a text model one after another, or the extension in one call.

In one call, the interpreter is let go once and taken back once: a worker of a busy server would wait for it
after every part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gooseguard.codec.ngram_head import NgramHead
    from gooseguard.codec.tokenizer import Tokenizer
    from gooseguard.engine.heads import Heads


class Reader(Protocol):
    """What `_native.TextScorer` and `Steps` both are. Safe to call from several threads at once."""

    def score(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
        """Give scores (n, K), NaN where a logit is not finite, and whether each text shows anything, (n,)."""


class Featuring(Protocol):
    """What `Steps` asks of a backbone."""

    def features(self, ids: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Give last, mean and maximum, float32 (n, 3 C), of texts `ids[offsets[i] : offsets[i + 1]]`."""


@runtime_checkable
class Joining(Protocol):
    """A backbone that the extension joins with the other parts of a model."""

    def join(self, tokenizer: Tokenizer, ngrams: NgramHead | None, heads: Heads) -> Reader:
        """Put them together."""


@dataclass(frozen=True, slots=True)
class Steps:
    """A text model part by part: the definition."""

    tokenizer: Tokenizer
    """Text to ids."""
    backbone: Featuring
    """Ids to features."""
    ngrams: NgramHead | None
    """Ids to logits that are added, where the model has such a head."""
    heads: Heads
    """Features and logits to scores."""
    n_categories: int
    """K."""

    def score(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
        """As `Reader.score`."""
        encoded = self.tokenizer.encode_texts(texts)
        features = self.backbone.features(encoded.ids, encoded.offsets)
        if self.ngrams is None:
            added = np.zeros((len(texts), self.n_categories), np.float32)
        else:
            added = self.ngrams.logits(encoded.ids, encoded.offsets)
        return self.heads.scores(features, added), encoded.is_visible.view(np.uint8)


def make_reader(
    tokenizer: Tokenizer, backbone: Featuring, ngrams: NgramHead | None, heads: Heads, n_categories: int
) -> Reader:
    """Put the parts of a model together, by the extension where the backbone is its own."""
    if isinstance(backbone, Joining):
        return backbone.join(tokenizer, ngrams, heads)
    return Steps(tokenizer, backbone, ngrams, heads, n_categories)
