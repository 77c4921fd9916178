import pytest
from hypothesis import given
from hypothesis import strategies as st

from gooseguard.codec.answer import parse_answer, write_answer
from gooseguard.core.taxonomy import load_taxonomy

NAMES = list(load_taxonomy())


def test_an_answer_names_categories_in_the_order_of_the_taxonomy():
    assert write_answer({"insult", "toxicity"}, "calls  the\nreader a moron") == (
        "Categories: toxicity, insult\nRationale: calls the reader a moron"
    )
    assert write_answer(()) == "Categories: none"


@given(st.sets(st.sampled_from(NAMES)), st.none() | st.just("because."))
def test_what_is_written_is_read(flagged, rationale):
    parsed = parse_answer(write_answer(flagged, rationale))
    assert set(parsed.flagged) == flagged
    assert list(parsed.flagged) == [name for name in NAMES if name in flagged]
    assert parsed.rationale == rationale
    assert parsed.problem is None


@pytest.mark.parametrize(
    ("text", "flagged", "rationale"),
    [
        ("  Categories: Insult ,  hate\n\nRationale: rude.\nVery. ", ("insult", "hate"), "rude. Very."),
        ("Categories: none.", None, None),
        ("Categories: NONE\nRationale:", (), None),
        ("Categories: self-harm/intent", ("self-harm/intent",), None),
    ],
)
def test_forms_that_are_read(text, flagged, rationale):
    parsed = parse_answer(text)
    assert (parsed.flagged, parsed.rationale) == (flagged, rationale)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ("This is an insult.", "does not begin with 'Categories:'"),
        ("The text is fine.\nCategories: none", "does not begin"),
        ("Categories:", "1 of 1 names"),
        ("Categories: insult, rudeness", "1 of 2 names are no category"),
        ("Categories: none, insult", "1 of 2 names"),
        ("Categories: insult, insult", "twice"),
        ("Categories: not insult", "1 of 1"),
        ("Categories: insult\nIt is rude.", "second line"),
    ],
)
def test_anything_else_is_unparsable_and_nothing_is_guessed(text, problem):
    parsed = parse_answer(text)
    assert parsed.flagged is None
    assert parsed.rationale is None
    assert problem in parsed.problem


def test_only_what_was_asked_for_may_be_named():
    assert parse_answer("Categories: insult", ["insult"]).flagged == ("insult",)
    assert parse_answer("Categories: hate", ["insult"]).flagged is None


def test_a_problem_never_repeats_the_answer():
    assert "<secret>" not in parse_answer("Categories: <secret>").problem
