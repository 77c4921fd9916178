"""Folding of look-alike letters, word by word."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.codec.homoglyphs import (
    CASED_CAPITALS,
    CYRILLIC_LOOKS,
    FOREIGN,
    LETTER_LIKE,
    LOOK_ALIKES,
    fold_word,
)

LETTERS = "abhxzй" + "".join(LOOK_ALIKES) + "шдиψλ語1" + "\U0001f1e6\U0001f1fa"


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        # Cyrillic o, e and small Greek alpha among Latin letters.
        ("m\u043er\u043en", "moron"),
        ("m\u03bfron", "moron"),
        # All Cyrillic, all Greek: words of their own.
        ("\u0441\u043e\u043a", "\u0441\u043e\u043a"),
        ("\u03bf\u03c1\u03bf\u03c2", "\u03bf\u03c1\u03bf\u03c2"),
        # й looks like no Latin letter, x like a Cyrillic one: the word is Cyrillic.
        ("xу\u0439", "ху\u0439"),
        # A Latin abbreviation with a Cyrillic ending stays: ш, и look like nothing Latin, i like nothing
        # Russian.
        ("itшник", "itшник"),
        # A run that looks Latin throughout is folded even where another run is not.
        ("fооlш", "foolш"),
        # Accents do not hide a letter: ё is е with dots.
        ("idiot\u0451", "idiote"),
        # Greek capitals are folded by their own shape, and put in lower case where they stay.
        ("\u039doob", "noob"),
        ("\u039d\u03b1\u03b9", "\u03bd\u03b1\u03b9"),
        # Regional indicators: two are a flag, others are letters.
        ("\U0001f1e9\U0001f1ea", "\U0001f1e9\U0001f1ea"),
        ("\U0001f1e9\U0001f1ea\U0001f1eb", "def"),
        # Digits tell nothing of an alphabet, but do not end a word.
        ("m0r\u043en", "m0ron"),
        ("covid19", "covid19"),
        ("", ""),
    ],
)
def test_fold_word(word: str, expected: str) -> None:
    assert fold_word(word) == expected


@given(st.text(LETTERS, max_size=12))
@settings(max_examples=300, deadline=None)
def test_fold_word_keeps_length_and_is_idempotent(word: str) -> None:
    folded = fold_word(word)
    assert len(folded) == len(word)
    assert fold_word(folded) == folded


def test_tables() -> None:
    foreign = re.compile(f"[{FOREIGN}]")
    for letter, latin in LOOK_ALIKES.items():
        # A letter that no longer stands for itself after normalisation would never be looked up.
        assert unicodedata.normalize("NFKC", letter) == letter
        assert letter in CASED_CAPITALS or letter.lower() == letter
        assert letter.isalpha()
        assert foreign.match(letter)
        assert len(latin) == 1
        assert "a" <= latin <= "z"
    assert all("a" <= latin <= "z" for latin in LETTER_LIKE.values())
    assert not set(LETTER_LIKE) & set(LOOK_ALIKES)
    assert all(LOOK_ALIKES[cyrillic] == latin for latin, cyrillic in CYRILLIC_LOOKS.items())
    for capital in CASED_CAPITALS:
        assert len(capital.lower()) == 1
