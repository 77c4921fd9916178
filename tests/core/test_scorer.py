"""Scores: what a score may be; and what fulfils the Scorer protocol."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.core.content import Content, Modality
from gooseguard.core.errors import ContentError
from gooseguard.core.scorer import ScoreError, Scorer, Scores, is_probability


@pytest.mark.parametrize("value", [0, 1, 0.0, 1.0, 0.5, 5e-324, None])
def test_accepts_scores_within_0_to_1_and_none(value):
    assert Scores({"hate": value}, "m@0").values["hate"] == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -5e-324, 1.0000000000000002, 2])
def test_refuses_any_other_number_and_names_the_category(value):
    with pytest.raises(ContentError, match=r"score of 'hate' is .*, expected 0\.\.1 or None"):
        Scores({"insult": 0.5, "hate": value}, "m@0")


def test_none_is_kept_apart_from_0():
    scores = Scores({"hate": None, "insult": 0.0}, "m@0")
    assert scores.values["hate"] is None
    assert scores.values["insult"] == 0.0
    assert scores.values["insult"] is not None


def test_defaults_are_empty_and_not_shared():
    one, other = Scores({}, "m@0"), Scores({}, "m@0")
    assert (one.spans, dict(one.applied), one.rationale) == ((), {}, None)
    assert one.applied is not other.applied


def test_cannot_be_changed():
    with pytest.raises(AttributeError):
        Scores({}, "m@0").model = "other"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, True), (1, True), (0.0, True), (1.0, True), (-0.0, True), (0.3, True),
        (-1e-300, False), (1.0000001, False), (2, False), (float("nan"), False), (float("inf"), False),
        (True, False), (False, False), ("0.5", False), (None, False), ([0.5], False), (Fraction(1, 2), False),
    ],
)  # fmt: skip
def test_is_probability(value, expected):
    assert is_probability(value) is expected


@given(st.floats())
@settings(deadline=None)
def test_is_probability_agrees_with_what_scores_accept(value):
    try:
        Scores({"hate": value}, "m@0")
    except ContentError:
        assert not is_probability(value)
    else:
        assert is_probability(value)


class Loud:
    """Scores a text by its share of capitals; refuses an empty one."""

    name = "loud@000000000000"
    categories = frozenset({"insult"})
    modalities = frozenset({Modality.TEXT})
    languages = frozenset({"en"})

    def score(self, contents):
        return [self._score(content.parts[0].text) for content in contents]

    def _score(self, text):
        if not text:
            return ScoreError("ContentError", "text is empty")
        return Scores({"insult": sum(map(str.isupper, text)) / len(text)}, self.name)


def test_a_small_class_fulfils_the_protocol():
    scorer = Loud()
    assert isinstance(scorer, Scorer)
    quiet, empty, loud = scorer.score(
        [Content.from_text("abcd"), Content.from_text(""), Content.from_text("ABcd")]
    )
    assert (quiet.values, loud.values) == ({"insult": 0.0}, {"insult": 0.5})
    assert empty == ScoreError("ContentError", "text is empty")


def test_a_class_that_lacks_a_part_of_the_protocol_does_not():
    class Half:
        name = "half@0"

        def score(self, contents):
            return []

    assert not isinstance(Half(), Scorer)
