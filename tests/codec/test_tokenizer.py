"""Byte pair encoding: known tokens, round trips, offsets, streams and the file format."""

from __future__ import annotations

import json
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.codec import extension
from gooseguard.codec.byte_pairs import PythonEncoder
from gooseguard.codec.normalize import normalize
from gooseguard.codec.pieces import PIECE_LIMIT, piece
from gooseguard.codec.tokenizer import TextStream, Tokenizer, TokenStream
from gooseguard.core.errors import ArtefactError, DataError

A, B, C, D, SPACE = (1 + byte for byte in b"abcd ")
# Bytes 0 to 255 are ids 1 to 256, so that the merges give 257 ab, 258 abc, 259 cd, 260 " abc", 261 é.
MERGES = [(A, B), (257, C), (C, D), (SPACE, 258), (1 + 0xC3, 1 + 0xA9)]
MIXED = "abcd  '’é\u0301ñ.!?1234\n\t語のกำ한ß_😀\u0301\ud800-\u2060"
texts = st.one_of(
    st.text(MIXED, max_size=60), st.text(st.characters(), max_size=40), st.text("abcd ", max_size=60)
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(MERGES)


@pytest.fixture(scope="module")
def large() -> Tokenizer:
    """A vocabulary of random merges among frequent bytes, deep enough for ties and duplicates."""
    random = Random(5)
    pool = [1 + byte for byte in "abcd é語".encode()]
    tokens = {number: bytes([number - 1]) for number in pool}
    ids = {token: number for number, token in tokens.items()}
    merges: list[tuple[int, int]] = []
    n_tokens = 257
    while len(merges) < 300:
        pair = random.choice(pool), random.choice(pool)
        token = tokens[pair[0]] + tokens[pair[1]]
        if len(token) <= 8 and pair not in merges:
            merges.append(pair)
            if token not in ids:
                ids[token], tokens[n_tokens] = n_tokens, token
                pool.append(n_tokens)
                n_tokens += 1
    return Tokenizer(merges)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("abc", [258]),
        # ab was learnt before cd and before abc: ab+c, then d; not ab+cd.
        ("abcd", [258, D]),
        ("bcd", [B, 259]),
        ("abab", [257, 257]),
        # The space belongs to the word after it.
        ("d abc", [D, 260]),
        # Two spaces are a piece of their own.
        ("d  abc", [D, SPACE, SPACE, 258]),
        ("é", [261]),
        ("ê", [1 + 0xC3, 1 + 0xAA]),
        ("\ud800", [1 + 0xED, 1 + 0xA0, 1 + 0x80]),
    ],
)
def test_known(tokenizer: Tokenizer, text: str, expected: list[int]) -> None:
    assert tokenizer.encode(text) == expected
    # From the cache, too.
    assert tokenizer.encode(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("you're a moron!!!", ["you", "'re", " a", " moron", "!!!"]),
        ("don’t @me #1", ["don", "’t", " @", "me", " #", "1"]),
        ("in 2024: 12345", ["in", " 202", "4", ":", " 123", "45"]),
        ("a\n\n b", ["a", "\n\n ", "b"]),
        ("?!?!?!", ["?!?!", "?!"]),
        ("你是一个好人。", ["你是一个", "好人", "。"]),
        ("これはペンです", ["これはペ", "ンです"]),
        ("아버지가 방에", ["아버지가", " 방에"]),
        ("हिन्दी में।", ["हिन्दी", " में", "।"]),
        ("x" * 30, ["x" * 24, "x" * 6]),
        ("😀😀 😀", ["😀😀", " 😀"]),
    ],
)
def test_pieces(text: str, expected: list[str]) -> None:
    assert piece().findall(text) == expected


@given(texts)
@settings(max_examples=300, deadline=None)
def test_pieces_make_up_the_text(text: str) -> None:
    pieces = piece().findall(text)
    assert "".join(pieces) == text
    assert max(map(len, pieces), default=0) <= PIECE_LIMIT


def test_every_code_point_is_in_a_piece() -> None:
    everything = "".join(map(chr, range(0x110000)))
    assert "".join(piece().findall(everything)) == everything


def merge_naively(tokenizer: Tokenizer, piece: str) -> list[bytes]:
    """Give tokens by the definition: the first merge that fits anywhere, at its first place; then again."""
    names = [b"", *(bytes([byte]) for byte in range(256))]
    merges = []
    for left, right in tokenizer.merges:
        token = names[left] + names[right]
        merges.append((names[left], names[right]))
        if token not in names:
            names.append(token)
    tokens = [bytes([byte]) for byte in piece.encode("utf-8", "surrogatepass")]
    while True:
        for pair in merges:
            places = [i for i in range(len(tokens) - 1) if (tokens[i], tokens[i + 1]) == pair]
            if places:
                tokens[places[0] : places[0] + 2] = [pair[0] + pair[1]]
                break
        else:
            return tokens


@given(st.text("abcd é語", max_size=24))
@settings(max_examples=60, deadline=None)
def test_merges_by_definition(large: Tokenizer, text: str) -> None:
    expected = [token for piece in piece().findall(text) for token in merge_naively(large, piece)]
    assert [large.decode([number]) for number in large.encode(text)] == expected


@given(texts)
@settings(max_examples=300, deadline=None)
def test_round_trip(large: Tokenizer, text: str) -> None:
    ids = large.encode(text)
    assert large.decode(ids) == text.encode("utf-8", "surrogatepass")
    assert all(0 < number < large.vocab_size for number in ids)


@given(texts)
@settings(max_examples=300, deadline=None)
def test_offsets(large: Tokenizer, text: str) -> None:
    ids, begins, ends = large.encode_with_offsets(text)
    assert ids == large.encode(text)
    assert len(ids) == len(begins) == len(ends)
    # Independently: where the bytes of each token lie.
    owners = [i for i, character in enumerate(text) for _ in character.encode("utf-8", "surrogatepass")]
    position = 0
    for number, begin, end in zip(ids, begins, ends, strict=True):
        covered = owners[position : position + len(large.decode([number]))]
        assert (begin, end) == (covered[0], covered[-1] + 1)
        position += len(covered)
    assert position == len(owners)


def test_offsets_of_a_split_character(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode_with_offsets("aê b") == (
        [A, 1 + 0xC3, 1 + 0xAA, SPACE, B],
        [0, 1, 1, 2, 3],
        [1, 2, 2, 3, 4],
    )


@given(texts, st.lists(st.integers(0, 60), max_size=6))
@settings(max_examples=300, deadline=None)
def test_streams_are_the_whole(large: Tokenizer, text: str, cuts: list[int]) -> None:
    for edges in ([0, *sorted(min(cut, len(text)) for cut in cuts), len(text)], list(range(len(text) + 1))):
        tokens, texts = TokenStream(large), TextStream(large)
        pieces = [text[begin:end] for begin, end in pairwise(edges)]
        assert [
            number for piece in pieces for number in tokens.push(piece)
        ] + tokens.finish() == large.encode(text)
        normalised = [number for piece in pieces for number in texts.push(piece)] + texts.finish()
        assert normalised == large.encode(normalize(text).text)
        assert tokens.finish() == texts.finish() == []


@pytest.mark.parametrize("unit", ["a", " ", "!", "1", "語", "ก", "\U0001f600", " a"])
def test_stream_holds_one_piece(tokenizer: Tokenizer, unit: str) -> None:
    stream = TokenStream(tokenizer)
    released = 0
    for count in range(1, 200):
        released += len(tokenizer.decode(stream.push(unit)))
        assert len(unit.encode()) * count - released <= 4 * PIECE_LIMIT


def test_json(large: Tokenizer) -> None:
    text = large.to_json()
    again = Tokenizer.from_json(text.encode())
    assert again.merges == large.merges
    assert again.vocab_size == large.vocab_size
    assert again.to_json() == text
    assert Tokenizer([]).to_json() == '{"format":"gooseguard-vocabulary","merges":[],"version":1}'
    assert Tokenizer([]).vocab_size == 257


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "not JSON"),
        (b"\xff", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a gooseguard-vocabulary file"),
        ({"format": "other"}, "not a gooseguard-vocabulary file"),
        ({"version": 2}, "unknown version"),
        ({"version": True}, "unknown version"),
        ({"extra": 1}, "other fields"),
        ({"merges": {}}, "merges is no list"),
        ({"merges": [[A]]}, "merge 0 is no pair"),
        ({"merges": [[A, "b"]]}, "merge 0 is no pair"),
        ({"merges": [[A, True]]}, "merge 0 is no pair"),
        ({"merges": [[A, B], [0, A]]}, "merge 1 names id 0, expected 1 to 257"),
        ({"merges": [[A, 257]]}, "merge 0 names id 257, expected 1 to 256"),
        ({"merges": [[A, B], [A, B]]}, "merge 1 repeats merge 0"),
        # Doubles each time: 2, 4, …, 64, 128 bytes.
        ({"merges": [[A, A], *([i, i] for i in range(257, 300))]}, "merge 6 gives 128 bytes"),
    ],
)
def test_json_is_checked(data: object, message: str) -> None:
    if isinstance(data, dict):
        data = json.dumps({"format": "gooseguard-vocabulary", "version": 1, "merges": []} | data)
    with pytest.raises(ArtefactError, match=message):
        Tokenizer.from_json(data)


def test_two_merges_of_one_token() -> None:
    # 257 ab, 258 abc = ab+c, 259 bc; a+bc is abc again, whose id stays.
    tokenizer = Tokenizer([(A, B), (257, C), (B, C), (A, 259), (258, D)])
    assert tokenizer.vocab_size == 261
    assert tokenizer.encode("abcd") == [260]


def test_decode_refuses_unknown_ids(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode([0, 258, 0]) == b"abc"
    for number in (-1, tokenizer.vocab_size):
        with pytest.raises(DataError, match=f"token 1 has id {number}, expected 0 to 261"):
            tokenizer.decode([A, number])


def test_texts_in_a_batch(tokenizer: Tokenizer) -> None:
    encoded = tokenizer.encode_texts(["ABC", " \u3000", "", "\u200b", "e\u0301"])
    # U+3000 becomes a space.
    assert encoded.ids.tolist() == [258, SPACE, SPACE, 261]
    assert encoded.offsets.tolist() == [0, 1, 3, 3, 3, 4]
    assert encoded.is_visible.tolist() == [True, False, False, False, True]
    assert [column.dtype.name for column in encoded] == ["int32", "int64", "bool"]
    assert [len(column) for column in tokenizer.encode_texts([])] == [0, 1, 0]


def test_without_the_extension(large: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extension, "problem", lambda: "not built")
    python = Tokenizer(large.merges)
    assert isinstance(python.encoder, PythonEncoder)
    assert python.to_json() == large.to_json()
    assert python.encode("abcd é") == large.encode("abcd é")
    assert python.decode(python.encode("abcd é")) == "abcd é".encode()


TRICKY = st.text(
    st.sampled_from("aB \n.1é\u0301\u200b\u00ad\u0335ÅK\u1100\u1161\u11a8각ﬁｆ🦢🏳\ufe0f\u200d🇩🇪оO0а日本"),
    max_size=120,
)


@given(TRICKY, st.lists(st.integers(0, 120), max_size=6))
def test_a_stream_that_is_taken_up_again_gives_the_tokens_of_the_whole(text, cuts):
    tokenizer = Tokenizer([])
    stream, ids, begin = TextStream(tokenizer), [], 0
    for end in [*sorted(min(cut, len(text)) for cut in cuts), len(text)]:
        ids += stream.push(text[begin:end])
        stream, begin = TextStream.from_held(tokenizer, stream.held()), end
    assert ids + stream.finish() == tokenizer.encode(normalize(text).text)


def test_what_a_stream_holds_back_is_bounded():
    tokenizer = Tokenizer([])
    for endless in ("\u200b", "\u0301", "a", "\u0301\u200b", " ", "1"):
        stream = TextStream(tokenizer)
        stream.push("x")
        for _ in range(20):
            stream.push(endless * 1000)
        assert sum(map(len, stream.held())) <= 5000
        again = TextStream.from_held(tokenizer, stream.held())
        assert again.push(" y") + again.finish() == stream.push(" y") + stream.finish()
