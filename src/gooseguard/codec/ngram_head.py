"""The n-gram head: token ids to logits by which tokens and pairs of tokens a text holds.

The wide part of a wide and deep model: it remembers what single words and pairs say, so that the recurrent
part need not. The logits that it adds to those of the category heads are

    sum of w[t] over tokens t / size of the tokens  +  sum of u[p] over pairs p / size of the pairs

The size of what a text holds is a Euclidean norm, as that of a tf-idf vector: the root of the sum of the
squares of (count of t * size[t]). A text of any length has to be counted in constant memory, so the norm
is taken of a sketch: every token adds its size, by a random sign, to one of `SLOTS` numbers. Of a comment
that is the norm itself but for rare collisions, of the longest text it is within a few percent.

All sums are of whole numbers (weights in steps of 1 / `STEPS`): a text in pieces, or in whatever company,
gives what one call gives, to the bit. The native extension reads the tables where there is one,
`ngram_tables.PythonTables` otherwise, with equal results. Knows no framework and no file.

Source: wide and deep models: Cheng et al. (2016), arXiv 1606.07792; the sketch: Alon, Matias and Szegedy,
"The space complexity of approximating the frequency moments" (1996), section 2.2, in the form with one
slot a token of Charikar, Chen and Farach-Colton, "Finding frequent items in data streams" (2002).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from gooseguard.codec import extension
from gooseguard.codec.ngram_tables import PREFIX, SLOTS, Integers, PythonTables
from gooseguard.codec.stored_tensor import bytes_of
from gooseguard.core.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gooseguard.codec.stored_tensor import StoredTensor


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

    def __init__(self, tensors: Mapping[str, StoredTensor], *, is_native: bool | None = None) -> None:
        """Take the tensors of `ngram_shapes` among others, F32 or BF16; weights are not copied.

        Args:
            tensors: by name; their memory is used as long as the head lives.
            is_native: whether the native extension reads them; `None` for where there is one.

        Raises:
            ArtefactError: pairs are not of tokens of the vocabulary, or not in order, or a size is no size.
        """
        own = {name: tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}
        self.n_tokens, self.n_categories = own[f"{PREFIX}token_weight"].data.shape
        # `_native.NgramTables` where there is the extension.
        self.tables = _make_tables(own, is_native=is_native)

    def logits(self, ids: npt.NDArray[np.integer[Any]], offsets: Integers) -> npt.NDArray[np.float32]:
        """Give the logits of whole texts.

        Args:
            ids: (N,): token ids of all texts, inside the vocabulary.
            offsets: int64, (n + 1,): text i has `ids[offsets[i] : offsets[i + 1]]`.

        Returns:
            float32, (n, K); zeros of a text without tokens.

        Raises:
            EngineError: a weight is no number.
        """
        return self.tables.logits(ids.astype(np.int32, copy=False), offsets)

    def start(self) -> NgramCounts:
        """Give the counts of a text before its first token."""
        return NgramCounts(
            np.zeros((2, self.n_categories), np.int64), np.zeros((2, SLOTS), np.int64), previous=-1
        )

    def add(self, counts: NgramCounts, ids: npt.NDArray[np.integer[Any]]) -> NgramCounts:
        """Give the counts after further tokens (N,); those handed over stay as they were.

        Raises:
            EngineError: a weight is no number.
        """
        if not len(ids):
            return counts
        after = NgramCounts(counts.sums.copy(), counts.sketches.copy(), previous=int(ids[-1]))
        self.tables.add(ids.astype(np.int32, copy=False), counts.previous, after.sums, after.sketches)
        return after

    def logits_of(self, counts: NgramCounts) -> npt.NDArray[np.float32]:
        """Give the logits of what was counted, float32 (K,)."""
        return self.tables.logits_of(counts.sums, counts.sketches)

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


class _Tables(Protocol):
    """What `_native.NgramTables` and `PythonTables` both are."""

    def logits(self, ids: npt.NDArray[np.int32], offsets: Integers) -> npt.NDArray[np.float32]:
        """Give the logits of whole texts, (n, K)."""

    def add(self, ids: npt.NDArray[np.int32], previous: int, sums: Integers, sketches: Integers) -> None:
        """Count tokens after `previous`, in place."""

    def logits_of(self, sums: Integers, sketches: Integers) -> npt.NDArray[np.float32]:
        """Give the logits of what was counted, (K,)."""


def _make_tables(own: Mapping[str, StoredTensor], *, is_native: bool | None) -> _Tables:
    if is_native is False or (is_native is None and extension.problem() is not None):
        return PythonTables(own)
    # Late, because it may not be there.
    from gooseguard import _native  # noqa: PLC0415

    tensors = {name: (tensor.dtype, bytes_of(tensor.data)) for name, tensor in own.items()}
    return _native.NgramTables(tensors, own[f"{PREFIX}token_weight"].data.shape[1])
