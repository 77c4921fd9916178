"""Teachers: a scorer's scores, a checkpoint's scores and features, and scores from a file."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gooseguard.backends import load  # noqa: E402
from gooseguard.core.content import Content, Modality, Part  # noqa: E402
from gooseguard.core.errors import ConfigError, DataError  # noqa: E402
from gooseguard.core.scorer import ScoreError  # noqa: E402
from gooseguard.engine.file import write_engine_file  # noqa: E402
from gooseguard.models.checkpoint import Checkpoint  # noqa: E402
from gooseguard.training.lessons import Lesson  # noqa: E402
from gooseguard.training.teachers import CheckpointTeacher, FileTeacher, ScorerTeacher  # noqa: E402

_path = Path(__file__).parents[1] / "contracts" / "tiny_text_model.py"
_spec = importlib.util.spec_from_file_location("tiny_text_model", _path)
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)

TEXTS = ["have a nice day", "you moron", "x", "a longer text. " * 30, "日本語"]
IMAGE = Content((Part(Modality.IMAGE, b"\x89PNG", "image/png"),))


@pytest.fixture(scope="module")
def model():
    return tiny.make_model()


@pytest.fixture(scope="module")
def scorer(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("engine") / "tiny.safetensors"
    write_engine_file(path, model, "f32", model.digest())
    return load(path, threads=1)


def test_a_scorer_teaches_its_scores_and_its_errors(scorer):
    teacher = ScorerTeacher(scorer)
    assert (teacher.name, teacher.categories) == (scorer.name, scorer.categories)
    good, bad = teacher.teach([Content.from_text("you moron"), IMAGE])
    assert good.scores == scorer.score([Content.from_text("you moron")])[0].values
    assert isinstance(bad, ScoreError)


def test_a_checkpoint_teaches_what_the_engine_scores(model, scorer):
    teacher = CheckpointTeacher(Checkpoint(None, model))
    assert teacher.name == scorer.name
    assert teacher.categories == scorer.categories
    contents = [Content.from_text(text) for text in TEXTS]
    lessons = teacher.teach([*contents[:2], IMAGE, Content.from_text("\u200b"), *contents[2:]])
    assert [isinstance(lesson, Lesson) for lesson in lessons] == [True, True, False, False, True, True, True]
    expected = scorer.score(contents)
    for lesson, scores in zip(
        [lesson for lesson in lessons if isinstance(lesson, Lesson)], expected, strict=True
    ):
        assert lesson.features is None
        for category, value in scores.values.items():
            assert lesson.scores[category] == pytest.approx(value, abs=1e-5)


def test_features_do_not_depend_on_what_is_beside_a_text(model):
    last = model.config.backbone.n_layer - 1
    teacher = CheckpointTeacher(Checkpoint(None, model), [last, 0])
    assert teacher.name.endswith(f"+{last}+0")
    together = teacher.teach([Content.from_text(text) for text in TEXTS])
    for text, lesson in zip(TEXTS, together, strict=True):
        [alone] = teacher.teach([Content.from_text(text)])
        assert lesson.features.shape == (2, model.config.backbone.n_embd)
        np.testing.assert_allclose(lesson.features, alone.features, rtol=0, atol=1e-4)
    assert np.abs(together[0].features - together[1].features).max() > 1e-3


def test_a_layer_that_is_not_there(model):
    with pytest.raises(ConfigError, match="layer 99 of the teacher"):
        CheckpointTeacher(Checkpoint(None, model), [99])


def write(path, *rows):
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), "utf-8")
    return path


def test_scores_from_a_file_by_text_and_by_id(tmp_path):
    by_text = {"text": "you moron", "scores": {"insult": 0.9, "spam": None}}
    by_id = {"id": "train/7", "action": "allow", "scores": {"insult": 0.1}, "model": "m@1"}
    stranger = {"id": "other/1", "scores": {"threat": 0.5}}
    path = write(tmp_path / "said.jsonl", by_text, "", by_id, stranger)
    teacher = FileTeacher(path, {"train/7": "good day"})
    assert teacher.categories == {"insult", "spam"}
    assert teacher.name.startswith("said@")
    lessons = teacher.teach([Content.from_text(text) for text in ("good day", "you moron", "nothing said")])
    assert [lesson.scores for lesson in lessons] == [{"insult": 0.1}, {"insult": 0.9, "spam": None}, {}]
    write(path, by_text)
    assert FileTeacher(path, {}).name != teacher.name


SECRET = "private words"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "is no JSON"),
        ([1], "has no scores and no answer; expected an object with text or id, and scores"),
        ({"text": SECRET}, "has no scores"),
        ({"text": SECRET, "answer": 1}, "has no scores and no answer"),
        ({"text": SECRET, "scores": {"insutl": 1}}, "unknown category 'insutl'; did you mean 'insult'"),
        ({"text": SECRET, "scores": {"insult": 1.5}}, "score of 'insult' is no number within 0..1, or null"),
        ({"text": SECRET, "scores": {"insult": True}}, "score of 'insult' is no number within 0..1"),
    ],
)
def test_rows_that_are_refused(tmp_path, row, message):
    path = write(tmp_path / "said.jsonl", {"text": "x", "scores": {}}, row)
    with pytest.raises(DataError, match=rf"^said.jsonl, line 2: {message}") as caught:
        FileTeacher(path, {})
    assert SECRET not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"said.jsonl, after line 0: FileNotFoundError"):
        FileTeacher(tmp_path / "said.jsonl", {})


def test_answers_in_a_file_and_what_ask_could_not_finish(tmp_path):
    path = write(
        tmp_path / "said.jsonl",
        {"id": "1", "answer": "Yes.", "finish": "stop"},
        {"text": "b", "answer": "No.", "scores": {"insult": 0.25}},
        {"text": "c", "answer": "Categories: ins", "finish": "length"},
        {"id": "2", "error": {"type": "ContentError", "message": "no text"}},
        {"text": "e", "answer": ""},
    )
    teacher = FileTeacher(path, {"1": "a", "2": "d"})
    lessons = teacher.teach([Content.from_text(text) for text in "abcde"])
    assert [lesson.answer for lesson in lessons] == ["Yes.", "No.", None, None, None]
    assert lessons[1].scores == {"insult": 0.25}
