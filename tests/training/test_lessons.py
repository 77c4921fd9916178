"""Lessons: asked once a content, kept at once, shared by runs, laid out as arrays; failures are bounded."""

import numpy as np
import pytest

from gooseguard.core.content import Content
from gooseguard.core.errors import ArtefactError, EngineError
from gooseguard.core.scorer import ScoreError
from gooseguard.training import lessons as module
from gooseguard.training.lessons import Lesson, LessonStore, collect

CATEGORIES = ["toxicity", "insult"]


class Lengths:
    """A teacher that scores a text by its length; counts what it is asked for."""

    categories = frozenset({"toxicity"})

    def __init__(self, name="lengths@1", fails=(), has_features=False):
        self.name, self.fails, self.has_features, self.asked = name, fails, has_features, []

    def teach(self, contents):
        return [self._teach(content.parts[0].text) for content in contents]

    def _teach(self, text):
        self.asked.append(text)
        if text in self.fails:
            return ScoreError("ContentError", "cannot")
        features = (
            np.array([[len(text), 1.5, -2], [0, 1, len(text)]], np.float32) if self.has_features else None
        )
        return Lesson({"toxicity": len(text) / 10}, features)


def ask(teacher, texts, path):
    counted = []
    with LessonStore(path) as store:
        taught = collect(teacher, texts, CATEGORIES, store, lambda n, m: counted.append((n, m)))
    return taught, counted


def test_scores_are_laid_out_and_a_category_that_is_not_taught_is_nan(tmp_path):
    taught, counted = ask(Lengths(), ["abc", "a", "abc"], tmp_path / "lessons.sqlite")
    np.testing.assert_allclose(taught.scores[:, 0], [0.3, 0.1, 0.3], rtol=1e-6)
    assert np.isnan(taught.scores[:, 1]).all()
    assert taught.scores.dtype == np.float32
    assert taught.features is None
    assert (taught.n_asked, taught.n_kept, taught.n_failed) == (2, 0, 0)
    assert counted == [(0, 2), (2, 2)]


def test_a_content_is_asked_for_once_by_all_runs_and_by_name(tmp_path):
    path = tmp_path / "shared" / "lessons.sqlite"
    first, second, other = Lengths(has_features=True), Lengths(has_features=True), Lengths("lengths@2")
    before, _ = ask(first, ["abc", "a", "abc"], path)
    again, counted = ask(second, ["a", "abc", "ab"], path)
    assert first.asked == ["abc", "a"]
    assert second.asked == ["ab"]
    assert (again.n_asked, again.n_kept) == (1, 2)
    assert counted == [(2, 3), (3, 3)]
    np.testing.assert_array_equal(again.features[:2], before.features[[1, 0]])
    np.testing.assert_array_equal(again.features[2], [[2, 1.5, -2], [0, 1, 2]])
    ask(other, ["a"], path)
    assert other.asked == ["a"]


def test_what_was_said_before_a_kill_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "N_CONTENTS", 2)
    texts = ["a", "ab", "abc", "abcd", "abcde"]

    class Dies(Lengths):
        """Is killed within its second batch."""

        def _teach(self, text):
            if text == "abcd":
                raise KeyboardInterrupt
            return super()._teach(text)

    with pytest.raises(KeyboardInterrupt):
        ask(Dies(), texts, tmp_path / "lessons.sqlite")
    rest = Lengths()
    taught, _ = ask(rest, texts, tmp_path / "lessons.sqlite")
    assert rest.asked == ["abc", "abcd", "abcde"]
    np.testing.assert_allclose(taught.scores[:, 0], [0.1, 0.2, 0.3, 0.4, 0.5], rtol=1e-6)


def test_few_failures_teach_nothing_and_are_asked_again(tmp_path):
    texts = [f"{'x' * (i % 7)}{i}" for i in range(40)]
    taught, _ = ask(Lengths(fails=texts[3:5]), texts, tmp_path / "lessons.sqlite")
    assert taught.n_failed == 2
    assert np.isnan(taught.scores[3:5]).all()
    assert not np.isnan(taught.scores[[0, 1, 2, 5], 0]).any()
    healthy = Lengths()
    ask(healthy, texts, tmp_path / "lessons.sqlite")
    assert healthy.asked == texts[3:5]


def test_many_failures_end_the_asking(tmp_path):
    texts = [str(i) for i in range(40)]
    with pytest.raises(
        EngineError, match=r"teacher lengths@1: failed on 3 of 40 contents, the last: ContentError: cannot"
    ):
        ask(Lengths(fails=texts[:3]), texts, tmp_path / "lessons.sqlite")


def test_a_text_that_is_no_content_teaches_nothing(tmp_path):
    taught, _ = ask(Lengths(), ["a", "\ud800"], tmp_path / "lessons.sqlite")
    assert np.isnan(taught.scores[1]).all()


def test_features_of_several_shapes_are_refused(tmp_path):
    path = tmp_path / "lessons.sqlite"
    with LessonStore(path) as store:
        digest = Content.from_text("a").digest()
        store.put("lengths@1", {digest: Lesson({}, np.ones((1, 5), np.float32))})
    with pytest.raises(ArtefactError, match=r"features of several shapes \(\[\(1, 5\), \(2, 3\)\]\)"):
        ask(Lengths(has_features=True), ["a", "ab"], path)


def test_a_file_that_is_no_store_is_refused(tmp_path):
    path = tmp_path / "lessons.sqlite"
    path.write_text("not a database, but long enough to be taken for one " * 50)
    with pytest.raises(ArtefactError, match=r"lessons.sqlite: cannot hold lessons \(DatabaseError\)"):
        LessonStore(path)


def test_answers_are_kept_too(tmp_path):
    class Echo(Lengths):
        """Answers with the text."""

        def _teach(self, text):
            self.asked.append(text)
            return Lesson({}, answer=text)

    path = tmp_path / "lessons.sqlite"
    for n_asked in (2, 0):
        echo = Echo()
        with LessonStore(path) as store:
            asked = module.ask(echo, ["é", "b", "é"], store, lambda n, m: None)
        assert [lesson.answer for lesson in asked.lessons] == ["é", "b", "é"]
        assert (len(echo.asked), asked.n_asked, asked.n_kept) == (n_asked, n_asked, 2 - n_asked)
