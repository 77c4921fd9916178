r"""Normalised text to token ids and back: byte-level byte pair encoding, in plain Python.

A text is first cut into pieces by `PIECE`, each of at most `PIECE_LIMIT` code points, so that cost stays
linear and a stream holds back little. Bytes of a piece are then joined pair by pair, the merge learnt first
going first. Ids: 0 is `RESERVED` (padding, end of text), 1 to 256 are the bytes 0 to 255, and from 257 on
come merged tokens in the order in which they were learnt.

Knows nothing of models, and nothing of how a vocabulary is learnt.

Source: Sennrich et al., Neural Machine Translation of Rare Words with Subword Units (2016), section 3.2;
bytes as the alphabet: Radford et al., Language Models are Unsupervised Multitask Learners (2019), section
2.2.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import TYPE_CHECKING

from gooseguard.codec.normalize import NormalizerStream
from gooseguard.core.errors import ArtefactError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RESERVED = 0
"""The id that stands for no text: padding, end of text."""

FIRST_BYTE = 1
"""The id of byte 0."""

FIRST_MERGE = FIRST_BYTE + 256
"""The id of the first merged token."""

FORMAT = "gooseguard-vocabulary"
"""Name of the file format."""

FORMAT_VERSION = 1
"""Version of the file format that is written, and the only one that is read."""

PIECE_LIMIT = 25
"""Longest piece in code points."""

TOKEN_LIMIT = 4 * PIECE_LIMIT
"""Longest token in bytes: no piece has more in UTF-8."""

_CACHE_LIMIT = 65536
_NO_RANK = 1 << 60

# Bodies of character classes. Letters are what the others leave, so that each code point is in exactly one
# class.
_DIGITS = r"\d"
_HAN_KANA = (
    "\u3005-\u3007\u3041-\u3096\u3099-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
# Thai, Lao, Tibetan, Burmese, Khmer.
_UNSPACED = (
    "\u0e00-\u0e3e\u0e40-\u0e4e\u0e80-\u0ecf\u0eda-\u0eff\u0f40-\u0f84\u0f86-\u0fbc"
    "\u1000-\u103f\u1050-\u108f\u109a-\u109d\u1780-\u17d3"
)
_SYMBOLS = (
    r"\x00-\x08\x0e-\x1b!-/:-@\[-`{-\x7f\x80-\x84\x86-\x9f¡-©«-±´¶-¹»-¿×÷"
    # Spacing accents; Armenian, Hebrew and Arabic; Indic, Thai, Tibetan, Burmese and Khmer.
    "\u02c2-\u02c5\u02d2-\u02df\u055a-\u055f\u0589\u058a\u05be\u05c0\u05c3\u05c6\u05f3\u05f4"
    "\u0600-\u060f\u061b-\u061f\u066a-\u066d\u06d4\u06dd\u06de\u0964\u0965\u0970\u0e3f\u0e4f\u0e5a\u0e5b"
    "\u0f01-\u0f17\u0f3a-\u0f3d\u0f85\u104a-\u104f\u17d4-\u17d6\u17d8-\u17db"
    # General punctuation, currencies, arrows, mathematics, dingbats; East Asia; compatibility forms; emoji.
    "\u200b-\u2027\u202a-\u202e\u2030-\u205e\u2060-\u2070\u2074-\u207e\u20a0-\u20cf\u2100-\u2bff\u2e00-\u2fff"
    "\u3001-\u3004\u3008-\u3020\u3030\u3036\u3037\u303d-\u303f\u30a0\u30fb\u3200-\u33ff\ufe00-\ufe19"
    "\ufe30-\ufe6f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\ufff0-\uffff\U0001f000-\U0001faff"
)
_NO_LETTERS = rf"\s{_DIGITS}{_HAN_KANA}{_UNSPACED}{_SYMBOLS}"

PIECE = re.compile(
    rf"[ '’]?[^{_NO_LETTERS}]{{1,24}}"
    rf"| ?[{_SYMBOLS}]{{1,4}}"
    rf"| ?{_DIGITS}{{1,3}}"
    rf"|[{_HAN_KANA}]{{1,4}}"
    rf"| ?[{_UNSPACED}]{{1,8}}"
    r"|\s{1,8}"
)
"""One piece of a text; whatever the text, its pieces make it up.

In this order: letters and marks with the space or apostrophe before them, symbols, digits, Han and kana,
scripts written without spaces, white space. No alternative looks further than one code point past its end,
so that only the last piece of a text depends on what may follow.
"""


class Tokenizer:
    """A vocabulary and its encoder. Immutable but for a cache, so that threads may share one."""

    def __init__(self, merges: Iterable[tuple[int, int]]) -> None:
        """Make the vocabulary of `merges`: pairs of ids, the one learnt first first.

        A merge gives the next free id; if its bytes are a token already, it gives that token's id.

        Raises:
            ArtefactError: a merge names an id that does not exist yet, or a pair that was merged before.
        """
        self.merges: tuple[tuple[int, int], ...] = tuple((left, right) for left, right in merges)
        """Pairs of ids in the order in which they were learnt."""
        tokens = [b"", *(bytes([byte]) for byte in range(256))]
        ids = {token: number for number, token in enumerate(tokens)}
        ranks: dict[tuple[int, int], tuple[int, int]] = {}
        for rank, pair in enumerate(self.merges):
            for number in pair:
                if not FIRST_BYTE <= number < len(tokens):
                    raise ArtefactError(
                        f"vocabulary: merge {rank} names id {number}, expected {FIRST_BYTE} to "
                        f"{len(tokens) - 1}; a merge joins tokens that exist before it"
                    )
            if pair in ranks:
                raise ArtefactError(
                    f"vocabulary: merge {rank} repeats merge {ranks[pair][0]}; expected it once"
                )
            token = tokens[pair[0]] + tokens[pair[1]]
            if len(token) > TOKEN_LIMIT:
                raise ArtefactError(
                    f"vocabulary: merge {rank} gives {len(token)} bytes, expected at most {TOKEN_LIMIT}"
                )
            if token not in ids:
                ids[token] = len(tokens)
                tokens.append(token)
            ranks[pair] = rank, ids[token]
        self._tokens = tokens
        self._ranks = ranks
        self._cache: dict[str, tuple[int, ...]] = {}

    @property
    def vocab_size(self) -> int:
        """Number of ids, the reserved one included."""
        return len(self._tokens)

    @classmethod
    def from_json(cls, data: str | bytes) -> Tokenizer:
        """Read what `to_json` gives.

        Raises:
            ArtefactError: `data` is not such a vocabulary; the message says why.
        """
        try:
            content = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ArtefactError(
                f"vocabulary is not JSON: {type(error).__name__}; expected a {FORMAT} file"
            ) from None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ArtefactError(f"vocabulary is not a {FORMAT} file; expected an object with that format")
        if content.get("version") != FORMAT_VERSION or isinstance(content["version"], bool):
            raise ArtefactError(
                f"vocabulary is of an unknown version, expected {FORMAT_VERSION}; upgrade gooseguard"
            )
        if set(content) != {"format", "merges", "version"}:
            raise ArtefactError(
                "vocabulary has other fields than format, merges and version, or lacks merges"
            )
        merges = content["merges"]
        if not isinstance(merges, list):
            raise ArtefactError("vocabulary: merges is no list; expected a list of pairs of ids")
        for rank, pair in enumerate(merges):
            if (
                not isinstance(pair, list)
                or len(pair) != 2
                or any(type(number) is not int for number in pair)
            ):
                raise ArtefactError(f"vocabulary: merge {rank} is no pair of ids")
        return cls((left, right) for left, right in merges)

    def to_json(self) -> str:
        """Give the vocabulary as canonical JSON: equal vocabularies, equal text."""
        content = {"format": FORMAT, "merges": self.merges, "version": FORMAT_VERSION}
        return json.dumps(content, separators=(",", ":"), sort_keys=True)

    def encode(self, text: str) -> list[int]:
        """Give the token ids of `text`, which is normalised already."""
        cache = self._cache
        ids: list[int] = []
        for piece in PIECE.findall(text):
            known = cache.get(piece)
            ids += self._encode_piece(piece) if known is None else known
        return ids

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[int], list[int]]:
        """Give the token ids of `text` and the span `[begin, end)` of each, in code points of `text`.

        A token that holds only some bytes of a code point covers that code point.

        Returns:
            Ids, begins, ends; of one length.
        """
        ids: list[int] = []
        begins: list[int] = []
        ends: list[int] = []
        position = 0
        for piece in PIECE.findall(text):
            owners: Sequence[int] = range(position, position + len(piece))
            if not piece.isascii():
                owners = [
                    owner
                    for owner, character in zip(owners, piece, strict=True)
                    for _ in character.encode("utf-8", "surrogatepass")
                ]
            begin = 0
            for number in self._encode_piece(piece):
                end = begin + len(self._tokens[number])
                ids.append(number)
                begins.append(owners[begin])
                ends.append(owners[end - 1] + 1)
                begin = end
            position += len(piece)
        return ids, begins, ends

    def decode(self, ids: Iterable[int]) -> bytes:
        """Give the bytes that `ids` stand for, none for the reserved id; UTF-8 if they are a whole text.

        Raises:
            DataError: an id is not in the vocabulary.
        """
        numbers = list(ids)
        for place, number in enumerate(numbers):
            if not 0 <= number < len(self._tokens):
                raise DataError(f"token {place} has id {number}, expected 0 to {len(self._tokens) - 1}")
        return b"".join([self._tokens[number] for number in numbers])

    def _encode_piece(self, piece: str) -> tuple[int, ...]:
        known = self._cache.get(piece)
        if known is not None:
            return known
        ids = tuple(self._merge([byte + FIRST_BYTE for byte in piece.encode("utf-8", "surrogatepass")]))
        if len(self._cache) >= _CACHE_LIMIT:
            # A new one, not cleared: another thread may be reading.
            self._cache = {}
        self._cache[piece] = ids
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


class TokenStream:
    """Encodes a normalised text that arrives in pieces; gives the tokens that the whole text encodes to."""

    __slots__ = ("_held", "_tokenizer")

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._held = ""

    def push(self, text: str) -> list[int]:
        """Take the next piece of the text; give the tokens that are now certain."""
        text = self._held + text
        begin = 0
        # Only the last match can change, and it is no longer than a piece.
        for match in PIECE.finditer(text):
            begin = match.start()
        self._held = text[begin:]
        return self._tokenizer.encode(text[:begin])

    def finish(self) -> list[int]:
        """Give the rest. The stream then begins anew."""
        text, self._held = self._held, ""
        return self._tokenizer.encode(text)


class TextStream:
    """Normalises and encodes a text that arrives in pieces; gives the tokens of the whole."""

    __slots__ = ("_normalizer", "_tokens")

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._normalizer = NormalizerStream()
        self._tokens = TokenStream(tokenizer)

    def push(self, text: str) -> list[int]:
        """Take the next piece of the text; give the tokens that are now certain."""
        return self._tokens.push(self._normalizer.push(text).text)

    def finish(self) -> list[int]:
        """Give the rest. The stream then begins anew."""
        return self._tokens.push(self._normalizer.finish().text) + self._tokens.finish()
