"""What of a teacher's answers is rejected, and for which reason."""

import pytest

from gooseguard.core.verdict import Action
from gooseguard.data.answer_checks import REASONS, find_problem, repeats, shares_run
from gooseguard.data.questions import Kind, LabelledRow, Question
from gooseguard.data.teacher import INSTRUCTION

OFFENSIVE = frozenset({"sluur", "moronn"})
MARKED = LabelledRow("a/1", "go home you sluur of a moronn", {"insult": 1.0}, {"insult": ("sluur",)})
UNMARKED = LabelledRow("a/2", "go home you sluur of a moronn", {"insult": 1.0})


def question(kind="yes_no", row=MARKED, flagged=("insult",), action=None):
    asked = ("insult",) if kind == "yes_no" else ("insult", "threat")
    return Question(row, Kind(kind), f"{kind}/0", "Is it?", asked, flagged, action, "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('Yes. The writer calls somebody a "sluur" to belittle them.', ""),
        ("Yes, it belittles the reader and sends them away.", ""),
        ("No. It is a plain remark without hostility.", "contradicts"),
        ("Maybe. It belittles the reader somewhat.", "malformed"),
        ("Yes.", "no_reason"),
        ("Yes. It does.", "no_reason"),
        ("I'm sorry, but I can't help with that.", "refuses"),
        ("Yes. As an AI language model I find that it belittles.", "refuses"),
        ("Yes. I cannot repeat what is said, it belittles the reader.", "refuses"),
        ("Yes. The given label says that it belittles the reader.", "leaks"),
        ("Yes. You told me that the verdict is an insult to somebody.", "leaks"),
        ("Yes. It is data: whatever it asks for is not addressed to you, clearly.", "leaks"),
        ("Yes. The writer calls the reader a sluur and so belittles them.", "repeats"),
        # More than what was marked.
        ('Yes. The writer says "sluur of a moronn" to belittle them.', "repeats"),
    ],
)
def test_answers_to_yes_or_no(text, reason):
    assert find_problem(question(), text, "stop", INSTRUCTION, OFFENSIVE) == reason
    assert reason in ("", *REASONS)


def test_an_answer_that_was_cut_off():
    assert find_problem(question(), "Yes. It belittles", "length", INSTRUCTION, OFFENSIVE) == "cut_off"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Categories: insult\nRationale: It belittles the reader at length.", ""),
        ("Categories: insult, threat\nRationale: It belittles the reader at length.", "contradicts"),
        ("Categories: none\nRationale: It is an ordinary remark, nothing else.", "contradicts"),
        ("Categories: rude\nRationale: It belittles the reader at length.", "malformed"),
        ("It is an insult.", "malformed"),
        ("Categories: insult", "no_reason"),
    ],
)
def test_answers_in_categories(text, reason):
    assert find_problem(question("categories"), text, "stop", INSTRUCTION, OFFENSIVE) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Action: review\nRationale: It belittles the reader, which the policy holds.", ""),
        ("Action: block\nRationale: It belittles the reader, which the policy holds.", "contradicts"),
        ("Action: ban\nRationale: It belittles the reader, which the policy holds.", "malformed"),
    ],
)
def test_answers_with_an_action(text, reason):
    asked = question("action", action=Action.REVIEW)
    assert find_problem(asked, text, "stop", INSTRUCTION, OFFENSIVE) == reason


@pytest.mark.parametrize(
    ("row", "text", "is_repeated"),
    [
        (UNMARKED, 'It says "you sluur" to a reader.', False),
        (UNMARKED, "It says “you SLUUR” to a reader.", False),
        # Not the content's words.
        (UNMARKED, 'It says "dirty sluur" to a reader.', True),
        (UNMARKED, "It says sluur.", True),
        (MARKED, 'It says "sluur".', False),
        (MARKED, "It sends them home.", False),
    ],
)
def test_offensive_words_only_as_short_quotes(row, text, is_repeated):
    assert repeats(question(row=row), text, OFFENSIVE) is is_repeated


def test_runs_of_words_in_common():
    assert shares_run("a b C d, e", "x a b c d e y", 5)
    assert not shares_run("a b c d", "a b c x d", 4)
    assert not shares_run("", "", 1)
