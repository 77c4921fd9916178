"""The World tokenizer: known ids, those of the published one, round trips, streams, files that are none."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.codec import extension, world
from gooseguard.codec.world import N_TOKENS, WorldTokenizer, _Matcher, parse_vocabulary
from gooseguard.core.errors import ArtefactError, ConfigError, DataError

_spec = importlib.util.spec_from_file_location("scripts", Path(__file__).with_name("scripts.py"))
scripts = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(scripts)

BYTES = [b"", *(bytes([byte]) for byte in range(256))]
# 257 ab, 258 abcd, 259 cd, 260 "語" (three bytes).
SMALL = [*BYTES, b"ab", b"abcd", b"cd", "語".encode()]
A, B, C, D = (1 + byte for byte in b"abcd")


def with_matcher(tokens, matcher):
    tokenizer = WorldTokenizer(tokens)
    tokenizer._matcher = matcher(tokens)
    return tokenizer


@pytest.fixture(scope="module", params=["native", "python"])
def matcher(request):
    if request.param == "python":
        return _Matcher
    if extension.problem():
        pytest.skip(f"native extension {extension.problem()}")
    from gooseguard import _native

    return _native.WorldTokenizer


@pytest.fixture(scope="module")
def small(matcher):
    return with_matcher(SMALL, matcher)


@pytest.fixture(scope="module")
def published():
    return WorldTokenizer.from_package()


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", []),
        ("ab", [257]),
        # "abc" is no token: the longest is ab, then c.
        ("abc", [257, C]),
        ("abcdcd", [258, 259]),
        ("bcd", [B, 259]),
        ("語", [260]),
        (b"\x00\xff", [1, 256]),
        # Half a code point, a lone surrogate.
        ("語".encode()[:2], [1 + 0xE8, 1 + 0xAA]),
        ("\ud800", [1 + 0xED, 1 + 0xA0, 1 + 0x80]),
    ],
)
def test_known(small, text, ids):
    assert small.encode(text) == ids
    encoded = small.encode_batch([text, "ab", text])
    assert encoded.ids.dtype == np.int32
    assert encoded.ids.tolist() == [*ids, 257, *ids]
    assert encoded.offsets.tolist() == [0, len(ids), len(ids) + 1, 2 * len(ids) + 1]


def test_nothing_in_a_batch(small):
    encoded = small.encode_batch([])
    assert (encoded.ids.shape, encoded.offsets.tolist()) == ((0,), [0])


def test_the_ids_of_the_published_vocabulary(published):
    # Lines 34, 301, 33156 and 65529 of rwkv_vocab_v20230424.txt, and line 4419 of its two-byte tokens.
    assert published.encode("!") == [34]
    assert published.encode(" A") == [300]
    assert published.encode(" " * 128) == [65529]
    assert published.vocab_size == 65536
    assert published.decode([300, 0, 34]) == b" A!"


def test_decode_refuses_what_stands_for_nothing(published):
    for number in (-1, 65530, 65535, 65536):
        with pytest.raises(DataError, match=f"token 1 has id {number}, expected 0 to 65529"):
            published.decode([34, number])


@given(st.binary(max_size=80))
@settings(max_examples=300, deadline=None)
def test_every_byte_string_comes_back(published, data):
    assert published.decode(published.encode(data)) == data


pieces = st.lists(
    st.sampled_from([b"a", b"b", b"ab", b"abc", b"cd", "語".encode(), b"\xe8", b"\xff"]), max_size=25
)


@given(pieces)
@settings(max_examples=300, deadline=None)
def test_streams_are_the_whole(small, texts):
    for cut in (texts, [bytes([byte]) for byte in b"".join(texts)]):
        stream = small.open()
        ids = [number for text in cut for number in stream.push(text)]
        assert ids + stream.finish() == small.encode(b"".join(texts))
        assert stream.finish() == []


def test_streams_hold_back_no_more_than_a_token(published, matcher):
    tokenizer = with_matcher(published._tokens, matcher)
    stream = tokenizer.open()
    released = 0
    for count in range(1, 600):
        released += len(tokenizer.decode(stream.push(" ")))
        assert count - released <= 128
    assert released >= 599 - 128


PROGRAM = """
import gc, json, os, sys
gc.disable()
import rwkv
from rwkv.rwkv_tokenizer import TRIE_TOKENIZER
tokenizer = TRIE_TOKENIZER(os.path.join(list(rwkv.__path__)[0], "rwkv_vocab_v20230424.txt"))
for line in sys.stdin:
    print(json.dumps(tokenizer.encodeBytes(bytes.fromhex(line))))
"""


def make_corpus(tokens, count):
    """Give byte strings: texts of many scripts, tokens end to end and cut short, and noise."""
    random = Random(11)
    corpus = []
    for number in range(count):
        if number % 4 < 2:
            corpus.append(scripts.make_text(random).encode("utf-8", "surrogatepass"))
        elif number % 4 == 2:
            parts = random.choices(tokens, k=random.randrange(1, 8))
            corpus.append(b"".join(part[: random.randrange(1, len(part) + 1)] for part in parts if part))
        else:
            corpus.append(random.randbytes(random.randrange(1, 40)))
    return corpus


@pytest.mark.parametrize("count", [2_000, pytest.param(100_000, marks=pytest.mark.slow)], ids=["few", "many"])
def test_the_rwkv_package_gives_the_same_ids(published, count):
    """In a process of its own: its trie takes half a gigabyte."""
    corpus = [data for data in make_corpus(published._tokens, count) if data]
    lines = "".join(f"{data.hex()}\n" for data in corpus)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=lines, capture_output=True, text=True, check=True
    )
    expected = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(expected) == len(corpus) >= 0.9 * count
    encoded = published.encode_batch(corpus)
    python = _Matcher(published._tokens)
    for i, (data, ids) in enumerate(zip(corpus, expected, strict=True)):
        assert encoded.ids[encoded.offsets[i] : encoded.offsets[i + 1]].tolist() == ids, data.hex()
        assert python.encode(data, is_last=True) == (ids, len(data)), data.hex()


LINES = "1 'a' 1\n2 b'\\xff' 1\n3 '\\n\\'' 2\n4 \"'\" 1\n5 'é' 2\n"


def test_lines():
    assert parse_vocabulary(LINES) == [b"a", b"\xff", b"\n'", b"'", "é".encode()]
    assert parse_vocabulary(LINES.replace("\n", "\r\n")) == parse_vocabulary(LINES)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 'a' 1", "line 1 says id '2' and '1' bytes, expected id 1 and 1 bytes"),
        ("1 'a' 2", "line 1 says id '1' and '2' bytes, expected id 1 and 1 bytes"),
        ("1 'a'", "line 1 holds no text"),
        ("1 '' 0", "line 1 holds no text"),
        ("", "line 1 holds no text"),
        ("1 a 1", "line 1 holds no text"),
        ("1 5 1", "line 1 holds no text"),
        ("1 'a'.upper() 1", "line 1 holds no text"),
        ("1 __import__('os') 1", "line 1 holds no text"),
        ("1 'a' 'b' 2", "line 1 says id"),
        ("1 " + "(" * 5000 + " 1", "line 1 holds no text"),
        ("1 '\\x' 1", "line 1 holds no text"),
    ],
)
def test_lines_that_are_none(line, message):
    if line == "1 'a' 'b' 2":
        # Two literals are one, as Python reads them: their length is right.
        assert parse_vocabulary(line + "\n") == [b"ab"]
        return
    with pytest.raises(ArtefactError, match=message):
        parse_vocabulary(line + "\n")


def test_files_that_are_none(tmp_path):
    path = tmp_path / "vocabulary.txt"
    with pytest.raises(ArtefactError, match=r"cannot be read .*expected rwkv_vocab"):
        WorldTokenizer.from_file(path)
    path.write_bytes(b"1 '\xff' 1\n")
    with pytest.raises(ArtefactError, match="byte 3 is not UTF-8"):
        WorldTokenizer.from_file(path)
    path.write_text(LINES, "utf-8")
    with pytest.raises(ArtefactError, match=f"5 tokens, expected {N_TOKENS}; is the file cut short"):
        WorldTokenizer.from_file(path)
    path.write_text(LINES[:-3], "utf-8")
    with pytest.raises(ArtefactError, match="line 5 does not end; is the file cut short"):
        WorldTokenizer.from_file(path)


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(world.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="pip install rwkv, or give the path of rwkv_vocab"):
        WorldTokenizer.from_package()


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([], "id 0 has text"),
        ([b"a"], "id 0 has text"),
        ([b"", b"a"], "255 of the 256 single bytes are no token"),
        ([*SMALL, b"ab"], "id 261 repeats an earlier token"),
        ([*SMALL, b"x" * 65536], "id 261 has 65536 bytes, expected at most 65535"),
        ([*SMALL, *(b"%d." % i for i in range(65_300))], "65561 ids, expected at most 65536"),
    ],
)
def test_vocabularies_that_are_none(matcher, tokens, message):
    with pytest.raises(ArtefactError, match=message):
        WorldTokenizer(tokens)
    if tokens and not tokens[0]:
        with pytest.raises(ArtefactError, match=message):
            matcher(tokens)


def test_something_else_than_texts(small):
    with pytest.raises(TypeError):
        small.encode_batch([5])
    for other in (5, None, [5]):
        with pytest.raises(TypeError):
            small.encode(other)


def test_text_of_every_kind_and_length(small):
    # ASCII, one, two and four bytes a code point; longer than what is done without the interpreter's lock.
    for text in ("ab", "é\xff", "яб", "a\U0001f926", "\ud800", "ab" * 5000):
        data = text.encode("utf-8", "surrogatepass")
        kinds = (text, data, bytearray(data), memoryview(data))
        expected = small.encode_batch([text]).ids.tolist()
        assert [small.encode(kind) for kind in kinds] == [expected] * 4


def test_importing_and_reading_it_needs_no_torch():
    program = (
        "import sys; from gooseguard.codec.world import WorldTokenizer; WorldTokenizer.from_package(); "
        "assert not {'torch', 'rwkv'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
