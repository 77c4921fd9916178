"""The n-gram head: token ids to logits by which tokens and pairs of tokens a text holds.

The wide part of a wide and deep model: it remembers what single words and pairs say, so that the recurrent
part need not. The logits that it adds to those of the category heads are

    sum of w[t] over tokens t / size of the tokens  +  sum of u[p] over pairs p / size of the pairs

The size of what a text holds is a Euclidean norm, as that of a tf-idf vector: the root of the sum of the
squares of (count of t * size[t]). A text of any length has to be counted in constant memory, so the norm
is taken of a sketch: every token adds its size, by a random sign, to one of `SLOTS` numbers. Of a comment
that is the norm itself but for rare collisions, of the longest text it is within a few percent.

All sums are of whole numbers (weights in steps of 1 / `STEPS`): a text in pieces, or in whatever company,
gives what one call gives, to the bit. Knows no framework and no file.

Source: wide and deep models: Cheng et al. (2016), arXiv 1606.07792; the sketch: Alon, Matias and Szegedy,
"The space complexity of approximating the frequency moments" (1996), section 2.2, in the form with one
slot a token of Charikar, Chen and Farach-Colton, "Finding frequent items in data streams" (2002).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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

Integers = npt.NDArray[np.int64]


def ngram_shapes(n_tokens: int, n_pairs: int, n_categories: int) -> dict[str, tuple[int, ...]]:
    """Give name and shape of each tensor; of no pairs there is no head and no tensor.

    `token_weight` (V, K) and `token_size` (V,); of each pair its two token ids, `pair_first` and
    `pair_second` (P,), sorted, then `pair_weight` (P, K) and `pair_size` (P,).
    """
    if not n_pairs:
        return {}
    return {
        f"{PREFIX}token_weight": (n_tokens, n_categories),
        f"{PREFIX}token_size": (n_tokens,),
        f"{PREFIX}pair_first": (n_pairs,),
        f"{PREFIX}pair_second": (n_pairs,),
        f"{PREFIX}pair_weight": (n_pairs, n_categories),
        f"{PREFIX}pair_size": (n_pairs,),
    }


@dataclass(slots=True)
class NgramCounts:
    """What was counted of one text so far."""

    sums: Integers
    """int64, (2, K): summed weights of tokens and of pairs."""
    sketches: Integers
    """int64, (2, `SLOTS`): of tokens and of pairs."""
    previous: int
    """Id of the last token; -1 before the first."""

    def pack(self) -> dict[str, npt.NDArray[Any]]:
        """Give the counts as arrays, for `NgramHead.unpack`."""
        previous = np.array([self.previous], np.int64)
        return {f"{PREFIX}sums": self.sums, f"{PREFIX}sketches": self.sketches, f"{PREFIX}previous": previous}


class NgramHead:
    """Reads weights where they lie. Safe to call from several threads at once."""

    def __init__(self, tensors: Mapping[str, StoredTensor]) -> None:
        """Take the tensors of `ngram_shapes` among others, F32 or BF16; the weights are not copied.

        Raises:
            ArtefactError: pairs are not of tokens of the vocabulary, or not in order, or a size is no size.
        """
        own = {name: tensors[f"{PREFIX}{name}"] for name in ("token_weight", "pair_weight")}
        self._weights = (own["token_weight"], own["pair_weight"])
        sizes = [tensors[f"{PREFIX}{name}"].data for name in ("token_size", "pair_size")]
        if not all(((size >= 0) & (size < LARGEST_SIZE)).all() for size in sizes):
            raise ArtefactError(f"{PREFIX}token_size or pair_size has what is no size; export it again")
        self._sizes = tuple(np.rint(size * np.float32(SIZE_STEPS)).astype(np.int32) for size in sizes)
        self.n_tokens, self.n_categories = own["token_weight"].data.shape
        # Ids are whole numbers in float32, which holds those below 2^24.
        first, second = (
            tensors[f"{PREFIX}{name}"].data.astype(np.int64) for name in ("pair_first", "pair_second")
        )
        self._pairs = first * self.n_tokens + second
        is_known = (first >= 0) & (first < self.n_tokens) & (second >= 0) & (second < self.n_tokens)
        if not is_known.all() or (np.diff(self._pairs) <= 0).any():
            raise ArtefactError(
                f"{PREFIX}pair_first and pair_second are no pairs of {self.n_tokens} tokens in order"
            )

    def logits(self, ids: npt.NDArray[np.integer[Any]], offsets: Integers) -> npt.NDArray[np.float32]:
        """Give the logits of whole texts.

        Args:
            ids: (N,): token ids of all texts, inside the vocabulary.
            offsets: int64, (n + 1,): text i has `ids[offsets[i] : offsets[i + 1]]`.

        Returns:
            float32, (n, K); zeros of a text without tokens.
        """
        n = len(offsets) - 1
        owners = np.repeat(np.arange(n), np.diff(offsets))
        sums = np.zeros((n, 2, self.n_categories), np.int64)
        squares = np.zeros((n, 2))
        for block, (rows, of) in enumerate(self._find(ids.astype(np.int64), owners)):
            ends = np.searchsorted(of, np.arange(n + 1))
            running = np.zeros((len(rows) + 1, self.n_categories), np.int64)
            np.cumsum(self._gather(block, rows), axis=0, out=running[1:])
            sums[:, block] = running[ends[1:]] - running[ends[:-1]]
            slots, signed = self._sketched(block, rows)
            used, places = np.unique(of * SLOTS + slots, return_inverse=True)
            # Whole numbers far below 2^53, so that float64 is exact.
            filled = np.bincount(places, weights=signed, minlength=len(used))
            squares[:, block] = np.bincount(used // SLOTS, weights=filled * filled, minlength=n)
        return _combine(sums, squares)

    def start(self) -> NgramCounts:
        """Give the counts of a text before its first token."""
        return NgramCounts(
            np.zeros((2, self.n_categories), np.int64), np.zeros((2, SLOTS), np.int64), previous=-1
        )

    def add(self, counts: NgramCounts, ids: npt.NDArray[np.integer[Any]]) -> NgramCounts:
        """Give the counts after further tokens (N,); those handed over stay as they were."""
        if not len(ids):
            return counts
        before = [] if counts.previous < 0 else [counts.previous]
        joined = np.concatenate([np.array(before, np.int64), ids.astype(np.int64)])
        after = NgramCounts(counts.sums.copy(), counts.sketches.copy(), previous=int(ids[-1]))
        for block, (rows, _) in enumerate(self._find(joined, np.zeros(len(joined), np.int64))):
            new = rows[len(before) :] if block == 0 else rows
            after.sums[block] += self._gather(block, new).sum(0)
            slots, signed = self._sketched(block, new)
            np.add.at(after.sketches[block], slots, signed)
        return after

    def logits_of(self, counts: NgramCounts) -> npt.NDArray[np.float32]:
        """Give the logits of what was counted, float32 (K,)."""
        squares = (counts.sketches.astype(np.float64) ** 2).sum(-1)
        (logits,) = _combine(counts.sums[None], squares[None])
        return np.asarray(logits)

    def unpack(self, arrays: Mapping[str, npt.NDArray[Any]]) -> NgramCounts:
        """Give what `NgramCounts.pack` gave as arrays; others may be there too.

        Raises:
            EngineError: they are not of this head.
        """
        like = self.start().pack()
        found = {name: arrays[name] for name in like if name in arrays}
        if {name: (array.dtype, array.shape) for name, array in found.items()} != {
            name: (array.dtype, array.shape) for name, array in like.items()
        } or not -1 <= found[f"{PREFIX}previous"][0] < self.n_tokens:
            raise EngineError("unpack: these arrays are not of this model's n-gram head")
        sums, sketches, previous = (found[name] for name in like)
        return NgramCounts(sums, sketches, int(previous[0]))

    def _find(self, ids: Integers, owners: Integers) -> tuple[tuple[Integers, Integers], ...]:
        """Give rows of the tables and whose they are: of each token, and of each pair that is known."""
        keys = ids[:-1] * self.n_tokens + ids[1:]
        places = np.minimum(np.searchsorted(self._pairs, keys), len(self._pairs) - 1)
        is_pair = (self._pairs[places] == keys) & (owners[:-1] == owners[1:])
        return (ids, owners), (places[is_pair], owners[1:][is_pair])

    def _gather(self, block: int, rows: Integers) -> Integers:
        """Give the weights of rows in whole steps, int64 (N, K)."""
        _, dtype, data = self._weights[block]
        weights = from_bf16(data[rows]) if dtype == "BF16" else data[rows]
        # Loading maps a file and does not read it through; and as a whole number NaN would be some score.
        if not np.isfinite(weights).all():
            raise EngineError("n-gram head: a weight is no number; the file is damaged, export it again")
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
