"""Text to normalised text, with a map back to the original code points: undoes disguises, loses no place.

What it does, in this order:

1. Characters that show nothing (Default_Ignorable_Code_Point: zero-width, bidi controls, tags, fillers) are
   dropped.
2. The rest is cut into clusters, a base with the marks that follow it, and each cluster is put in lower
   case and NFKC. Marks beyond `MARK_LIMIT` in a cluster are dropped, and so are accents, strokes and
   enclosures that no letter composes with. Variants of Latin letters that NFKC does not know become the
   letter, the dotless i of Turkish among them.
3. In each word (letters and digits, at most `WORD_LIMIT` code points, the rest being the next word),
   letters of mixed alphabets are folded as `homoglyphs.fold_word` says. This changes no lengths.

Every step looks back and ahead a bounded number of normalised characters only, so that a stream that is cut
anywhere gives what one call gives, and normalised text normalises to itself.

The native extension does it where there is one, with equal results; `PythonStream` here is the definition.
Knows nothing of tokens. The tables are those of Python's `unicodedata`: a newer Python may know more letters.
Needs the standard library only: native/tables/generate.py asks it at build time.

Source: UAX #15 (NFKC, stream-safe limit of 30 marks), UAX #44 (Default_Ignorable_Code_Point).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from gooseguard.codec import extension
from gooseguard.codec.homoglyphs import CASED_CAPITALS, FOREIGN, LETTER_LIKE, fold_word

if TYPE_CHECKING:
    from collections.abc import Sequence

MARK_LIMIT = 30
"""Marks kept in one cluster, counted in NFKD. Source: UAX #15, section 13, Stream-Safe Text Format."""

WORD_LIMIT = 64
"""Longest word, in code points, that is judged as one for look-alike letters."""

IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Body of a character class.

Source: Unicode 14.0, DerivedCoreProperties.txt, Default_Ignorable_Code_Point.
"""

ACCENTS = (
    "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u2de0-\u2dff"
    "\ua66f-\ua672\ua674-\ua67d\ua69e\ua69f\ufe20-\ufe2f"
)
"""Body of a character class: marks of no alphabet in particular, dropped where nothing composes with them."""

# What a code point does at the end of a cluster.
IGNORE, START, MARK, ACCENT = range(4)

DROPPED = re.compile(f"[{IGNORABLE}{ACCENTS}]")
FOREIGN_CHARACTER = re.compile(f"[{FOREIGN}]")
# Letters, digits (what str.isalnum says) and regional indicators.
WORD_CHARACTER = re.compile("[^\\W_]|[\U0001f1e6-\U0001f1ff]")
_WORD = re.compile(f"(?:{WORD_CHARACTER.pattern}){{1,{WORD_LIMIT}}}")
_IGNORABLE = re.compile(f"[{IGNORABLE}]")
_ACCENT_ONLY = re.compile(f"[{ACCENTS}]")
_CLUSTER_CACHE = 16384


Pieces = tuple[str, list[int], list[int]]
"""The fields of a `Normalized`."""


@dataclass(frozen=True, slots=True, eq=False)
class Normalized:
    """Normalised text, and where each of its code points comes from."""

    text: str
    """The normalised text."""
    begins: Sequence[int]
    """For each code point of `text`, where its original begins, in code points; never falls."""
    ends: Sequence[int]
    """For each code point of `text`, where its original ends, in code points; never falls."""

    def origin(self, begin: int, end: int) -> tuple[int, int]:
        """Map the span `[begin, end)` of `text` to the smallest span of the original that covers it.

        An empty span maps to the empty span before the original of the code point that follows it, at the end
        of `text` to the one after the last.
        """
        if begin < end:
            return self.begins[begin], self.ends[end - 1]
        if begin < len(self.text):
            return self.begins[begin], self.begins[begin]
        last = self.ends[-1] if self.text else 0
        return last, last


class NormalizerStream:
    """Normalises a text that arrives in pieces; holds back what later pieces may change, which is bounded."""

    __slots__ = ("_twin",)

    def __init__(self) -> None:
        if extension.problem() is None:
            # Late, because it may not be there.
            from gooseguard import _native  # noqa: PLC0415

            self._twin: _native.Normalizer | PythonStream = _native.Normalizer()
        else:
            self._twin = PythonStream()

    def push(self, text: str) -> Normalized:
        """Take the next piece of the text; give what is now certain, with offsets into the whole text."""
        return Normalized(*self._twin.push(text))

    def finish(self) -> Normalized:
        """Give the rest. The stream then begins anew, at offset 0."""
        return Normalized(*self._twin.finish())


def normalize(text: str) -> Normalized:
    """Normalise a whole text."""
    if text.isascii():
        return Normalized(text.lower(), range(len(text)), range(1, len(text) + 1))
    if extension.problem() is not None:
        return Normalized(*PythonStream().normalize(text))
    # Late, because it may not be there.
    from gooseguard import _native  # noqa: PLC0415

    return Normalized(*_native.normalize(text))


class PythonStream:
    """The definition: text, begins and ends of `Normalized` by way of `re` and `unicodedata`."""

    __slots__ = ("_begin", "_begins", "_cluster", "_end", "_ends", "_last", "_marks", "_offset", "_out")

    def __init__(self) -> None:
        self._offset = 0
        # The cluster that may still grow: its text, its span, how many marks it has, and the last code
        # point of its NFKD that is no accent.
        self._cluster = ""
        self._begin = 0
        self._end = 0
        self._marks = 0
        self._last = ""
        # Clusters that are finished, but whose word may not be.
        self._out: list[str] = []
        self._begins: list[int] = []
        self._ends: list[int] = []

    def push(self, text: str) -> Pieces:
        """Take the next piece of the text; give what is now certain."""
        self._scan(text)
        return self._release(is_last=False)

    def finish(self) -> Pieces:
        """Give the rest."""
        self._close()
        self._offset = 0
        return self._release(is_last=True)

    def normalize(self, text: str) -> Pieces:
        """Take a whole text and give all of it."""
        self._scan(text)
        return self.finish()

    def _scan(self, text: str) -> None:
        """Cut `text` into clusters."""
        position = 0
        for run in plain().finditer(text):
            if position < run.start():
                self._scan_slowly(text, position, run.start())
            begin, position = run.span()
            self._close()
            # What follows may compose with the last one.
            last = position - 1
            self._out.append(text[begin:last].lower())
            self._begins.extend(range(self._offset + begin, self._offset + last))
            self._ends.extend(range(self._offset + begin + 1, self._offset + last + 1))
            # A plain Hangul syllable may end in a vowel, which a trailing consonant composes with.
            self._open(text[last], self._offset + last, 0, describe(text[last])[2])
        self._scan_slowly(text, position, len(text))
        self._offset += len(text)

    def _scan_slowly(self, text: str, begin: int, end: int) -> None:
        for i in range(begin, end):
            character = text[i]
            kind, first, last, marks = describe(character)
            if kind == IGNORE:
                continue
            offset = self._offset + i
            if kind == START and not composes(self._last, first):
                self._close()
                self._open(character, offset, marks, last)
            elif not self._cluster:
                self._open(character, offset, marks, "" if kind == ACCENT else last)
            else:
                self._end = offset + 1
                if self._marks + marks <= MARK_LIMIT:
                    self._marks += marks
                    self._cluster += character
                    if kind != ACCENT:
                        self._last = last

    def _open(self, character: str, offset: int, marks: int, last: str) -> None:
        self._cluster = character
        self._begin = offset
        self._end = offset + 1
        self._marks = marks
        self._last = last

    def _close(self) -> None:
        """End the cluster."""
        if self._cluster:
            normalised = normalize_cluster(self._cluster)
            self._out.append(normalised)
            self._begins.extend([self._begin] * len(normalised))
            self._ends.extend([self._end] * len(normalised))
        self._cluster = self._last = ""
        self._marks = 0

    def _release(self, *, is_last: bool) -> Pieces:
        """Give all finished words."""
        text, begins, ends = "".join(self._out), self._begins, self._ends
        held = 0 if is_last else _unfinished(text)
        size = len(text) - held
        self._out = [text[size:]]
        self._begins, self._ends = begins[size:], ends[size:]
        del begins[size:], ends[size:]
        text = text[:size]
        if FOREIGN_CHARACTER.search(text):
            text = _WORD.sub(_fold_match, text)
        return text, begins, ends


def _fold_match(word: re.Match[str]) -> str:
    return fold_word(word[0]) if FOREIGN_CHARACTER.search(word[0]) else word[0]


def _unfinished(text: str) -> int:
    """Give how many code points at the end of `text` belong to a word that may go on."""
    begin = len(text)
    while begin and (text[begin - 1].isalnum() or "\U0001f1e6" <= text[begin - 1] <= "\U0001f1ff"):
        begin -= 1
    return (len(text) - begin) % WORD_LIMIT


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"


@lru_cache(maxsize=_CLUSTER_CACHE)
def describe(character: str) -> tuple[int, str, str, int]:
    """Give the kind of a code point, the ends of its NFKD, and how many marks it adds to a cluster."""
    if _IGNORABLE.match(character):
        return IGNORE, "", "", 0
    parts = unicodedata.normalize("NFKD", character)
    if _is_mark(parts[0]):
        # All of it counts: two vowels of Thai and Lao end in a letter, and runs of them must end too.
        kind = ACCENT if _ACCENT_ONLY.match(parts[-1]) else MARK
        return kind, parts[0], parts[-1], len(parts)
    marks = 0
    while _is_mark(parts[-1 - marks]):
        marks += 1
    return START, parts[0], parts[-1], marks


def composes(last: str, first: str) -> bool:
    """Whether `first`, which is no mark, may compose with `last` before it.

    These are Hangul vowels after a leading consonant, Hangul trailing consonants after a vowel, and the vowel
    signs of Kirat Rai, which are letters. A test compares with all of `unicodedata`.
    """
    if "\u1161" <= first <= "\u1175":
        return "\u1100" <= last <= "\u1112"
    if "\u11a8" <= first <= "\u11c2":
        return "\u1161" <= last <= "\u1175"
    return first in "\U00016d63\U00016d67" and last in "\U00016d63\U00016d67\U00016d69" and bool(last)


@lru_cache(maxsize=_CLUSTER_CACHE)
def normalize_cluster(cluster: str) -> str:
    """Put a cluster into its final form, words aside."""
    while True:
        parts = unicodedata.normalize("NFKD", cluster)
        if parts in CASED_CAPITALS:
            return parts
        # Letter by letter: the lower case of a sigma must not depend on what surrounds it.
        lower = "".join([LETTER_LIKE.get(part, part) for letter in parts for part in letter.lower()])
        composed = DROPPED.sub("", unicodedata.normalize("NFKC", lower))
        if composed == cluster:
            return composed
        cluster = composed


@cache
def plain() -> re.Pattern[str]:
    """Give a pattern for runs of common letters and signs that only need lower case; no marks."""
    alphabets = [(0x0000, 0x024F), (0x0400, 0x052F), (0x05D0, 0x05EA), (0x0621, 0x064A), (0x2010, 0x205E)]
    letters = [
        chr(code)
        for begin, end in alphabets
        for code in range(begin, end + 1)
        if describe(chr(code))[0] == START and normalize_cluster(chr(code)) == chr(code).lower()
    ]
    # Kana, Han and Hangul syllables, which have neither case nor compatibility forms.
    others = "\u3041-\u3096\u30a1-\u30fa\u30fc\u4e00-\u9fff\uac00-\ud7a3"
    return re.compile(f"[{re.escape(''.join(letters))}{others}]+")
