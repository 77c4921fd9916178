"""The tables of an n-gram head in NumPy: the definition, and what runs without a native extension.

What they give is described in `ngram_head`. Knows no framework and no file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gooseguard.codec.stored_tensor import from_bf16
from gooseguard.core.errors import ArtefactError, EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gooseguard.codec.stored_tensor import StoredTensor

PREFIX = "ngrams."
"""What the names of its tensors begin with."""

SLOTS = 1024
"""Numbers of a sketch: the norm of a long text is off by about 1 / sqrt(2 SLOTS), or 2 %."""

STEPS = 2**20
"""Steps of a weight between 0 and 1, when it is summed."""

SIZE_STEPS = 2**8
"""Sizes are whole multiples of 1 / 256: squares of their sums are exact in float64, unless a text is long."""

LARGEST_SIZE = 2**16
"""Sizes are below this; those of tf-idf are below 100."""

LARGEST_WEIGHT = 2**16
"""Weights are below this, so that their sums are whole numbers of 64 bits."""

Integers = npt.NDArray[np.int64]


class PythonTables:
    """Reads weights where they lie; `_native.NgramTables` is its fast twin. Threads may share one."""

    def __init__(self, tensors: Mapping[str, StoredTensor]) -> None:
        """Take the tensors of `ngram_shapes`.

        Raises:
            ArtefactError: pairs are not of tokens of the vocabulary, or not in order, or a size is no size.
        """
        own = {name: tensors[f"{PREFIX}{name}"] for name in ("token_weight", "pair_weight")}
        self._weights = (own["token_weight"], own["pair_weight"])
        sizes = [tensors[f"{PREFIX}{name}"].data for name in ("token_size", "pair_size")]
        if not all(((size >= 0) & (size < LARGEST_SIZE)).all() for size in sizes):
            raise ArtefactError(f"{PREFIX}token_size or pair_size has what is no size; export it again")
        self._sizes = tuple(np.rint(size * np.float32(SIZE_STEPS)).astype(np.int32) for size in sizes)
        self._n_tokens, self._n_categories = own["token_weight"].data.shape
        # Ids are whole numbers in float32, which holds those below 2^24.
        first, second = (
            tensors[f"{PREFIX}{name}"].data.astype(np.int64) for name in ("pair_first", "pair_second")
        )
        self._pairs = first * self._n_tokens + second
        is_known = (first >= 0) & (first < self._n_tokens) & (second >= 0) & (second < self._n_tokens)
        if not is_known.all() or (np.diff(self._pairs) <= 0).any():
            raise ArtefactError(
                f"{PREFIX}pair_first and pair_second are no pairs of {self._n_tokens} tokens in order"
            )

    def logits(self, ids: npt.NDArray[np.int32], offsets: Integers) -> npt.NDArray[np.float32]:
        """Give the logits, float32 (n, K), of texts `ids[offsets[i] : offsets[i + 1]]`."""
        n = len(offsets) - 1
        owners = np.repeat(np.arange(n), np.diff(offsets))
        sums = np.zeros((n, 2, self._n_categories), np.int64)
        squares = np.zeros((n, 2))
        for block, (rows, of) in enumerate(self._find(ids.astype(np.int64), owners)):
            ends = np.searchsorted(of, np.arange(n + 1))
            running = np.zeros((len(rows) + 1, self._n_categories), np.int64)
            np.cumsum(self._gather(block, rows), axis=0, out=running[1:])
            sums[:, block] = running[ends[1:]] - running[ends[:-1]]
            slots, signed = self._sketched(block, rows)
            used, places = np.unique(of * SLOTS + slots, return_inverse=True)
            # Whole numbers far below 2^53, so that float64 is exact.
            filled = np.bincount(places, weights=signed, minlength=len(used))
            squares[:, block] = np.bincount(used // SLOTS, weights=filled * filled, minlength=n)
        return _combine(sums, squares)

    def add(self, ids: npt.NDArray[np.int32], previous: int, sums: Integers, sketches: Integers) -> None:
        """Count tokens after `previous`, -1 before the first, in place: int64 (2, K) and (2, `SLOTS`)."""
        before = [] if previous < 0 else [previous]
        joined = np.concatenate([np.array(before, np.int64), ids.astype(np.int64)])
        for block, (rows, _) in enumerate(self._find(joined, np.zeros(len(joined), np.int64))):
            new = rows[len(before) :] if block == 0 else rows
            sums[block] += self._gather(block, new).sum(0)
            slots, signed = self._sketched(block, new)
            np.add.at(sketches[block], slots, signed)

    def logits_of(self, sums: Integers, sketches: Integers) -> npt.NDArray[np.float32]:
        """Give the logits of what was counted, float32 (K,)."""
        squares = (sketches.astype(np.float64) ** 2).sum(-1)
        (logits,) = _combine(sums[None], squares[None])
        return np.asarray(logits)

    def _find(self, ids: Integers, owners: Integers) -> tuple[tuple[Integers, Integers], ...]:
        """Give rows of the tables and whose they are: of each token, and of each pair that is known."""
        keys = ids[:-1] * self._n_tokens + ids[1:]
        places = np.minimum(np.searchsorted(self._pairs, keys), len(self._pairs) - 1)
        is_pair = (self._pairs[places] == keys) & (owners[:-1] == owners[1:])
        return (ids, owners), (places[is_pair], owners[1:][is_pair])

    def _gather(self, block: int, rows: Integers) -> Integers:
        """Give the weights of rows in whole steps, int64 (N, K)."""
        _, dtype, data = self._weights[block]
        weights = from_bf16(data[rows]) if dtype == "BF16" else data[rows]
        # Loading maps a file and does not read it through; and as a whole number NaN would be some score.
        if not (np.abs(weights) < LARGEST_WEIGHT).all():
            raise EngineError("n-gram head: a weight is no weight; the file is damaged, export it again")
        return np.rint(weights * np.float32(STEPS)).astype(np.int64)

    def _sketched(self, block: int, rows: Integers) -> tuple[Integers, Integers]:
        """Give the slot of each row, and its size with the row's sign."""
        mixed = _mix(rows)
        signs = 1 - (mixed & 2)
        return mixed >> 22, self._sizes[block][rows] * signs


def _mix(rows: Integers) -> Integers:
    """Give 32 bits of each row that look random. Source: the finaliser of MurmurHash3 (A. Appleby, 2011)."""
    x = rows.astype(np.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    return (x ^ (x >> np.uint32(16))).astype(np.int64)


def _combine(sums: Integers, squares: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Give logits, float32 (n, K), of summed weights (n, 2, K) and squared norms (n, 2)."""
    # Where nothing was counted the sums are zero.
    norms = np.sqrt(np.maximum(squares, 1.0)) / SIZE_STEPS
    logits: npt.NDArray[np.float64] = (sums / STEPS / norms[..., None]).sum(1)
    return logits.astype(np.float32)
