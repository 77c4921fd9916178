"""Sentences as spans: which to score, which to report, and their offsets in UTF-16 code units."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gooseguard.core.content import Modality
from gooseguard.core.scorer import ScoreError
from gooseguard.engine.scorer import SPAN_SCORE, split_sentences

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gooseguard.core.content import Content
    from gooseguard.core.scorer import Scores


class Sentence(NamedTuple):
    """One sentence of a content."""

    part: int
    """Number of the part."""
    begin: int
    """First code point."""
    end: int
    """One past the last code point."""
    text: str
    """The sentence."""


def sentences_of(content: Content) -> list[Sentence]:
    """Give the sentences of all text parts, in order."""
    return [
        Sentence(number, begin, end, part.text[begin:end])
        for number, part in enumerate(content.parts)
        if part.modality is Modality.TEXT
        for begin, end in split_sentences(part.text)
    ]


def find_spans(
    scored: Sequence[tuple[Sentence, Scores | ScoreError]],
) -> Iterator[tuple[int, int, int, str, float]]:
    """Give part, begin, end, category and score of the sentences that score at least `SPAN_SCORE`."""
    for sentence, scores in scored:
        if not isinstance(scores, ScoreError):
            for category, score in scores.values.items():
                if score is not None and score >= SPAN_SCORE:
                    yield sentence.part, sentence.begin, sentence.end, category, score


def utf16_offsets(text: str, places: Sequence[int]) -> list[int]:
    """Give ascending code point offsets as offsets in UTF-16 code units.

    >>> utf16_offsets("🦢 honks", [0, 1, 7])
    [0, 2, 8]
    """
    if text.isascii():
        return list(places)
    offsets, units, before = [], 0, 0
    for place in places:
        units += len(text[before:place].encode("utf-16-le")) // 2
        offsets.append(units)
        before = place
    return offsets
