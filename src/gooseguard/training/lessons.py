"""What a teacher says of texts: asked once, kept by the digest of the content, read by every student.

A text that was asked for is never asked for again by any run that names the same file, whichever student or
recipe it is for; a run that was killed goes on with what it had.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from gooseguard.core.content import Content
from gooseguard.core.errors import ArtefactError, ContentError, EngineError
from gooseguard.core.scorer import ScoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

N_CONTENTS = 256
"""Contents that a teacher is asked for at once, and then kept: what a killed run loses at most."""

LARGEST_FAILED = 0.05
"""Share of the contents that a teacher may fail on; they teach nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What a teacher says of one content."""

    scores: Mapping[str, float | None]
    """Category to calibrated score, 0..1."""
    features: NDArray[np.float32] | None = None
    """float32, (M, C): its hidden features, one row a layer asked for."""
    answer: str | None = None
    """What it answers in words, where it was asked in words."""


class Teacher(Protocol):
    """Whoever can be learnt from."""

    @property
    def name(self) -> str:
        """Give "name@digest" of whatever its lessons depend on."""

    @property
    def categories(self) -> AbstractSet[str]:
        """Give the categories it scores."""

    def teach(self, contents: Sequence[Content]) -> list[Lesson | ScoreError]:
        """Give a lesson for each content: same order, same length."""


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """A teacher's lessons as arrays."""

    scores: NDArray[np.float32]
    """(n, K), 0..1, NaN where it gave none."""
    features: NDArray[np.float32] | None
    """(n, M, C), NaN where it gave none; None where the teacher has none at all."""
    n_asked: int
    """Contents it was asked for now."""
    n_kept: int
    """Contents whose lessons were there already."""
    n_failed: int
    """Contents it could not judge."""


class LessonStore:
    """Lessons in one SQLite file, by teacher and content. Use it as a context."""

    def __init__(self, path: Path) -> None:
        """Open or make the file.

        Raises:
            ArtefactError: it is no such file, or cannot be written.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=60)
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS lesson (teacher TEXT, content TEXT, scores TEXT NOT NULL, "
                "rows INTEGER NOT NULL, features BLOB, answer TEXT, PRIMARY KEY (teacher, content)) "
                "WITHOUT ROWID"
            )
        except (sqlite3.Error, OSError) as error:
            raise ArtefactError(
                f"{path}: cannot hold lessons ({type(error).__name__}); remove it or name another file"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def get(self, teacher: str, digests: Iterable[str]) -> dict[str, Lesson]:
        """Give the lessons that are there, by content digest.

        Raises:
            ArtefactError: the file is damaged.
        """
        found = {}
        query = "SELECT scores, rows, features, answer FROM lesson WHERE teacher = ? AND content = ?"
        try:
            for digest in digests:
                row = self._connection.execute(query, (teacher, digest)).fetchone()
                if row is not None:
                    features = None if row[2] is None else np.frombuffer(row[2], "<f4").reshape(row[1], -1)
                    found[digest] = Lesson(json.loads(row[0]), features, row[3])
        except (sqlite3.Error, ValueError) as error:
            raise ArtefactError(
                f"{self.path}: is damaged ({type(error).__name__}); remove it to ask the teacher again"
            ) from None
        return found

    def put(self, teacher: str, lessons: Mapping[str, Lesson]) -> None:
        """Keep lessons, all or none of them.

        Raises:
            ArtefactError: the file cannot be written.
        """
        rows = [
            (
                teacher,
                digest,
                json.dumps(dict(lesson.scores), allow_nan=False),
                0 if lesson.features is None else len(lesson.features),
                None if lesson.features is None else lesson.features.astype("<f4").tobytes(),
                lesson.answer,
            )
            for digest, lesson in lessons.items()
        ]
        try:
            with self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO lesson VALUES (?, ?, ?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise ArtefactError(f"{self.path}: lessons cannot be kept ({type(error).__name__})") from None


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking a teacher."""

    lessons: list[Lesson | None]
    """One a text, in order; None where it could not judge."""
    n_asked: int
    """Contents it was asked for now."""
    n_kept: int
    """Contents whose lessons were there already."""
    n_failed: int
    """Contents it could not judge."""


def ask(
    teacher: Teacher, texts: Sequence[str], store: LessonStore, count: Callable[[int, int], None]
) -> Asked:
    """Ask a teacher for texts whose lessons are not kept yet.

    Args:
        teacher: whoever teaches.
        texts: n texts; equal ones are asked for once.
        store: where lessons are kept.
        count: told how many of how many different texts are done.

    Raises:
        EngineError: the teacher failed on more than `LARGEST_FAILED` of the texts.
        ArtefactError: the store cannot be read or written.
    """
    # Without language and context, which no scorer reads.
    contents = [_content(text) for text in texts]
    digests = [None if content is None else content.digest() for content in contents]
    distinct = {d: c for d, c in zip(digests, contents, strict=True) if d is not None and c is not None}
    lessons = store.get(teacher.name, distinct)
    n_kept = len(lessons)
    wanted = [digest for digest in distinct if digest not in lessons]
    failures: list[ScoreError] = []
    count(n_kept, len(distinct))
    for begin in range(0, len(wanted), N_CONTENTS):
        batch = wanted[begin : begin + N_CONTENTS]
        answers = teacher.teach([distinct[digest] for digest in batch])
        good = {d: a for d, a in zip(batch, answers, strict=True) if isinstance(a, Lesson)}
        failures += [answer for answer in answers if isinstance(answer, ScoreError)]
        store.put(teacher.name, good)
        lessons |= good
        count(n_kept + begin + len(batch), len(distinct))
        if len(failures) > max(LARGEST_FAILED * len(distinct), 1):
            raise EngineError(
                f"teacher {teacher.name}: failed on {len(failures)} of {begin + len(batch)} contents, "
                f"the last: {failures[-1].type}: {failures[-1].message}; what it answered is kept, "
                "run again to go on"
            )
    ordered = [None if digest is None else lessons.get(digest) for digest in digests]
    return Asked(ordered, len(wanted), n_kept, len(failures))


def collect(
    teacher: Teacher,
    texts: Sequence[str],
    categories: Sequence[str],
    store: LessonStore,
    count: Callable[[int, int], None],
) -> Taught:
    """Ask a teacher, as `ask`, and lay its lessons out as arrays, scores in the columns of `categories`.

    Raises:
        ArtefactError: features of one teacher differ in shape.
    """
    asked = ask(teacher, texts, store, count)
    lessons = asked.lessons
    scores = np.full((len(lessons), len(categories)), np.nan, np.float32)
    shapes = {lesson.features.shape for lesson in lessons if lesson and lesson.features is not None}
    if len(shapes) > 1:
        raise ArtefactError(f"teacher gave features of several shapes ({sorted(shapes)}); expected one")
    features = np.full((len(lessons), *shapes.pop()), np.nan, np.float32) if shapes else None
    for i, lesson in enumerate(lessons):
        if lesson is None:
            continue
        values = [lesson.scores.get(category) for category in categories]
        scores[i] = [np.nan if value is None else value for value in values]
        if features is not None and lesson.features is not None:
            features[i] = lesson.features
    return Taught(scores, features, asked.n_asked, asked.n_kept, asked.n_failed)


def _content(text: str) -> Content | None:
    try:
        return Content.from_text(text)
    except ContentError:
        return None
