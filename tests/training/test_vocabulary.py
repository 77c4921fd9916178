"""Learning a vocabulary: our encoder gives the tokens of the library that learnt it."""

from __future__ import annotations

import json
import sys
from random import Random
from typing import TYPE_CHECKING

import pytest

from gooseguard.codec.normalize import normalize
from gooseguard.codec.pieces import piece
from gooseguard.core.errors import ConfigError, DataError
from gooseguard.training.vocabulary import SEPARATOR, _byte_letters, _convert, _learn, train_vocabulary

if TYPE_CHECKING:
    from gooseguard.codec.tokenizer import Tokenizer

pytest.importorskip("tokenizers", reason="needs gooseguard[train]")

SENTENCES = """
you are a total moron and everyone knows it please don't say that again ok thanks I'll see 2024 12345 :) !!!
ты дурак и это все знают привет мир όλοι το ξέρουν καλημέρα du bist ein dummkopf größe für übel
tu es idiot déjà où ça señor mañana você não é أنت غبي جدا مرحبا אתה טיפש שלום तुम मूर्ख हो नमस्ते
你 是 笨蛋 大家 都 知道 バカ です これ は 바보 같은 안녕하세요 คุณโง่มาก สวัสดี
ngu ngốc đồ ngốc ahmak aptal 😀 🤡 ❤ …
"""
WORDS = SENTENCES.split()


def make_texts(count: int, seed: int) -> list[str]:
    """Draw sentences of many scripts, some of them glued, repeated or broken."""
    random = Random(seed)
    texts = []
    for _ in range(count):
        words = random.choices(WORDS, k=random.randrange(1, 14))
        text = random.choice([" ", " ", " ", "", "  ", "\n"]).join(words)
        if random.random() < 0.2:
            text = "".join(random.sample(text, len(text)))
        if random.random() < 0.2:
            text += random.choice(text) * random.randrange(40)
        if random.random() < 0.2:
            text += "".join(chr(random.randrange(32, 0xD800)) for _ in range(8))
        texts.append(normalize(text).text)
    return texts


@pytest.fixture(scope="module")
def learnt() -> tuple[object, Tokenizer]:
    library = _learn(make_texts(3000, 1), 2048, progress=False)
    return library, _convert(library.to_str())


def test_encodes_as_the_library_does(learnt: tuple[object, Tokenizer]) -> None:
    library, tokenizer = learnt
    assert tokenizer.vocab_size == 2048
    letters = {letter: byte for byte, letter in enumerate(_byte_letters())}
    for text in make_texts(2500, 2):
        expected = library.encode(SEPARATOR.join(piece().findall(text)))
        tokens = [bytes(letters[letter] for letter in token) for token in expected.tokens]
        assert [tokenizer.decode([number]) for number in tokenizer.encode(text)] == tokens


def test_the_same_texts_give_the_same_vocabulary() -> None:
    texts = make_texts(400, 3)
    first = train_vocabulary(iter(texts), 600)
    assert train_vocabulary(texts, 600).to_json() == first.to_json()
    assert first.vocab_size == 600


def test_known_merges() -> None:
    # Pieces: "hug" 10 times, "a" 22 times, " pug" 5, " pun" 12, " hugs" 5. Pairs: (u, g) 10 + 5 + 5 = 20;
    # (space, p) and (p, u) 17; (h, u) 15; (u, n) 12. After "ug": (p, u) 12, (h, ug) 15.
    texts = ["hug"] * 10 + ["a pug"] * 5 + ["a pun"] * 12 + ["a hugs"] * 5
    tokenizer = train_vocabulary(texts, 257 + 3)
    names = [tuple(tokenizer.decode([number]) for number in pair) for pair in tokenizer.merges]
    assert names == [(b"u", b"g"), (b" ", b"p"), (b"h", b"ug")]


def test_pieces_are_never_joined() -> None:
    tokenizer = train_vocabulary(["moron! moron! moron!"] * 50, 400)
    # All merges that the pieces allow: "moron", " moron", "!".
    tokens = {tokenizer.decode([number]) for number in range(257, tokenizer.vocab_size)}
    assert {b"moron", b" moron"} <= tokens
    assert not any(b"!" in token for token in tokens)
    assert tokenizer.vocab_size < 400


def test_byte_letters_are_the_librarys() -> None:
    from tokenizers import pre_tokenizers

    letters = _byte_letters()
    assert sorted(letters) == sorted(pre_tokenizers.ByteLevel.alphabet())
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for text in ("".join(map(chr, range(0x80))), "éÿĀ語😀"):
        assert level.pre_tokenize_str(text)[0][0] == "".join(letters[byte] for byte in text.encode())


def test_refuses_what_it_cannot_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="vocab_size is 256, expected at least 257"):
        train_vocabulary(["a"], 256)
    with pytest.raises(DataError, match="text 1 holds U"):
        train_vocabulary(["a", "a\u2060b"], 300)
    with pytest.raises(DataError, match="text 0 has a lone surrogate at code point 1"):
        train_vocabulary(["a\ud800"], 300)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigError, match=r"gooseguard\[train\]"):
        train_vocabulary(["a"], 300)


def test_no_texts_give_bytes_only() -> None:
    tokenizer = train_vocabulary([], 300)
    assert tokenizer.vocab_size == 257
    assert json.loads(tokenizer.to_json())["merges"] == []
