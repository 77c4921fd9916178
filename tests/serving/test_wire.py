"""Rules from our categories to other people's names."""

import pytest

from gooseguard.core.taxonomy import load_taxonomy
from gooseguard.serving.wire import apply_rule, is_flagged, load_rules

OWN_OR_BOTH = (("hate/threatening",), ("hate", "threat"))


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"hate/threatening": 0.5, "hate": 0.9, "threat": 0.4}, (0.5, ("hate/threatening",))),
        ({"hate/threatening": 0.3, "hate": 0.9, "threat": 0.4}, (0.4, ("hate", "threat"))),
        ({"hate/threatening": None, "hate": 0.9, "threat": 0.4}, (0.4, ("hate", "threat"))),
        ({"hate/threatening": 0.3, "hate": 0.9}, (0.3, ("hate/threatening",))),
        ({"hate": 0.9, "threat": None}, None),
        ({}, None),
    ],
)
def test_the_largest_alternative_of_the_smallest_category(scores, expected):
    assert apply_rule(OWN_OR_BOTH, scores) == expected


@pytest.mark.parametrize(
    ("flagged", "expected"),
    [
        ({"hate", "threat"}, True),
        ({"hate"}, False),
        ({"hate/threatening"}, True),
        (set(), False),
    ],
)
def test_flagged_where_all_of_an_alternative_are(flagged, expected):
    assert is_flagged(OWN_OR_BOTH, flagged) is expected


def test_openai_has_its_thirteen_names_and_the_rules_of_the_design():
    rules = load_rules("openai", set()).rules
    assert list(rules) == [
        "harassment", "harassment/threatening", "sexual", "hate", "hate/threatening", "illicit",
        "illicit/violent", "self-harm/intent", "self-harm/instructions", "self-harm", "sexual/minors",
        "violence", "violence/graphic",
    ]  # fmt: skip
    assert rules["harassment"] == (("harassment",), ("insult",))
    assert rules["violence"] == (("violence",), ("threat",))
    assert rules["hate/threatening"] == OWN_OR_BOTH
    # Every category comes first from itself.
    assert all(rule[0] == (name,) for name, rule in rules.items())


def test_perspective_maps_to_categories_that_there_are():
    rules = load_rules("perspective", set()).rules
    assert rules["IDENTITY_ATTACK"] == (("hate",),)
    assert {category for rule in rules.values() for names in rule for category in names} <= set(
        load_taxonomy()
    )


def test_what_the_model_cannot_score_is_left_out_and_named():
    rules = load_rules("openai", {"insult", "hate", "threat"})
    assert rules.usable["harassment"] == (("insult",),)
    assert rules.usable["hate/threatening"] == (("hate", "threat"),)
    assert "sexual" in rules.unscored
    assert rules.unscored == [name for name in rules.rules if name not in rules.usable]
