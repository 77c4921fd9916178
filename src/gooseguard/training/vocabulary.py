"""Normalised texts to a vocabulary for `codec.tokenizer`, learnt with the `tokenizers` library.

Learning sees exactly the pieces that encoding will see. Knows nothing of labels and models.
"""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING

from gooseguard.codec.byte_pairs import FIRST_BYTE
from gooseguard.codec.pieces import piece
from gooseguard.codec.tokenizer import FIRST_MERGE, Tokenizer
from gooseguard.core.errors import ConfigError, DataError
from gooseguard.core.extras import needing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tokenizers import Tokenizer as LibraryTokenizer

# Word joiner: normalisation drops it, so no piece holds it.
SEPARATOR = "\u2060"
"""Stands between pieces on their way to the library; never in normalised text."""


def train_vocabulary(texts: Iterable[str], vocab_size: int, *, progress: bool = False) -> Tokenizer:
    """Learn a vocabulary of at most `vocab_size` ids; fewer where the texts have no more pairs to merge.

    The same texts in the same order give the same vocabulary.

    Args:
        texts: normalised texts; read once.
        vocab_size: ids, the reserved one and the 256 bytes included.
        progress: show a progress bar on stderr.

    Raises:
        ConfigError: `vocab_size` is below 257, or the `tokenizers` library is not installed.
        DataError: a text holds a lone surrogate or the separator, which normalised text never does.
    """
    if vocab_size < FIRST_MERGE:
        raise ConfigError(
            f"vocab_size is {vocab_size}, expected at least {FIRST_MERGE}: one reserved id and the bytes"
        )
    return _convert(_learn(texts, vocab_size, progress=progress).to_str())


def _learn(texts: Iterable[str], vocab_size: int, *, progress: bool) -> LibraryTokenizer:
    """Learn with the library; give its tokenizer, for texts whose pieces the separator divides."""
    # Here, because only those who learn a vocabulary have the library.
    with needing("learning a vocabulary needs"):
        from tokenizers import Regex, models, pre_tokenizers, trainers  # noqa: PLC0415
        from tokenizers import Tokenizer as Library  # noqa: PLC0415
    library = Library(models.BPE())
    library.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SEPARATOR), behavior="removed"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - FIRST_BYTE,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=progress,
    )
    library.train_from_iterator(_separate(texts), trainer)
    return library


def _separate(texts: Iterable[str]) -> Iterator[str]:
    """Cut each text into its pieces, told apart by the separator."""
    for number, text in enumerate(texts):
        if SEPARATOR in text:
            raise DataError(f"text {number} holds U+2060; normalise texts before learning a vocabulary")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"text {number} has a lone surrogate at code point {error.start}; remove it"
            ) from None
        yield SEPARATOR.join(piece().findall(text))


def _convert(content: str) -> Tokenizer:
    """Turn the library's file into our vocabulary."""
    letters = {letter: byte for byte, letter in enumerate(_byte_letters())}
    ids = {bytes([byte]): byte + FIRST_BYTE for byte in range(256)}
    merges = []
    for left, right in json.loads(content)["model"]["merges"]:
        tokens = [bytes(letters[letter] for letter in token) for token in (left, right)]
        merges.append((ids[tokens[0]], ids[tokens[1]]))
        ids.setdefault(tokens[0] + tokens[1], len(ids) + FIRST_BYTE)
    return Tokenizer(merges)


def _byte_letters() -> list[str]:
    """Give the letter that the library writes for each byte.

    Printable characters of Latin-1 stand for themselves, the rest for U+0100 onwards in order of the bytes.

    Source: `bytes_to_unicode` of the encoder published with Radford et al. (2019), as in the library's
    `ByteLevel`.
    """
    printable = set(chain(range(0x21, 0x7F), range(0xA1, 0xAD), range(0xAE, 0x100)))
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]
