"""Questions ask for what is sure, and their answers say what labels and marked words say."""

from dataclasses import replace

import pytest

from gooseguard.codec.answer import parse_answer
from gooseguard.core.errors import ConfigError
from gooseguard.core.verdict import Action
from gooseguard.data.questions import (
    Kind,
    LabelledRow,
    Medium,
    QuestionConfig,
    make_questions,
    parse_verdict,
)
from gooseguard.data.wordings import load_wordings

ROW = LabelledRow(
    "a/1",
    "you <slur>, go away",
    {"insult": 1.0, "hate": 0.8, "threat": 0.0, "toxicity": 0.45},
    {"insult": ("<slur>",), "hate": ("a b c d e f g h i",)},
)


def ask(row=ROW, n=200, **options):
    """Give the questions of many seeds."""
    config = QuestionConfig(**options)
    return [
        question
        for seed in range(n)
        for question in make_questions(row, replace(config, seed=seed), load_wordings())
    ]


def test_only_what_is_sure_is_asked_for():
    questions = ask()
    assert {name for question in questions for name in question.asked} == {"insult", "hate", "threat"}
    # Annotators disagree on toxicity, and nobody was asked about sexual.
    assert not any("- toxicity:" in question.instruction for question in questions)
    assert make_questions(LabelledRow("a/2", "x", {"insult": 0.5}), QuestionConfig(), load_wordings()) == []
    assert make_questions(LabelledRow("a/3", "x", {}), QuestionConfig(), load_wordings()) == []


def test_yes_or_no_is_what_the_label_says_and_both_are_asked():
    questions = ask(kinds=("yes_no",))
    said = {(question.asked[0], question.answer.split()[0].rstrip(".,:")) for question in questions}
    assert said == {("insult", "Yes"), ("hate", "Yes"), ("threat", "No")}
    share = sum(question.answer.startswith("No") for question in questions) / len(questions)
    assert 0.35 < share < 0.65
    assert all(load_definition(question) in question.instruction for question in questions)


def load_definition(question):
    from gooseguard.core.taxonomy import load_taxonomy

    return load_taxonomy()[question.asked[0]].definition


def test_categories_are_named_as_the_codec_reads_them():
    for question in ask(kinds=("categories",), n=20):
        parsed = parse_answer(question.answer, question.asked)
        assert parsed.flagged == ("insult", "hate") == question.flagged
        assert parsed.rationale
    [nothing] = ask(LabelledRow("a/4", "hello", {"threat": 0.0, "spam": 0.1}), n=1, kinds=("categories",))
    assert nothing.answer.startswith("Categories: none\nRationale: ")


def test_the_action_is_that_of_the_strictest_rule_of_the_written_policy():
    seen = set()
    for question in ask(kinds=("action",)):
        policy = question.instruction.partition("What counts:")[0].lower()
        seen.add(question.action)
        # The first line that names a positive category decides; read by its verb.
        lines = [line for line in policy.splitlines() if "insult" in line or "hate" in line]
        strict = [
            Action.BLOCK if any(word in line for word in ("block", "remove")) else Action.REVIEW
            for line in lines
            if "all else" not in line and "everything else" not in line
        ]
        assert question.action is (strict[0] if strict else Action.ALLOW), question.instruction
        assert question.answer.startswith(f"Action: {question.action}\nRationale: ")
    assert seen == set(Action)


def test_marked_words_are_quoted_unless_they_are_many():
    answers = [question.answer for question in ask(kinds=("yes_no",)) if question.flagged == ("insult",)]
    assert all('"<slur>"' in answer for answer in answers)
    answers = [question.answer for question in ask(kinds=("yes_no",)) if question.flagged == ("hate",)]
    assert not any("a b c" in answer for answer in answers)


def test_what_is_filled_in_is_not_read_again():
    row = replace(ROW, quotes={"insult": ("{category}",)})
    answers = [question.answer for question in ask(row, kinds=("yes_no",)) if question.flagged == ("insult",)]
    assert all('"{category}"' in answer for answer in answers)


def test_the_same_row_and_seed_give_the_same_questions_and_another_seed_others():
    one, two = (make_questions(ROW, QuestionConfig(seed=3), load_wordings()) for _ in range(2))
    assert one == two
    assert len({question.wording for question in ask()}) > 20
    assert len({question.digest() for question in ask()}) > 50


def test_several_questions_are_of_different_kinds():
    for number in range(20):
        row = replace(ROW, id=f"a/{number}")
        questions = make_questions(row, QuestionConfig(per_row=3), load_wordings())
        assert {question.kind for question in questions} == set(Kind)


def test_images_stand_before_the_text():
    row = replace(ROW, media=(Medium("image", "m/1.png"), Medium("audio", "m/2.wav")))
    assert row.content == "<image>\nyou <slur>, go away"


def test_what_a_content_replies_to_stands_before_it_and_says_so():
    row = replace(ROW, context="how do I?", text="like so")
    assert row.content == "Earlier, for context only:\nhow do I?\nTo be judged:\nlike so"


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("yes_no", "Yes. It is.", ("insult",)),
        ("yes_no", " No, not at all", ()),
        ("yes_no", "Yesterday it was", None),
        ("yes_no", "", None),
        ("action", "Action: block\nRationale: because", Action.BLOCK),
        ("action", "Action: Review.\nRationale: x", Action.REVIEW),
        ("action", "Action: delete\nRationale: x", None),
        ("action", "Action: block", None),
        ("action", "block\nRationale: x", None),
        ("categories", "Categories: insult\nRationale: x", ("insult",)),
        ("categories", "Categories: spam", None),
    ],
)
def test_verdicts_of_answers(kind, text, expected):
    question = next(one for one in ask(kinds=(kind,)) if kind != "yes_no" or one.asked == ("insult",))
    verdict = parse_verdict(question, text)
    if expected is None:
        assert isinstance(verdict, str)
        assert not isinstance(verdict, Action)
    else:
        assert (verdict if isinstance(verdict, Action) else verdict.flagged) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": ("yes",)}, "questions.kinds has 'yes'"),
        ({"kinds": ()}, "per_row is 1, expected 1 to the number of kinds"),
        ({"per_row": 4}, "per_row is 4"),
        ({"sure_low": 0.7}, "sure_low 0.7 and sure_high 0.6"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        QuestionConfig(**options)
