"""Text to token ids and back with the RWKV World vocabulary: greedy longest match over bytes.

At each place the longest token that the bytes begin with is taken. The file has a line a token: its id, its
text as a Python literal of `str` (UTF-8) or `bytes`, and its length in bytes; ids run from 1. Id 0 stands for
no text: end of text, padding. The matching itself is in the native extension where there is one; `_Matcher`
here is its definition and takes its place otherwise.

Knows nothing of models and of normalisation.

Source: https://github.com/BlinkDL/RWKV-LM, the vocabulary rwkv_vocab_v20230424.txt as in the `rwkv` package
0.8.32; its rwkv_tokenizer.py for the matching.
"""

from __future__ import annotations

import ast
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from gooseguard.codec import extension
from gooseguard.core.errors import ArtefactError, ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

END_OF_TEXT = 0
"""The id that stands for no text."""

VOCAB_SIZE = 65536
"""Ids of the World vocabulary, and rows of an embedding made for it; 65,529 of them stand for text."""

N_TOKENS = 65529
"""Tokens in the file of the World vocabulary."""

FILE_NAME = "rwkv_vocab_v20230424.txt"
"""The vocabulary's file in the `rwkv` package."""

_TOKEN_LIMIT = 65535


class Encoded(NamedTuple):
    """The token ids of several texts, one after another."""

    ids: npt.NDArray[np.int32]
    """int32, (N,): all ids."""
    offsets: npt.NDArray[np.int64]
    """int64, (n + 1,): text i has `ids[offsets[i] : offsets[i + 1]]`."""


class WorldTokenizer:
    """The vocabulary and its encoder. Immutable, so that threads may share one."""

    def __init__(self, tokens: Sequence[bytes], *, vocab_size: int | None = None) -> None:
        """Make a vocabulary of `tokens`, the bytes of each id from 0 on; empty for ids without text.

        Args:
            tokens: the first, of `END_OF_TEXT`, is empty.
            vocab_size: number of ids, at least that of `tokens`; as many by default.

        Raises:
            ArtefactError: a byte has no token of its own, a token repeats another or is too long, or
                there are too many ids.
        """
        tokens = list(tokens)
        if not tokens or tokens[END_OF_TEXT]:
            raise ArtefactError(
                f"vocabulary: id {END_OF_TEXT} has text, expected none; it is the end of text"
            )
        self.vocab_size = max(vocab_size or 0, len(tokens))
        """Number of ids, those without text included."""
        self._tokens = tokens
        self._matcher = _make_matcher(tokens)

    @classmethod
    def from_file(cls, path: str | Path) -> WorldTokenizer:
        """Read the World vocabulary from its file.

        Raises:
            ArtefactError: it cannot be read, is cut short or altered; the message names the line.
        """
        path = Path(path)
        try:
            text = path.read_bytes().decode("utf-8")
        except OSError as error:
            raise ArtefactError(
                f"vocabulary {path}: cannot be read ({error.strerror}); expected {FILE_NAME}"
            ) from None
        except UnicodeDecodeError as error:
            raise ArtefactError(
                f"vocabulary {path}: byte {error.start} is not UTF-8; expected {FILE_NAME} as published"
            ) from None
        try:
            tokens = [b"", *parse_vocabulary(text)]
            if len(tokens) != N_TOKENS + 1:
                raise ArtefactError(f"{len(tokens) - 1} tokens, expected {N_TOKENS}; is the file cut short?")
            return cls(tokens, vocab_size=VOCAB_SIZE)
        except ArtefactError as error:
            raise ArtefactError(f"vocabulary {path}: {error}") from None

    @classmethod
    def from_package(cls) -> WorldTokenizer:
        """Read the World vocabulary that the installed `rwkv` package brings; does not import it.

        Raises:
            ConfigError: the package is not installed.
            ArtefactError: its file is not the vocabulary.
        """
        spec = util.find_spec("rwkv")
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError(
                "the World vocabulary was not found: the package rwkv is not installed; "
                f"pip install rwkv, or give the path of {FILE_NAME}"
            )
        return cls.from_file(Path(next(iter(spec.submodule_search_locations))) / FILE_NAME)

    def encode(self, text: str | bytes) -> list[int]:
        """Give the ids of `text`; a str is taken as UTF-8, a lone surrogate as its three bytes."""
        return self._matcher.encode_text(text)

    def encode_batch(self, texts: Sequence[str | bytes]) -> Encoded:
        """Give the ids of many texts; the native extension works without holding the interpreter's lock."""
        return Encoded(*self._matcher.encode_batch(texts))

    def decode(self, ids: Iterable[int]) -> bytes:
        """Give the bytes that `ids` stand for, none for `END_OF_TEXT`.

        Raises:
            DataError: an id stands for no token.
        """
        pieces = []
        for place, number in enumerate(ids):
            piece = self._tokens[number] if 0 <= number < len(self._tokens) else b""
            if not piece and number != END_OF_TEXT:
                raise DataError(f"token {place} has id {number}, expected 0 to {len(self._tokens) - 1}")
            pieces.append(piece)
        return b"".join(pieces)

    def open(self) -> WorldStream:
        """Begin a text that arrives in pieces."""
        return WorldStream(self)


class WorldStream:
    """Encodes a text that arrives in pieces; gives the ids of the whole, and holds back a token's length."""

    __slots__ = ("_held", "_matcher")

    def __init__(self, tokenizer: WorldTokenizer) -> None:
        # A friend: what a stream needs of a tokenizer is no one else's business.
        self._matcher = tokenizer._matcher  # noqa: SLF001
        self._held = b""

    def push(self, text: str | bytes) -> list[int]:
        """Take the next piece, which may end inside a code point; give the ids that are now certain."""
        data = self._held + _to_bytes(text)
        ids, used = self._matcher.encode(data, is_last=False)
        self._held = data[used:]
        return ids

    def finish(self) -> list[int]:
        """Give the rest. The stream then begins anew."""
        data, self._held = self._held, b""
        return self._matcher.encode(data, is_last=True)[0]


def parse_vocabulary(text: str) -> list[bytes]:
    """Read the lines of a vocabulary file; give the bytes of ids 1, 2, ….

    Raises:
        ArtefactError: a line is not what it should be; the message names it.
    """
    lines = text.split("\n")
    if lines.pop():
        raise ArtefactError(f"line {len(lines) + 1} does not end; is the file cut short?")
    tokens = []
    for number, line in enumerate(lines, 1):
        name, _, rest = line.removesuffix("\r").partition(" ")
        literal, _, size = rest.rpartition(" ")
        token = _read_literal(literal, number)
        if name != str(number) or size != str(len(token)):
            raise ArtefactError(
                f"line {number} says id {name[:8]!r} and {size[:8]!r} bytes, expected id {number} and "
                f"{len(token)} bytes"
            )
        tokens.append(token)
    return tokens


def _read_literal(literal: str, number: int) -> bytes:
    """Give the bytes of a literal, without running anything."""
    quote = literal[:1]
    if len(literal) >= 2 and quote in "'\"" and literal[-1] == quote and "\\" not in literal:
        # The common case, fifty times as fast as parsing Python.
        inner = literal[1:-1]
        if inner and quote not in inner:
            return inner.encode("utf-8", "surrogatepass")
    try:
        value = ast.literal_eval(literal)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = None
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogatepass")
    if not isinstance(value, bytes) or not value:
        raise ArtefactError(
            f"line {number} holds no text; expected id, Python literal of str or bytes, length"
        )
    return value


def _to_bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(memoryview(text))


class _Matching(Protocol):
    """What the native extension and `_Matcher` both are."""

    def encode(self, data: bytes, *, is_last: bool) -> tuple[list[int], int]:
        """Give ids, and how many bytes they are of: all with `is_last`, else those that are certain."""

    def encode_text(self, text: str | bytes, /) -> list[int]:
        """Give the ids of a whole text."""

    def encode_batch(
        self, texts: Sequence[str | bytes]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Give ids and offsets, as `Encoded` has them."""


def _make_matcher(tokens: list[bytes]) -> _Matching:
    if extension.problem() is not None:
        return _Matcher(tokens)
    # Late, because it may not be there.
    from gooseguard import _native  # noqa: PLC0415

    return _native.WorldTokenizer(tokens)


class _Matcher:
    """Longest match by looking up every length that a token with the same two first bytes has."""

    def __init__(self, tokens: list[bytes]) -> None:
        if len(tokens) > VOCAB_SIZE:
            raise ArtefactError(f"vocabulary: {len(tokens)} ids, expected at most {VOCAB_SIZE}")
        self._ids: dict[bytes, int] = {}
        sizes: dict[bytes, set[int]] = {}
        for number, token in enumerate(tokens):
            if token in self._ids:
                raise ArtefactError(f"vocabulary: id {number} repeats an earlier token; expected each once")
            if len(token) > _TOKEN_LIMIT:
                raise ArtefactError(
                    f"vocabulary: id {number} has {len(token)} bytes, expected at most {_TOKEN_LIMIT}"
                )
            if token:
                self._ids[token] = number
                sizes.setdefault(token[:2], set()).add(len(token))
        missing = sum(bytes([byte]) not in self._ids for byte in range(256))
        if missing:
            raise ArtefactError(
                f"vocabulary: {missing} of the 256 single bytes are no token; expected all, so that every "
                "text can be encoded"
            )
        # Lengths of the tokens that begin with two bytes, the longest first.
        self._sizes = {start: sorted(found, reverse=True) for start, found in sizes.items()}

    def encode(self, data: bytes, *, is_last: bool) -> tuple[list[int], int]:
        ids: list[int] = []
        known = self._ids
        position = 0
        while position < len(data):
            start = data[position : position + 2]
            sizes = self._sizes.get(start, ()) if len(start) == 2 else ()
            rest = len(data) - position
            if not is_last and (rest < 2 or (sizes and rest < sizes[0])):
                break
            for size in sizes:
                number = known.get(data[position : position + size]) if size <= rest else None
                if number is not None:
                    break
            else:
                size, number = 1, known[start[:1]]
            ids.append(number)
            position += size
        return ids, position

    def encode_text(self, text: str | bytes, /) -> list[int]:
        return self.encode(_to_bytes(text), is_last=True)[0]

    def encode_batch(
        self, texts: Sequence[str | bytes]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        encoded = [self.encode_text(text) for text in texts]
        offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        return np.array([number for ids in encoded for number in ids], dtype=np.int32), offsets
