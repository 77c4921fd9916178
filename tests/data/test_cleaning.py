"""Examples cleaned whole: order of steps, counts, what was dropped, and where spans went."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gooseguard.core.content import Content, Modality, Part
from gooseguard.core.example import Example
from gooseguard.core.scorer import Span
from gooseguard.data.cleaning import CleanConfig, clean, clean_text, move_spans
from gooseguard.data.cleaning_quality import QualityConfig

ENGLISH = "I have been reading this newspaper for years and never wrote a single comment before today."
GERMAN = (
    "Ich lese diese Zeitung seit vielen Jahren und habe bis heute noch keinen einzigen Kommentar geschrieben."
)


def example(text, language=None, context=()):
    content = Content((Part.from_text(text),), tuple(map(Part.from_text, context)), language)
    return Example("a/1", content, {"insult": 1.0}, ("women",), "a", "because")


def test_a_clean_example_is_given_back_as_it_is():
    given_example = example(ENGLISH, "en")
    assert clean(given_example).example is given_example


def test_cleans_text_and_context_and_keeps_all_else():
    cleaned = clean(example("<p>cafÃ© &amp; you moron, ask a@example.org</p>", "en", ["see @someone"]))
    assert cleaned.example.content.parts[0].text == "café & you moron, ask [email]"
    assert cleaned.example.content.context[0].text == "see @user"
    assert (cleaned.example.id, dict(cleaned.example.labels)) == ("a/1", {"insult": 1.0})
    assert (cleaned.example.subgroups, cleaned.example.rationale) == (("women",), "because")
    assert cleaned.counts == {
        "encoding_repaired": 1, "html_removed": 1, "entities_read": 1, "masked_email": 1, "masked_handle": 1,
    }  # fmt: skip


def test_says_why_an_example_is_dropped_and_what_was_done_before():
    cleaned = clean(example("[deleted]"))
    assert (cleaned.example, cleaned.reason, cleaned.counts) == (None, "empty", {"boilerplate_removed": 1})
    # Before any pattern runs.
    assert clean(example("<!--" * 50_000)).reason == "too_long"


def test_tells_the_language_where_none_is_named_and_doubts_a_wrong_one():
    told = clean(example(GERMAN))
    assert (told.example.content.language, told.counts) == ("de", {"language_told": 1})
    doubted = clean(example(GERMAN, "en"))
    assert (doubted.example.content.language, doubted.counts) == ("en", {"language_doubted": 1})
    assert clean(example("moron")).example.content.language is None


def test_keeps_chosen_languages_and_those_nobody_can_tell():
    config = CleanConfig(languages=("en",))
    assert clean(example(GERMAN), config).reason == "language"
    assert clean(example("ok"), config).reason == ""
    assert clean(example(ENGLISH, "en-GB"), config).reason == ""


def test_steps_can_be_left_out():
    config = CleanConfig(encoding=False, html=False, boilerplate=False, personal_data=False, language=False)
    text = "<b>cafÃ©</b> a@example.org\nSent from my iPhone"
    assert clean(example(text), config).example.content.parts[0].text == text


def test_media_pass_untouched_and_an_empty_text_beside_them_goes():
    image = Part(Modality.IMAGE, b"\x89PNG", "image/png", "a.png")
    both = Example("a/1", Content((image, Part.from_text("[deleted]"))), {})
    assert clean(both).example.content.parts == (image,)
    alone = Example("a/2", Content((image,)), {})
    assert clean(alone).example is alone
    assert clean(Example("a/3", Content(()), {})).reason == "empty"


def test_spans_move_with_their_words():
    before = Content.from_text("<b>moron</b>, you are a moron, @someone")
    after = clean(Example("a/1", before, {})).example.content
    assert after.parts[0].text == "moron, you are a moron, @user"
    second = before.parts[0].text.rindex("moron")
    spans = [Span(0, second, second + 5, "insult", 1.0), Span(0, 3, 8, "insult", 1.0)]
    assert [(span.begin, span.end) for span in move_spans(spans, before, after)] == [(17, 22), (0, 5)]
    # The tag itself is gone.
    assert move_spans([Span(0, 0, 3, "insult", 1.0)], before, after) == ()
    assert move_spans(spans, before, before) == tuple(spans)


@pytest.mark.parametrize("longest", [50, 20_000])
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_any_text_is_cleaned_or_dropped_and_cleaning_again_is_stable_in_kind(longest, text):
    config = CleanConfig(language=False, quality=QualityConfig(longest=longest))
    cleaned = clean(example(text), config)
    assert (cleaned.example is None) == bool(cleaned.reason)
    if cleaned.example is not None:
        assert len(cleaned.example.content.parts[0].text) <= longest
        assert clean_text(text, config, Counter()) == cleaned.example.content.parts[0].text
