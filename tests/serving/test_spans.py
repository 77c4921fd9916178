"""Sentences and offsets."""

import pytest

from gooseguard.core.content import Content, Part
from gooseguard.core.scorer import ScoreError, Scores
from gooseguard.serving.spans import Sentence, find_spans, sentences_of, utf16_offsets


def test_sentences_of_all_parts():
    content = Content((Part.from_text("One. Two!"), Part.from_text("🦢 three")))
    assert sentences_of(content) == [
        Sentence(0, 0, 4, "One."),
        Sentence(0, 5, 9, "Two!"),
        Sentence(1, 0, 7, "🦢 three"),
    ]


def test_spans_are_those_at_one_half_and_above():
    sentence = Sentence(1, 2, 9, "…")
    scores = Scores({"insult": 0.5, "hate": 0.49, "spam": None}, "m@1")
    assert list(find_spans([(sentence, scores), (sentence, ScoreError("ContentError", "…"))])) == [
        (1, 2, 9, "insult", 0.5)
    ]


@pytest.mark.parametrize("text", ["plain", "naïve", "a🦢b", "🦢🦢 日本語", "e\u0301 🏳️‍🌈!"])
def test_offsets_are_those_of_utf_16(text):
    places = list(range(len(text) + 1))
    # The definition: two bytes a code unit.
    assert utf16_offsets(text, places) == [len(text[:place].encode("utf-16-le")) // 2 for place in places]
