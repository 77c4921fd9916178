"""Byte pair encoding in plain Python; test_tokenizer.py tests the whole, tests/parity the native twin."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from gooseguard.codec import byte_pairs
from gooseguard.codec.byte_pairs import PythonEncoder

A, B, C, D, SPACE = (1 + byte for byte in b"abcd ")
MERGES = [(A, B), (257, C), (C, D), (SPACE, 258), (1 + 0xC3, 1 + 0xA9)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        # ab was learnt before cd and before abc: ab+c, then d; not ab+cd.
        ("abcd", [258, D]),
        ("d abc", [D, 260]),
        ("é", [261]),
        ("\ud800", [1 + 0xED, 1 + 0xA0, 1 + 0x80]),
    ],
)
def test_known(text: str, expected: list[int]) -> None:
    encoder = PythonEncoder(MERGES)
    assert encoder.encode(text) == expected
    # From the cache, too.
    assert encoder.encode(text) == expected


def test_tokens() -> None:
    encoder = PythonEncoder(MERGES)
    assert encoder.vocab_size == 262
    assert encoder.tokens()[257:] == [b"ab", b"abc", b"cd", b" abc", "é".encode()]


def test_texts_are_normalised_and_blanks_are_told() -> None:
    ids, offsets, is_visible = PythonEncoder(MERGES).encode_texts(["ABC", " \u3000", "", "\u200b", "e\u0301"])
    # U+3000 becomes a space.
    assert ids.tolist() == [258, SPACE, SPACE, 261]
    assert offsets.tolist() == [0, 1, 3, 3, 3, 4]
    assert is_visible.tolist() == [1, 0, 0, 0, 1]


def test_cache_is_bounded_and_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_pairs, "CACHE_LIMIT", 50)
    random = Random(1)
    many = ["".join(random.choices("abcd é語", k=30)) for _ in range(300)]
    encoder, other = PythonEncoder(MERGES), PythonEncoder(MERGES)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(encoder.encode, many)) == [other.encode(text) for text in many]
    assert len(encoder._cache) <= 54
