"""Teachers that answer in words: whole answers only, under a name that says what they depend on."""

import importlib.util
import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from gooseguard.core.content import Content, Modality, Part  # noqa: E402
from gooseguard.core.scorer import ScoreError  # noqa: E402
from gooseguard.models.generate import Sampling  # noqa: E402
from gooseguard.models.language import LanguageModel  # noqa: E402
from gooseguard.models.responder import Responder  # noqa: E402
from gooseguard.training.answer_teachers import CUT, QUOTED, EndpointAnswers, ModelAnswers  # noqa: E402
from gooseguard.training.lessons import Lesson  # noqa: E402

HERE = Path(__file__).parents[1]


def _load(name):
    spec = importlib.util.spec_from_file_location(name, HERE / "contracts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tiny, chat = _load("tiny_base"), _load("chat_server")
LABELS = Sampling(labels=("Categories: none", "Categories: insult"))
CONTENTS = [Content.from_text(text) for text in ("a moron", "good morning", "go away")]
IMAGE = Content((Part(Modality.IMAGE, b"x", "image/png"),))


def make_model(seed=0):
    return LanguageModel(tiny.make_base(seed=seed), tiny.Bytes())


def test_a_model_teaches_what_it_would_answer():
    model = make_model()
    lessons = ModelAnswers(model, "Rude?", LABELS).teach([*CONTENTS, IMAGE])
    asked = Responder(model)
    for content, lesson in zip(CONTENTS, lessons, strict=False):
        assert lesson.answer == asked.respond("Rude?", content, LABELS).text
        assert lesson.answer in LABELS.labels
    assert isinstance(lessons[3], ScoreError)
    assert "image" in lessons[3].message


def test_an_answer_that_is_cut_teaches_nothing():
    # A random model does not end by itself within three tokens.
    assert ModelAnswers(make_model(), "Rude?", Sampling(max_tokens=3)).teach(CONTENTS[:1]) == [CUT]


def test_the_name_tells_teachers_apart_by_all_that_answers_depend_on():
    model = make_model()
    names = {
        ModelAnswers(model, "Rude?", LABELS).name,
        ModelAnswers(make_model(seed=1), "Rude?", LABELS).name,
        ModelAnswers(model, "Kind?", LABELS).name,
        ModelAnswers(model, "Rude?", Sampling(temperature=0.5, labels=LABELS.labels)).name,
        ModelAnswers(model, "Rude?", LABELS, "instruction").name,
    }
    assert len(names) == 5
    assert ModelAnswers(make_model(), "Rude?", LABELS).name in names


@pytest.fixture
def ask_endpoint():
    """Serve `answer(body)`, ask about contents; gives lessons, request bodies and the teacher's name."""
    pytest.importorskip("httpx2")
    from gooseguard.chat.client import ChatClient, Endpoint

    def ask(answer, contents, **options):
        with chat.serve(answer) as server, ChatClient(Endpoint(server.url, "m@1", retries=0)) as client:
            teacher = EndpointAnswers(client, "Rude?", **options)
            return teacher.teach(contents), server.bodies, teacher.name

    return ask


def test_an_endpoint_is_asked_for_each_content_quoted(ask_endpoint):
    def answer(body):
        return chat.completion(f" about {json.loads(body['messages'][1]['content'])}\n")

    lessons, bodies, name = ask_endpoint(
        answer, [CONTENTS[0], IMAGE, CONTENTS[1]], temperature=0.5, longest=9
    )
    assert [lesson.answer for lesson in lessons[::2]] == ["about a moron", "about good morning"]
    assert lessons[1].type == "ContentError"
    assert len(bodies) == 2
    assert {(body["temperature"], body["max_tokens"]) for body in bodies} == {(0.5, 9)}
    assert bodies[0]["messages"][0] == {"role": "system", "content": f"Rude?\n\n{QUOTED}"}
    assert name.startswith("m-1@")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (chat.completion("Categories: ins", finish="length"), "the answer was cut"),
        (chat.completion(" \n"), "answered nothing"),
        ((500, {}, {}), "status 500"),
    ],
)
def test_what_an_endpoint_does_not_answer_whole_is_an_error(ask_endpoint, answer, message):
    [lesson], _, _ = ask_endpoint(lambda body: answer, CONTENTS[:1])
    assert not isinstance(lesson, Lesson)
    assert message in lesson.message
