r"""Normalised text to token ids and back: byte-level byte pair encoding.

A text is first cut into pieces by `pieces.piece`, each of at most `PIECE_LIMIT` code points, so that cost
stays linear and a stream holds back little. Bytes of a piece are then joined pair by pair, the merge learnt
first going first. Ids: 0 is `RESERVED` (padding, end of text), 1 to 256 are the bytes 0 to 255, and from 257
on come merged tokens in the order in which they were learnt. The native extension encodes where there is
one, `byte_pairs.PythonEncoder` otherwise, with equal results.

Knows nothing of models, and nothing of how a vocabulary is learnt.

Source: Sennrich et al., Neural Machine Translation of Rare Words with Subword Units (2016), section 3.2;
bytes as the alphabet: Radford et al., Language Models are Unsupervised Multitask Learners (2019), section
2.2.
"""

from __future__ import annotations

import json
import re
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from gooseguard.codec import extension
from gooseguard.codec.byte_pairs import FIRST_BYTE, PythonEncoder
from gooseguard.codec.normalize import IGNORABLE, NormalizerStream
from gooseguard.codec.pieces import piece
from gooseguard.core.errors import ArtefactError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RESERVED = 0
"""The id that stands for no text: padding, end of text."""

FIRST_MERGE = FIRST_BYTE + 256
"""The id of the first merged token."""

FORMAT = "gooseguard-vocabulary"
"""Name of the file format."""

FORMAT_VERSION = 1
"""Version of the file format that is written, and the only one that is read."""


TAIL_LIMIT = 4096
"""Code points of what a stream remembers of the text's end: far above a word and its marks."""


class EncodedTexts(NamedTuple):
    """The token ids of several texts, one after another."""

    ids: npt.NDArray[np.int32]
    """int32, (N,): all ids."""
    offsets: npt.NDArray[np.int64]
    """int64, (n + 1,): text i has `ids[offsets[i] : offsets[i + 1]]`."""
    is_visible: npt.NDArray[np.bool_]
    """bool, (n,): whether a text has anything but white space once normalised."""


class Tokenizer:
    """A vocabulary and its encoder. Immutable, so that threads may share one."""

    def __init__(self, merges: Iterable[Sequence[int]]) -> None:
        """Make the vocabulary of `merges`: pairs of ids, the one learnt first first.

        A merge gives the next free id; if its bytes are a token already, it gives that token's id.

        Raises:
            ArtefactError: a merge is no pair, names an id that does not exist yet, or was there before.
        """
        listed = list(merges)
        # `_native.Tokenizer` where there is the extension.
        self.encoder = _make_encoder(listed)
        # An array, which takes a twentieth of the memory.
        self._merges = np.array(listed, dtype=np.int32).reshape(-1, 2)

    @cached_property
    def merges(self) -> tuple[tuple[int, int], ...]:
        """Pairs of ids in the order in which they were learnt."""
        return tuple((left, right) for left, right in self._merges.tolist())

    @property
    def vocab_size(self) -> int:
        """Number of ids, the reserved one included."""
        return self.encoder.vocab_size

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
        return cls(merges)

    def to_json(self) -> str:
        """Give the vocabulary as canonical JSON: equal vocabularies, equal text."""
        content = {"format": FORMAT, "merges": self._merges.tolist(), "version": FORMAT_VERSION}
        return json.dumps(content, separators=(",", ":"), sort_keys=True)

    def encode(self, text: str) -> list[int]:
        """Give the token ids of `text`, which is normalised already."""
        return self.encoder.encode(text)

    def encode_texts(self, texts: Sequence[str]) -> EncodedTexts:
        """Normalise and encode many texts; the native extension does so without the interpreter's lock."""
        ids, offsets, is_visible = self.encoder.encode_texts(texts)
        return EncodedTexts(ids, offsets, is_visible.view(np.bool_))

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[int], list[int]]:
        """Give the token ids of `text` and the span `[begin, end)` of each, in code points of `text`.

        A token that holds only some bytes of a code point covers that code point.

        Returns:
            Ids, begins, ends; of one length.
        """
        ids = self.encode(text)
        owners: Sequence[int] = range(len(text))
        if not text.isascii():
            owners = [
                owner
                for owner, character in enumerate(text)
                for _ in character.encode("utf-8", "surrogatepass")
            ]
        places = np.cumsum([0, *(len(self._tokens[number]) for number in ids)]).tolist()
        return ids, [owners[place] for place in places[:-1]], [owners[place - 1] + 1 for place in places[1:]]

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

    @cached_property
    def _tokens(self) -> list[bytes]:
        return self.encoder.tokens()


class TokenStream:
    """Encodes a normalised text that arrives in pieces; gives the tokens that the whole text encodes to."""

    __slots__ = ("_tokenizer", "held")

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.held = ""

    def push(self, text: str) -> list[int]:
        """Take the next piece of the text; give the tokens that are now certain."""
        text = self.held + text
        begin = 0
        # Only the last match can change, and it is no longer than a piece.
        for match in piece().finditer(text):
            begin = match.start()
        self.held = text[begin:]
        return self._tokenizer.encode(text[:begin])

    def finish(self) -> list[int]:
        """Give the rest. The stream then begins anew."""
        text, self.held = self.held, ""
        return self._tokenizer.encode(text)


class TextStream:
    """Normalises and encodes a text that arrives in pieces; gives the tokens of the whole."""

    __slots__ = ("_normalizer", "_tail", "_tail_begin", "_tokens")

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._normalizer = NormalizerStream()
        self._tokens = TokenStream(tokenizer)
        # The end of the text that the normaliser holds back, as it came, and where that begins.
        self._tail = ""
        self._tail_begin = 0

    def held(self) -> tuple[str, str]:
        """Give what is held back, for `from_held`; bounded, whatever the text."""
        return self._tail, self._tokens.held

    @classmethod
    def from_held(cls, tokenizer: Tokenizer, held: Sequence[str]) -> TextStream:
        """Go on where `held` was taken: a normaliser that reads the end anew holds back what it held."""
        stream = cls(tokenizer)
        tail, stream._tokens.held = held
        stream._normalizer.push(tail)
        stream._tail = tail
        return stream

    def push(self, text: str) -> list[int]:
        """Take the next piece of the text; give the tokens that are now certain."""
        certain = self._normalizer.push(text)
        self._tail += text
        if certain.text:
            self._tail = self._tail[certain.ends[-1] - self._tail_begin :]
            self._tail_begin = certain.ends[-1]
        if len(self._tail) > TAIL_LIMIT:
            # Nothing but what the normaliser drops can be so long: invisible characters, and marks in heaps.
            tail = re.sub(f"[{IGNORABLE}]+", "", self._tail)[:TAIL_LIMIT]
            self._tail_begin += len(self._tail) - len(tail)
            self._tail = tail
        return self._tokens.push(certain.text)

    def finish(self) -> list[int]:
        """Give the rest. The stream then begins anew."""
        self._tail, self._tail_begin = "", 0
        return self._tokens.push(self._normalizer.finish().text) + self._tokens.finish()


class Encoder(Protocol):
    """What `_native.Tokenizer` and `PythonEncoder` both are."""

    @property
    def vocab_size(self) -> int:
        """Number of ids."""

    def tokens(self) -> list[bytes]:
        """Give the bytes of each id."""

    def encode(self, text: str) -> list[int]:
        """Give the ids of a normalised text."""

    def encode_texts(
        self, texts: Sequence[str]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """Normalise and encode: ids, offsets, visibility."""


def _make_encoder(merges: Sequence[Sequence[int]]) -> Encoder:
    if extension.problem() is not None:
        return PythonEncoder(merges)
    # Late, because it may not be there.
    from gooseguard import _native  # noqa: PLC0415

    return _native.Tokenizer(merges)
