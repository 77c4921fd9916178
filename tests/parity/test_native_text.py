"""The native normaliser and tokenizer give what the Python ones give, which define them."""

import importlib.util
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.codec import extension
from gooseguard.codec.byte_pairs import PythonEncoder
from gooseguard.codec.normalize import PythonStream
from gooseguard.core.errors import ArtefactError

if extension.problem():
    pytest.skip(f"native extension {extension.problem()}", allow_module_level=True)

from gooseguard import _native

_spec = importlib.util.spec_from_file_location("scripts", Path(__file__).parents[1] / "codec" / "scripts.py")
scripts = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(scripts)

ALPHABET = "".join(scripts.SCRIPTS.values()) + scripts.SIGNS + scripts.ODD
texts = st.one_of(st.text(ALPHABET, max_size=60), st.text(st.characters(), max_size=30))


def assert_same(text):
    """Whole and in pieces: text, begins, ends."""
    expected = PythonStream().normalize(text)
    assert _native.normalize(text) == expected, ascii(text)
    random = Random(len(text))
    cuts = sorted(random.randrange(len(text) + 1) for _ in range(3))
    native, python = _native.Normalizer(), PythonStream()
    for begin, end in pairwise([0, *cuts, len(text)]):
        assert native.push(text[begin:end]) == python.push(text[begin:end]), ascii(text)
    assert native.finish() == python.finish(), ascii(text)


def test_the_tables_are_those_of_this_python():
    assert unicodedata.unidata_version == _native.UNICODE_VERSION


@given(texts)
@settings(max_examples=500, deadline=None)
def test_normalize(text):
    assert_same(text)


@pytest.mark.parametrize("count", [3_000, pytest.param(200_000, marks=pytest.mark.slow)], ids=["few", "many"])
def test_normalize_twenty_scripts(count):
    random = Random(3)
    for _ in range(count):
        assert_same(scripts.make_text(random))


def code_points(step):
    """Give every code point, or one in `step` of those that are their own normal form and no marks."""
    for code in range(0x110000):
        character = chr(code)
        if (
            code % step == 0
            or unicodedata.category(character)[0] == "M"
            or (unicodedata.normalize("NFKD", character) != character and not 0xAC00 <= code <= 0xD7A3)
        ):
            yield character


@pytest.mark.parametrize("step", [97, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "all"])
def test_normalize_every_code_point(step):
    """Alone, after a letter, before a mark, in a word of another alphabet, after Hangul."""
    block = []
    for character in code_points(step):
        block.append(f"{character} e{character}\u0301\u0323 \u0430x{character} \uac00{character}")
        if len(block) == 64:
            text = "\n".join(block)
            assert _native.normalize(text) == PythonStream().normalize(text), ascii(text)
            block.clear()
    text = "\n".join(block)
    assert _native.normalize(text) == PythonStream().normalize(text)


@pytest.mark.parametrize(
    "unit", ["\u0301", "\u064b", "\u0e33", "\u1161", "\U0001f1e6", "a\u0430", "\u0344", "\u200b"]
)
def test_normalize_runs_at_the_limits(unit):
    for count in (28, 29, 30, 31, 32, 62, 63, 64, 65, 66, 128, 1000):
        for before in ("", "a", "\u0430", "\u1100"):
            assert_same(before + unit * count + "b")


def random_merges(random, count):
    """Give merges with ties and duplicates among the bytes of several scripts."""
    pool = [1 + byte for byte in " abcdeéя語한ก".encode()]
    tokens = {number: bytes([number - 1]) for number in pool}
    ids = {token: number for number, token in tokens.items()}
    merges = []
    while len(merges) < count:
        pair = random.choice(pool), random.choice(pool)
        token = tokens[pair[0]] + tokens[pair[1]]
        if len(token) <= 12 and pair not in merges:
            merges.append(pair)
            if token not in ids:
                ids[token] = 257 + len(tokens) - len(set(" abcdeéя語한ก".encode()))
                tokens[ids[token]] = token
                pool.append(ids[token])
    return merges


@pytest.fixture(scope="module")
def starter():
    """The merges of the packaged vocabulary."""
    from gooseguard.backends import load

    return load(threads=1)._tokenizer.merges


@pytest.fixture(scope="module")
def vocabularies(starter):
    return [starter, *(random_merges(Random(seed), 250) for seed in range(4)), []]


def assert_same_ids(native, python, batch):
    for text in batch:
        assert native.encode(text) == python.encode(text), ascii(text)
    for one, other in zip(native.encode_texts(batch), python.encode_texts(batch), strict=True):
        assert one.dtype == other.dtype
        assert one.tolist() == other.tolist()


@given(st.lists(texts, max_size=4))
@settings(max_examples=200, deadline=None)
def test_encode(twins, batch):
    for native, python in twins:
        assert_same_ids(native, python, batch)


@pytest.fixture(scope="module")
def twins(vocabularies):
    pairs = [(_native.Tokenizer(merges), PythonEncoder(merges)) for merges in vocabularies]
    for (native, python), merges in zip(pairs, vocabularies, strict=True):
        assert native.vocab_size == python.vocab_size
        assert native.tokens() == python.tokens(), len(merges)
    return pairs


@pytest.mark.parametrize("count", [2_000, pytest.param(150_000, marks=pytest.mark.slow)], ids=["few", "many"])
def test_encode_twenty_scripts(twins, count):
    random = Random(4)
    batch = [scripts.make_text(random) for _ in range(count)]
    for native, python in twins if count < 10_000 else twins[:1]:
        assert_same_ids(native, python, batch)


def test_encode_every_code_point(twins):
    native, python = twins[0]
    everything = "".join(map(chr, range(0x110000)))
    for size in (1, 3):
        text = "".join(f"{character * size} '" for character in everything[:: 7 * size])
        assert native.encode(text) == python.encode(text)


def test_threads_share_a_vocabulary(starter):
    random = Random(5)
    batch = [scripts.make_text(random) for _ in range(300)]
    expected = [PythonEncoder(starter).encode_texts(batch)[0].tolist()] * 8
    native = _native.Tokenizer(starter)
    with ThreadPoolExecutor(4) as pool:
        assert [ids.tolist() for ids, *_ in pool.map(native.encode_texts, [batch] * 8)] == expected


@pytest.mark.parametrize(
    "merges",
    [
        [[1, 257]],
        [[0, 1]],
        [[-1, 1]],
        [[1, 2**70]],
        [[1]],
        [[1, 2, 3]],
        [[1, True]],
        [[1, "2"]],
        [5],
        [None],
        ["ab"],
        [[1, 2], [1, 2]],
        [[1, 1], *([i, i] for i in range(257, 300))],
    ],
)
def test_merges_that_are_none(merges):
    """Both refuse, and say the same."""
    with pytest.raises(ArtefactError) as native:
        _native.Tokenizer(merges)
    with pytest.raises(ArtefactError) as python:
        PythonEncoder(merges)
    if merges != [[1, 2**70]]:
        assert str(native.value) == str(python.value)


def test_what_is_no_text():
    for call in (_native.normalize, _native.Normalizer().push, _native.Tokenizer([]).encode):
        with pytest.raises(TypeError):
            call(b"bytes")
    with pytest.raises(TypeError, match="item 1 is bytes, expected str"):
        _native.Tokenizer([]).encode_texts(["a", b"a"])
    with pytest.raises(TypeError):
        _native.Tokenizer([]).encode_texts(5)
