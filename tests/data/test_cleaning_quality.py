"""Why texts are dropped, and that short and ugly ones are not."""

import pytest

from gooseguard.data.cleaning_quality import REASONS, QualityConfig, find_fault

KEPT = ["moron", "f u", "no", "!?!? 😡", "死ね", "kys", "ha " * 29, "a" * 99, "see https://example.org/a ok"]
DROPPED = {
    "empty": " \n",
    "too_long": "ab " * 7000,
    "no_letters": "...!!!",
    "link_only": "https://example.org/a www.example.org",
    "repetition": "spam " * 40,
    "not_text": "QUJD" * 80,
}


@pytest.mark.parametrize("text", KEPT)
def test_keeps(text):
    assert find_fault(text, QualityConfig()) == ""


@pytest.mark.parametrize("reason", DROPPED)
def test_drops_and_says_why(reason):
    assert find_fault(DROPPED[reason], QualityConfig()) == reason
    assert reason in REASONS


def test_settings_are_obeyed():
    assert find_fault("no", QualityConfig(shortest=3)) == "too_short"
    assert find_fault("a" * 500, QualityConfig()) == "repetition"
    assert find_fault("a b" * 99, QualityConfig(most_repeated=1.0)) == ""
    assert find_fault("...", QualityConfig(letters=False)) == ""
    assert find_fault("\ufffd" * 9 + " ab", QualityConfig()) == "not_text"


def test_beside_an_image_a_text_may_be_empty_or_a_link():
    assert find_fault("", QualityConfig(), has_media=True) == ""
    assert find_fault("", QualityConfig(), has_media=True, was_empty=True) == ""
    assert find_fault("https://example.org", QualityConfig(), has_media=True) == ""
    assert find_fault("x" * 20_001, QualityConfig(), has_media=True) == "too_long"
