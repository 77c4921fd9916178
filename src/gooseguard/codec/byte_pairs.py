"""Byte pair encoding in plain Python: the definition, and what encodes where there is no native extension.

Knows nothing of files and of normalisation.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gooseguard.codec.normalize import normalize
from gooseguard.codec.pieces import PIECE_LIMIT, piece
from gooseguard.core.errors import ArtefactError

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST_BYTE = 1
"""The id of byte 0."""

TOKEN_LIMIT = 4 * PIECE_LIMIT
"""Longest token in bytes: no piece has more in UTF-8."""

CACHE_LIMIT = 65536
"""Pieces whose ids are remembered."""

_NO_RANK = 1 << 60


class PythonEncoder:
    """A vocabulary and its encoder; `_native.Tokenizer` is its fast twin. Threads may share one."""

    def __init__(self, merges: Sequence[Sequence[int]]) -> None:
        """Make the vocabulary of `merges`, as `Tokenizer` describes.

        Raises:
            ArtefactError: a merge is none, names an id that does not exist yet, or was there before.
        """
        tokens = [b"", *(bytes([byte]) for byte in range(256))]
        ids = {token: number for number, token in enumerate(tokens)}
        ranks: dict[tuple[int, int], tuple[int, int]] = {}
        for rank, pair in enumerate(merges):
            left, right = _read_pair(pair, rank, len(tokens))
            if (left, right) in ranks:
                raise ArtefactError(
                    f"vocabulary: merge {rank} repeats merge {ranks[left, right][0]}; expected it once"
                )
            token = tokens[left] + tokens[right]
            if len(token) > TOKEN_LIMIT:
                raise ArtefactError(
                    f"vocabulary: merge {rank} gives {len(token)} bytes, expected at most {TOKEN_LIMIT}"
                )
            if token not in ids:
                ids[token] = len(tokens)
                tokens.append(token)
            ranks[left, right] = rank, ids[token]
        self._tokens = tokens
        self._ranks = ranks
        self._cache: dict[str, tuple[int, ...]] = {}

    @property
    def vocab_size(self) -> int:
        """Number of ids, the reserved one included."""
        return len(self._tokens)

    def tokens(self) -> list[bytes]:
        """Give the bytes of each id."""
        return list(self._tokens)

    def encode(self, text: str) -> list[int]:
        """Give the ids of `text`, which is normalised already."""
        cache = self._cache
        ids: list[int] = []
        for part in piece().findall(text):
            known = cache.get(part)
            ids += self._encode_piece(part) if known is None else known
        return ids

    def encode_texts(
        self, texts: Sequence[str]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """Normalise and encode: all ids, where those of each text begin, whether it shows anything."""
        normalised = [normalize(text).text for text in texts]
        ids = [self.encode(text) for text in normalised]
        is_visible = [bool(text) and not text.isspace() for text in normalised]
        return (
            np.array([number for row in ids for number in row], dtype=np.int32),
            np.cumsum([0, *map(len, ids)], dtype=np.int64),
            np.array(is_visible, dtype=np.uint8),
        )

    def _encode_piece(self, part: str) -> tuple[int, ...]:
        ids = tuple(self._merge([byte + FIRST_BYTE for byte in part.encode("utf-8", "surrogatepass")]))
        if len(self._cache) >= CACHE_LIMIT:
            # A new one, not cleared: another thread may be reading.
            self._cache = {}
        self._cache[part] = ids
        return ids

    def _merge(self, ids: list[int]) -> list[int]:
        """Merge neighbours, the lowest rank first and of equal ranks the leftmost, until none is left."""
        none = (_NO_RANK, 0)
        known = self._ranks
        candidates = [known.get(pair, none) for pair in pairwise(ids)]
        while candidates:
            best = min(candidates)
            if best is none:
                break
            i = candidates.index(best)
            ids[i : i + 2] = [best[1]]
            del candidates[i]
            if i:
                candidates[i - 1] = known.get((ids[i - 1], ids[i]), none)
            if i < len(candidates):
                candidates[i] = known.get((ids[i], ids[i + 1]), none)
        return ids


def _read_pair(pair: Sequence[int], rank: int, n_tokens: int) -> tuple[int, int]:
    """Give a merge that is one."""
    if (
        not isinstance(pair, list | tuple)
        or len(pair) != 2
        or any(type(number) is not int for number in pair)
    ):
        raise ArtefactError(f"vocabulary: merge {rank} is no pair of ids")
    for number in pair:
        if not FIRST_BYTE <= number < n_tokens:
            raise ArtefactError(
                f"vocabulary: merge {rank} names id {number}, expected {FIRST_BYTE} to {n_tokens - 1}; "
                "a merge joins tokens that exist before it"
            )
    return pair[0], pair[1]
