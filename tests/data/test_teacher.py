"""A teacher behind a real server: what it is told, what is kept, asked again, rejected and given up."""

import importlib.util
import json
from contextlib import contextmanager
from pathlib import Path

import pytest

from gooseguard.chat.client import ChatClient, Endpoint
from gooseguard.core.errors import ConfigError, EngineError
from gooseguard.data.answer_store import AnswerStore
from gooseguard.data.questions import LabelledRow, QuestionConfig, make_questions
from gooseguard.data.teacher import (
    FAILED,
    INSTRUCTION,
    MOST_FAILURES,
    Teacher,
    TeacherConfig,
    estimate,
    prompt_digest,
    teacher_name,
)
from gooseguard.data.wordings import load_wordings

_path = Path(__file__).parents[1] / "contracts" / "chat_server.py"
_spec = importlib.util.spec_from_file_location("chat_server", _path)
chat = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(chat)

GOOD = {
    True: "Yes. The writer belittles a reader for no reason.",
    False: "No. The writer wishes somebody well, and nothing else.",
}


def questions_of(n, kinds=("yes_no",)):
    rows = [
        LabelledRow(f"a/{i}", f"text {i}", {"insult": float(i % 2)}, {"insult": ("text",)} if i % 2 else {})
        for i in range(n)
    ]
    return [
        question for row in rows for question in make_questions(row, QuestionConfig(kinds), load_wordings())
    ]


def well(body):
    asked = json.loads(body["messages"][1]["content"])
    return chat.completion(GOOD[asked["verdict"] == "Yes"])


@contextmanager
def teacher_at(server, path, waits=None, **options):
    config = TeacherConfig(server.url, "some-model", **options)
    endpoint = Endpoint(
        server.url, "some-model", parallel=config.parallel, retries=config.retries, timeout_s=5,
        prices=config.prices, requests_per_minute=config.requests_per_minute,
    )  # fmt: skip
    store = AnswerStore(path)
    with ChatClient(endpoint, "", waits.append if waits is not None else lambda seconds: None) as client:
        yield Teacher(client, config, store, 11)
    store.close()


def test_it_is_told_question_content_verdict_and_marked_words_as_json(tmp_path):
    with chat.serve(well) as server, teacher_at(server, tmp_path / "a.db", longest=99) as teacher:
        lessons = list(teacher.answer(questions_of(2)))
    assert [lesson.text for lesson in lessons] == [GOOD[False], GOOD[True]]
    bodies = sorted(server.bodies, key=lambda body: body["messages"][1]["content"])
    assert {body["messages"][0]["content"] for body in bodies} == {INSTRUCTION}
    assert [(body["seed"], body["max_tokens"], body["temperature"]) for body in bodies] == [(11, 99, 0.7)] * 2
    told = [json.loads(body["messages"][1]["content"]) for body in bodies]
    assert {(one["content"], one["verdict"], tuple(one["marked"])) for one in told} == {
        ("text 0", "No", ()),
        ("text 1", "Yes", ("text",)),
    }


def test_lessons_come_in_the_order_of_questions_and_are_asked_for_once(tmp_path):
    questions = questions_of(60)
    with chat.serve(chat.slow(well, 0.002)) as server:
        with teacher_at(server, tmp_path / "a.db", parallel=8) as teacher:
            first = list(teacher.answer(questions))
        assert server.most_under_way > 1
        assert [lesson.question.row.id for lesson in first] == [f"a/{i}" for i in range(60)]
        with teacher_at(server, tmp_path / "a.db") as teacher:
            again = list(teacher.answer(questions))
            recalled = [teacher.recall(question) for question in questions]
            assert (teacher.n_asked, teacher.n_kept) == (0, 60)
    assert first == again == recalled
    assert len(server.bodies) == 60


def test_rejected_answers_are_asked_for_again_with_another_seed_and_then_given_up(tmp_path):
    def stubborn(body):
        asked = json.loads(body["messages"][1]["content"])
        if asked["content"] == "text 0":
            return chat.completion("I'm sorry, I cannot help with that.")
        return chat.completion("No. It is friendly to everybody.") if body["seed"] == 11 else well(body)

    with chat.serve(stubborn) as server, teacher_at(server, tmp_path / "a.db", attempts=2) as teacher:
        refused, mended = teacher.answer(questions_of(2))
    assert (refused.text, refused.problem, refused.rejected) == ("", "refuses", ("refuses", "refuses"))
    assert (mended.text, mended.problem, mended.rejected) == (GOOD[True], "", ("contradicts",))
    assert sorted(body["seed"] for body in server.bodies) == [11, 11, 12, 12]
    config = TeacherConfig(server.url, "some-model", attempts=2)
    assert mended.digest == prompt_digest(mended.question, config, 11, 1)


def test_a_failure_is_not_kept_and_asked_for_the_next_time(tmp_path):
    broken = {"text 1"}

    def answer(body):
        content = json.loads(body["messages"][1]["content"])["content"]
        return (200, {}, b"{ no json") if content in broken else well(body)

    with chat.serve(answer) as server:
        with teacher_at(server, tmp_path / "a.db") as teacher:
            assert [lesson.problem for lesson in teacher.answer(questions_of(3))] == ["", FAILED, ""]
        broken.clear()
        with teacher_at(server, tmp_path / "a.db") as teacher:
            assert [lesson.problem for lesson in teacher.answer(questions_of(3))] == ["", "", ""]
            assert teacher.n_asked == 1


def test_retry_after_is_obeyed(tmp_path):
    refusals = iter([(429, {"retry-after": "3"}, {"error": {"code": "rate_limit_exceeded"}})])

    def answer(body):
        return next(refusals, None) or well(body)

    waits = []
    with chat.serve(answer) as server, teacher_at(server, tmp_path / "a.db", waits) as teacher:
        [lesson] = teacher.answer(questions_of(1))
    assert (lesson.problem, waits) == ("", [3.0])


def test_a_cut_connection_is_tried_again(tmp_path):
    cuts = iter([(None, {}, b"")])
    with (
        chat.serve(lambda body: next(cuts, None) or well(body)) as server,
        teacher_at(server, tmp_path / "a.db") as teacher,
    ):
        [lesson] = teacher.answer(questions_of(1))
    assert lesson.text == GOOD[False]


def test_an_endpoint_that_is_gone_stops_the_run_and_says_how_to_go_on(tmp_path):
    with (
        chat.serve(lambda body: (401, {}, {"error": {"code": "invalid_api_key"}})) as server,
        teacher_at(server, tmp_path / "a.db", parallel=1) as teacher,
        pytest.raises(
            EngineError, match=r"20 requests in a row failed, .*invalid_api_key.*run the same command"
        ),
    ):
        list(teacher.answer(questions_of(200)))
    # Those under way aside, no more than that.
    assert MOST_FAILURES <= len(server.bodies) <= MOST_FAILURES + 1


def test_the_budget_is_never_exceeded(tmp_path):
    def dear(body):
        asked = json.loads(body["messages"][1]["content"])
        return chat.completion(GOOD[asked["verdict"] == "Yes"], (1000, 100))

    with (
        chat.serve(dear) as server,
        teacher_at(server, tmp_path / "a.db", prompt_price=1.0, completion_price=1.0, budget=0.02) as teacher,
        pytest.raises(EngineError, match=r"budget of 0\.02 is used up"),
    ):
        list(teacher.answer(questions_of(300)))
    assert teacher.client.ledger.spent <= 0.02


def test_requests_keep_their_pace(tmp_path):
    waits = []
    with (
        chat.serve(well) as server,
        teacher_at(server, tmp_path / "a.db", waits, requests_per_minute=60, parallel=1) as teacher,
    ):
        list(teacher.answer(questions_of(4)))
    # The waits are not slept here: the starts were 1, 2 and 3 seconds away.
    assert [round(wait) for wait in waits] == [1, 2, 3]


def test_an_estimate_before_and_what_is_kept_already(tmp_path):
    questions = questions_of(4)
    config = TeacherConfig(
        "http://x/v1", "some-model", prompt_price=2.0, completion_price=4.0, longest=100, attempts=3
    )
    found = estimate(questions, config, None, 11)
    assert (found.questions, found.kept) == (4, 0)
    # Prompts have their instruction at least, answers half of the longest: about 4 bytes a token.
    least = len(INSTRUCTION) // 4 + 50
    assert found.about_tokens > 4 * least
    assert 0 < found.about_cost < found.most_cost
    # Every attempt, the longest answers.
    assert found.most_cost > 4 * 3 * 100 * 4.0 / 1e6
    with chat.serve(well) as server, teacher_at(server, tmp_path / "a.db", longest=100) as teacher:
        list(teacher.answer(questions[:3]))
    store = AnswerStore(tmp_path / "a.db")
    assert (
        estimate(questions, config, store, 11).questions,
        estimate(questions, config, store, 11).kept,
    ) == (1, 3)
    store.close()


def test_names_and_digests_depend_on_what_answers_depend_on():
    one, other = TeacherConfig("http://x/v1", "m"), TeacherConfig("http://x/v1", "m", temperature=0)
    [question] = questions_of(1)
    digests = {
        prompt_digest(question, one, 0, 0),
        prompt_digest(question, one, 0, 1),
        prompt_digest(question, other, 0, 0),
    }
    assert len(digests) == 3
    # Seed and attempt are added: another run's second attempt is this one's first.
    assert prompt_digest(question, one, 0, 1) == prompt_digest(question, one, 1, 0)
    assert teacher_name(one).startswith("m@")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attempts": 0}, "attempts 0"),
        ({"longest": 0}, "longest 0"),
        ({"most_failed": 2}, "most_failed is 2"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        TeacherConfig("http://x/v1", "m", **options)
