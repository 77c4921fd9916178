"""Example: what its labels may be."""

import copy

import pytest

from gooseguard.core.content import Content
from gooseguard.core.errors import DataError
from gooseguard.core.example import Example

CONTENT = Content.from_text("good morning", "en")


def test_keeps_labels_and_tells_annotated_ones_from_others():
    example = Example("a/1", CONTENT, {"hate": 0, "insult": 0.5, "threat": None})
    assert dict(example.labels) == {"hate": 0.0, "insult": 0.5, "threat": None}
    assert example.annotated == {"hate": 0.0, "insult": 0.5}
    assert all(label is None or type(label) is float for label in example.labels.values())


@pytest.mark.parametrize("label", [float("nan"), float("inf"), -0.001, 1.001])
def test_refuses_labels_outside_0_to_1(label):
    with pytest.raises(DataError, match=r"example 'a/1': label 'hate' is .*, expected 0\.\.1"):
        Example("a/1", CONTENT, {"hate": label})


def test_labels_cannot_be_changed_through_either_mapping():
    given = {"hate": 1.0}
    example = Example("a/1", CONTENT, given)
    given["hate"] = 0.0
    assert example.labels["hate"] == 1.0
    with pytest.raises(TypeError):
        example.labels["hate"] = 0.0


def test_message_never_holds_the_content():
    with pytest.raises(DataError) as caught:
        Example("a/1", CONTENT, {"hate": 2.0})
    assert "morning" not in str(caught.value)


def test_can_be_copied():
    example = Example("a/1", CONTENT, {"hate": 1.0, "threat": None}, ("women",), "a", "it attacks a group")
    assert copy.deepcopy(example) == example
