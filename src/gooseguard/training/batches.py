"""Tokenised rows to padded batches.

The order depends on seed and epoch alone, so that a resumed run sees what it would have seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MULTIPLE = 16
"""Batches are padded to a multiple of this many tokens: the chunk of the WKV recurrence."""

POOL_BATCHES = 64
"""Rows of about this many batches are sorted by length together."""


@dataclass(frozen=True, slots=True)
class TokenRows:
    """Tokenised texts and their labels."""

    tokens: NDArray[np.int32]
    """(n_tokens,): all texts, one after another."""
    offsets: NDArray[np.int64]
    """(n + 1,): where each text begins; the last is n_tokens."""
    labels: NDArray[np.float32]
    """(n, K), NaN where not annotated."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Give the tokens of each text, (n,)."""
        return np.diff(self.offsets)


def pack(ids: Sequence[Sequence[int] | NDArray[np.int32]], labels: NDArray[np.float32]) -> TokenRows:
    """Join token lists and labels into rows."""
    lengths = np.fromiter((len(row) for row in ids), np.int64, len(ids))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    tokens = np.empty(int(offsets[-1]), np.int32)
    for i, row in enumerate(ids):
        tokens[offsets[i] : offsets[i + 1]] = row
    return TokenRows(tokens, offsets, labels)


def select(rows: TokenRows, index: NDArray[np.int64]) -> TokenRows:
    """Give the rows of `index`, in its order."""
    return pack([rows.tokens[rows.offsets[i] : rows.offsets[i + 1]] for i in index], rows.labels[index])


def pad(
    rows: TokenRows, index: NDArray[np.int64], longest: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give rows cut to `longest`: tokens, int64, (B, T), padded with 0, and lengths, int64, (B,)."""
    lengths = np.minimum(rows.lengths[index], longest)
    width = -(-int(lengths.max(initial=1)) // MULTIPLE) * MULTIPLE
    tokens = np.zeros((len(index), width), np.int64)
    for i, row in enumerate(index):
        begin = rows.offsets[row]
        tokens[i, : lengths[i]] = rows.tokens[begin : begin + lengths[i]]
    return tokens, lengths


def cut_by_budget(
    index: NDArray[np.int64], lengths: NDArray[np.int64], budget: int
) -> list[NDArray[np.int64]]:
    """Cut rows, sorted by length, into batches of at most `budget` padded tokens (one row may exceed it).

    Args:
        index: int64, (m,), rows.
        lengths: int64, (m,), ascending, their tokens.
        budget: most padded tokens a batch.
    """
    batches, begin = [], 0
    for end in range(1, len(index) + 1):
        width = -(-int(lengths[min(end, len(index) - 1)]) // MULTIPLE) * MULTIPLE
        if end == len(index) or (end + 1 - begin) * width > budget:
            batches.append(index[begin:end])
            begin = end
    return batches


def plan_epoch(
    rows: TokenRows, repeats: NDArray[np.int64], budget: int, longest: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Plan one epoch: every row `repeats` times, in batches of rows of similar length, in random order.

    Args:
        rows: what to train on.
        repeats: int64, (n,), how often each row is seen; 0 leaves it out.
        budget: most padded tokens a batch.
        longest: texts are cut to this many tokens.
        seed: of the run.
        epoch: which pass.

    Returns:
        Row indices of each batch.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(np.repeat(np.arange(len(rows)), repeats))
    lengths = np.minimum(rows.lengths[order], longest)
    pools = np.cumsum(lengths) // (budget * POOL_BATCHES)
    batches: list[NDArray[np.int64]] = []
    for pool in np.split(np.arange(len(order)), np.flatnonzero(np.diff(pools)) + 1):
        by_length = pool[np.argsort(lengths[pool], kind="stable")]
        batches += cut_by_budget(order[by_length], lengths[by_length], budget)
    return [batches[i] for i in generator.permutation(len(batches))]
