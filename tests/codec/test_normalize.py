"""Normalisation: what it gives, where that comes from, and that cuts and repetition change nothing."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from gooseguard.codec import extension
from gooseguard.codec.homoglyphs import LETTER_LIKE, LOOK_ALIKES
from gooseguard.codec.normalize import (
    ACCENTS,
    FOREIGN,
    IGNORABLE,
    MARK_LIMIT,
    WORD_LIMIT,
    NormalizerStream,
    PythonStream,
    composes,
    normalize,
)

# Letters, marks of several classes, jamo, fillers, spaces, ligatures, emoji: what hides, joins or expands.
HOSTILE = (
    "abXYZ .\n1_"
    "\u00ad\u034f\u115f\u1160\u200b\u200d\u2060\ufe0f\ufeff\U000e0041"
    "\u0300\u0301\u0307\u0327\u0336\u0338\u0344\u0345\u20dd\u0483"
    "\u0653\u064b\u05b0\u093c\u0f71\u0f72\u0f73\u0f81\u3099\u09be\u09c7\u0dcf\u0dd9"
    "\u1100\u1102\u1161\u1175\u11a8\u11c2\uac00\uac01\u314b\u3160\uffa1\uffc2"
    "\u0e01\u0e33\u0eb3\u304b\uff76\uff9e"
    "\u00e9\u1e96\u0130\u0131\u03a3\u03c2\u1f88\u212b\u212a\ufb01\ufdfa\u00bd\u00a8\u3000\u2460\uff21"
    "\U0001d400\u0430\u0439\u0451\u043e\u0445\u0448\u041d\u039d\u0397\u03bd\u03b1\u13a0\uab70\U0001f1e6\U0001f1fa"
    "\U0001f170"
    "\u8a9e\U0001f600\ud800"
)
hostile = st.text(HOSTILE, max_size=40)
anything = st.text(st.characters(), max_size=30)
# Runs that pass the limits, and what may sit at their seams.
long_runs = st.lists(
    st.tuples(st.sampled_from(HOSTILE), st.sampled_from([1, 1, 2, 29, 30, 31, 62, 63, 64, 65])), max_size=8
).map(lambda runs: "".join(character * count for character, count in runs))
texts = st.one_of(hostile, anything, long_runs)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", "hello, world!"),
        ("", ""),
        # Zero-width space, soft hyphen, word joiner, right-to-left override, tag letter, variation selector.
        ("mo\u200br\u00ado\u2060n\u202e\U000e0061\ufe0f", "moron"),
        # Hidden between a letter and its accent, they do not hide the accent.
        ("e\u200b\u0301", "\u00e9"),
        # Full width, bold mathematical, circled, superscript, ligature.
        ("\uff2d\uff4f\uff52\uff4f\uff4e", "moron"),
        ("\U0001d40c\U0001d428\U0001d42b\U0001d428\U0001d427", "moron"),
        ("\u24dc\u24de\u24e1\u24de\u24dd", "moron"),
        ("x\u00b2 \ufb01sh", "x2 fish"),
        # Small capitals, negative squared letters, dotless i, script g.
        ("\u1d0d\u1d0f\u0280\u1d0f\u0274", "moron"),
        ("\U0001f17c\U0001f17e\U0001f181\U0001f17e\U0001f17d", "moron"),
        ("\u0131diot du\u0261", "idiot dug"),
        # Struck through, enclosed (which keeps the accents after it from composing), piled up; an accent that
        # composes stays.
        ("m\u0336o\u0336r\u0336o\u0336n\u0336", "moron"),
        ("m\u20dd\u0301\u0302\u0303\u0304 caf\u00e9 cafe\u0301", "m caf\u00e9 caf\u00e9"),
        # Upper case composes as lower case does: H has no precomposed form with the line below, h has.
        ("H\u0331", "\u1e96"),
        ("\u0130", "i"),
        # No final sigma by context.
        ("\u03a3\u0391\u03a3", "\u03c3\u03b1\u03c3"),
        # Jamo compose, compatibility jamo too, also across an accent that is dropped.
        ("\u1112\u1161\u11ab", "\ud55c"),
        ("\u314e\u314f", "\ud558"),
        # NFKC takes a lone consonant for a leading one.
        ("\u314e\u314f\u3134", "\ud558\u1102"),
        ("\u1100\u0301\u1161", "\uac00"),
        # A ligature of several words.
        (
            "\ufdfa",
            "\u0635\u0644\u0649 \u0627\u0644\u0644\u0647 \u0639\u0644\u064a\u0647 \u0648\u0633\u0644\u0645",
        ),
        # Look-alikes: Cyrillic o in a Latin word; a Cyrillic word stays.
        ("M\u043er\u043en \u043e\u043d", "moron \u043e\u043d"),
        ("\u039dOOB", "noob"),
        # Persian loses its non-joiner, Hindi keeps its signs.
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u062e\u0648\u0627\u0647\u0645"),
        ("\u0939\u093f\u0928\u094d\u0926\u0940", "\u0939\u093f\u0928\u094d\u0926\u0940"),
    ],
)
def test_known(text: str, expected: str) -> None:
    assert normalize(text).text == expected


def test_origin() -> None:
    # Code points:   0 1 (zero width) 2 3 (accent) 4 5 (fi) 6
    normalized = normalize("A\u200be\u0301 \ufb01!")
    assert normalized.text == "a\u00e9 fi!"
    assert list(normalized.begins) == [0, 2, 4, 5, 5, 6]
    assert list(normalized.ends) == [1, 4, 5, 6, 6, 7]
    # The hidden character belongs to a span that goes across it, and to no other.
    assert normalized.origin(0, 1) == (0, 1)
    assert normalized.origin(1, 2) == (2, 4)
    assert normalized.origin(0, 2) == (0, 4)
    # Half of the ligature is all of it.
    assert normalized.origin(3, 4) == normalized.origin(4, 5) == (5, 6)
    assert normalized.origin(1, 1) == (2, 2)
    assert normalized.origin(6, 6) == (7, 7)
    assert normalize("").origin(0, 0) == (0, 0)
    assert normalize("\u200b").origin(0, 0) == (0, 0)
    assert normalize("Abc").origin(1, 3) == (1, 3)


@given(texts, st.randoms(use_true_random=False))
@settings(max_examples=400, deadline=None)
@example("e" + "\u0301" * 70 + "\u0430", None)
@example("a" * 63 + "\u0430" + "b", None)
@example("\U0001f1e6" * 65, None)
def test_stream_is_the_whole(text: str, random: object) -> None:
    whole = normalize(text)
    cuts = {random.randrange(len(text) + 1) for _ in range(5)} if random else set(range(len(text)))
    for at in (cuts, set(range(len(text)))):
        edges = [0, *sorted(at), len(text)]
        stream = NormalizerStream()
        pieces = [stream.push(text[begin:end]) for begin, end in pairwise(edges)]
        pieces.append(stream.finish())
        assert "".join(piece.text for piece in pieces) == whole.text
        assert [begin for piece in pieces for begin in piece.begins] == list(whole.begins)
        assert [end for piece in pieces for end in piece.ends] == list(whole.ends)
        # Finished, it takes another text.
        again = stream.push("B")
        assert (again.text + stream.finish().text, list(again.begins)) in [("b", []), ("b", [0])]


@given(texts)
@settings(max_examples=600, deadline=None)
def test_idempotent(text: str) -> None:
    once = normalize(text).text
    assert normalize(once).text == once


def test_idempotent_for_every_code_point() -> None:
    # Han and Hangul aside, which are plain, and the historic scripts, which are like the others.
    areas = [(0x0000, 0x3400), (0xA000, 0xAC00), (0xF900, 0x12000), (0x1D100, 0x1D200), (0x1D400, 0x20000)]
    for block in [block for begin, end in areas for block in range(begin, end, 256)]:
        # Alone, and between letters.
        text = " ".join(f"{chr(code)} k{chr(code)}\u0430\u0301" for code in range(block, block + 256))
        once = normalize(text).text
        assert normalize(once).text == once, hex(block)


@given(texts)
@settings(max_examples=300, deadline=None)
def test_offsets_are_spans_in_order(text: str) -> None:
    normalized = normalize(text)
    begins, ends = list(normalized.begins), list(normalized.ends)
    assert len(begins) == len(ends) == len(normalized.text)
    assert begins == sorted(begins)
    assert ends == sorted(ends)
    assert all(0 <= begin < end <= len(text) for begin, end in zip(begins, ends, strict=True))


def define(text: str) -> str:
    """The definition for a text as a whole, without clusters, limits and look-alikes."""
    while True:
        text = re.sub(f"[{IGNORABLE}]", "", text)
        lower = "".join(
            LETTER_LIKE.get(small, small)
            for letter in unicodedata.normalize("NFKD", text)
            for small in letter.lower()
        )
        composed = re.sub(f"[{ACCENTS}]", "", unicodedata.normalize("NFKC", lower))
        if composed == text:
            return text
        text = composed


@given(st.one_of(hostile, anything))
@settings(max_examples=600, deadline=None)
def test_clusters_change_nothing(text: str) -> None:
    text = re.sub(f"[{FOREIGN}]", "", text)[:MARK_LIMIT]
    normalized = normalize(text)
    # Compatibility forms may hold foreign letters yet, as the micro sign does.
    assume(not re.search(f"[{FOREIGN}]", define(text)))
    assert normalized.text == define(text)
    # And each cluster is the normal form of the span that it says it comes from.
    spans = sorted(set(zip(normalized.begins, normalized.ends, strict=True)))
    for begin, end in spans:
        chunk = [
            character
            for character, where in zip(normalized.text, normalized.begins, strict=True)
            if where == begin
        ]
        assert "".join(chunk) == define(text[begin:end])


def test_what_composes() -> None:
    """Every canonical composition of `unicodedata` is within a cluster."""
    pairs = 0
    for code in range(0x110000):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            first, second = (chr(int(part, 16)) for part in parts)
            if unicodedata.normalize("NFC", first + second) == chr(code):
                pairs += 1
                assert unicodedata.category(second)[0] == "M" or composes(first, second)
    # Unicode 14: 941 primary composites; later versions have more.
    assert pairs >= 941
    for first, second in [("\u1100", "\u1161"), ("\u1112", "\u1175"), ("\u1161", "\u11a8")]:
        assert composes(first, second)
    for first, second in [("\u1161", "\u1161"), ("\u1100", "\u11a8"), ("", "\u1161"), ("a", "b"), ("", "")]:
        assert not composes(first, second)


def test_ignorable_is_complete() -> None:
    found = re.findall(f"[{IGNORABLE}]", "".join(map(chr, range(0x110000))))
    # Source: DerivedCoreProperties.txt 14.0, "Total code points" of Default_Ignorable_Code_Point.
    assert len(found) == 4174
    # Format characters that are not in it draw something: Arabic number signs and the like, or join nothing.
    formats = {chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Cf"}
    shown = "\u0600\u06dd\u070f\u08e2\ufff9\U000110bd\U00013430"
    assert all(character in formats and character not in found for character in shown)
    accents = re.findall(f"[{ACCENTS}]", "".join(map(chr, range(0x110000))))
    assert {unicodedata.category(accent)[0] for accent in accents} <= {"M", "C"}


def test_marks_are_limited() -> None:
    # Marks of an alphabet of their own do not go away, so that their number must be bounded.
    assert normalize("\u0628" + "\u064b" * 100).text == "\u0628" + "\u064b" * MARK_LIMIT
    normalized = normalize("a" + "\u0301" * 1000 + "b")
    assert normalized.text == "\u00e1b"
    assert normalized.origin(0, 1) == (0, 1001)


@pytest.mark.parametrize(
    "unit", ["a", "\u0301", "\u064b", "\u0430", "\u0e33", "\u1161", "\U0001f1e6", "\u200b", "a\u0430"]
)
def test_stream_holds_little(unit: str) -> None:
    stream = NormalizerStream()
    released = 0
    for count in range(1, 1000):
        pushed = stream.push(unit)
        released += len(pushed.text)
        whole = len(normalize(unit * count).text) if count % 250 == 0 else released
        assert whole - released <= WORD_LIMIT + MARK_LIMIT


def test_long_hostile_texts_end() -> None:
    # Quadratic cost would take minutes.
    for unit in ("a\u0301\u0653", "\u0301", "\u0e33", "\u0430a", "\U0001f1e6", "\u1161\u0301", "\ufdfa"):
        text = unit * (30_000 // len(unit))
        assert len(normalize(text).begins) == len(normalize(text).text)


def test_lone_surrogates_pass() -> None:
    assert normalize("A\ud800\udc00B").text == "a\ud800\udc00b"


def test_look_alikes_survive_clusters() -> None:
    for letter in LOOK_ALIKES:
        assert normalize(letter).text == letter.lower()
        assert normalize(f"z{letter}").text == f"z{LOOK_ALIKES[letter]}"


def test_a_trailing_consonant_joins_a_whole_syllable() -> None:
    # U+AC00 is plain by itself; with U+11A8 after it NFKC gives U+AC01.
    assert normalize("\uac00\u11a8").text == "\uac01"
    assert normalize("a\uac00\u11a8\u11a8").text == "a\uac01\u11a8"


def test_without_the_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "A\u200be\u0301 \ufb01! m\u043er\u043en"
    expected = normalize(text)
    monkeypatch.setattr(extension, "problem", lambda: "not built")
    stream = NormalizerStream()
    assert isinstance(stream._twin, PythonStream)
    pieces = [stream.push(text[:5]), stream.push(text[5:]), stream.finish()]
    for made in ([normalize(text)], pieces):
        assert "".join(piece.text for piece in made) == expected.text == "a\u00e9 fi! moron"
        assert [begin for piece in made for begin in piece.begins] == list(expected.begins)
        assert [end for piece in made for end in piece.ends] == list(expected.ends)
