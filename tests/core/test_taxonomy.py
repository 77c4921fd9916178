"""The packaged taxonomy: complete, in order, usable by a person; and the nearest known word."""

import pytest

from gooseguard.core.content import Modality
from gooseguard.core.taxonomy import load_taxonomy, nearest

# The list the project promised, in its order.
PROMISED = [
    "toxicity", "toxicity/severe", "insult", "profanity", "threat", "hate", "hate/threatening", "harassment",
    "harassment/threatening", "sexual", "sexual/minors", "self-harm", "self-harm/intent",
    "self-harm/instructions", "violence", "violence/graphic", "illicit", "illicit/violent", "spam",
]  # fmt: skip


def test_holds_the_promised_categories_in_order():
    assert list(load_taxonomy()) == PROMISED


def test_holds_the_thirteen_names_of_the_openai_moderation_api():
    # Source: OpenAI API specification, `ModerationResponse.results[].categories`.
    assert set(load_taxonomy()) >= {
        "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent",
        "self-harm", "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence",
        "violence/graphic",
    }  # fmt: skip


@pytest.mark.parametrize("name", PROMISED)
def test_each_category_can_be_applied_by_a_person(name):
    category = load_taxonomy()[name]
    assert category.name == name
    for text in (category.definition, category.includes, category.excludes):
        assert text.strip() == text
        assert text[0].isupper()
        assert text.endswith(".")
    # A sentence, not a word and not a page.
    assert 10 <= len(category.definition.split()) <= 40
    assert category.modalities <= {str(modality) for modality in Modality}
    # Whatever is found in words is found in text and in speech.
    assert {"text", "audio", "video"} <= category.modalities


def test_no_two_categories_share_a_definition():
    definitions = [category.definition for category in load_taxonomy().values()]
    assert len(set(definitions)) == len(definitions)


def test_a_narrower_category_has_its_broader_one_and_no_more_modalities():
    taxonomy = load_taxonomy()
    for name, category in taxonomy.items():
        broader = taxonomy[name.partition("/")[0]]
        assert category.modalities <= broader.modalities


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("hate/threating", PROMISED, "; did you mean 'hate/threatening'?"),
        ("selfharm", PROMISED, "; did you mean 'self-harm'?"),
        ("zzz", PROMISED, ""),
        ("", PROMISED, ""),
        ("hate", [], ""),
    ],
)
def test_nearest(word, known, expected):
    assert nearest(word, known) == expected
