"""The stage dataset -> instruction pairs: questions about rows, answered by their labels or by a teacher.

The answers of a teacher are asked for first, and kept; then all pairs are written in the order of the
dataset, so that a run that was stopped and begun again writes the same bytes.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from gooseguard.core.errors import ConfigError, DataError, EngineError
from gooseguard.core.manifest import Manifest, digest_file, open_artefact, write_manifest
from gooseguard.data.answer_store import AnswerStore
from gooseguard.data.instruction_files import FORMAT_VERSION, KIND, Pair, PairWriter
from gooseguard.data.labelled_rows import count_rows, read_labelled
from gooseguard.data.offensive_words import offensive_words
from gooseguard.data.questions import Question, QuestionConfig, make_questions
from gooseguard.data.recipe import ORIGINAL
from gooseguard.data.teacher import FAILED, Estimate, Teacher, TeacherConfig, estimate, teacher_name
from gooseguard.data.wordings import load_wordings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gooseguard.chat.client import ChatClient
    from gooseguard.data.questions import LabelledRow

    Progress = Callable[[str, int, int], None]
    """Told the step, and how much of how much of it is done."""

BY_LABELS = "labels"
"""Recorded as the teacher of pairs that labels and spans alone answer."""


@dataclass(frozen=True, slots=True)
class InstructConfig:
    """What pairs are made of, and by whom."""

    name: str
    """Of the folder, unless another is named."""
    data: str
    """The dataset's folder."""
    splits: tuple[str, ...] = ("train", "val")
    """Splits to make pairs of; those of test are left for measuring."""
    rows: int = 0
    """Most rows of each split, the first ones; 0 for all."""
    plan: str = ORIGINAL
    """Which rows of train are asked about, by the name of a plan of the dataset."""
    template: str = "instruction"
    """Prompt layout of the pairs, `instruction` or `chat`."""
    questions: QuestionConfig = field(default_factory=QuestionConfig)
    """Which questions are asked."""
    teacher: TeacherConfig | None = None
    """Who answers them; none: labels and spans alone."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a run."""

    facts: dict[str, Any]
    """What is in the folder; its manifest has it too."""
    account: dict[str, Any] | None
    """What asking took, in this run and in all: requests, tokens, cost; None where nobody was asked."""


def instruct(
    config: InstructConfig,
    dataset: Path,
    output: Path,
    client: ChatClient | None = None,
    progress: Progress | None = None,
) -> Made:
    """Write a folder of instruction pairs at `output`.

    Args:
        config: what to make.
        dataset: folder of a dataset.
        output: replaced where it is such a folder, once the new one is whole.
        client: of the teacher's endpoint, where there is a teacher.
        progress: told how far it is.

    Raises:
        ArtefactError: the dataset is none, or nothing can be written.
        ConfigError: a teacher without a client, or a client without a teacher.
        DataError: no row has a label that is sure enough to be asked for.
        EngineError: the teacher fails again and again, or left too much unanswered.
    """
    if (config.teacher is None) != (client is None):
        raise ConfigError("instruct: a teacher needs a client, and a client a teacher")
    report = progress or (lambda step, done, total: None)
    total = sum(count_rows(dataset, split, config.rows, config.plan) for split in config.splits)
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        teacher = None
        if config.teacher is not None and client is not None:
            store = stack.enter_context(closing(AnswerStore(answers_path(output))))
            report("learn offensive words", 0, 0)
            offensive = offensive_words((row.text, row.labels) for _, row in _rows(config, dataset))
            teacher = Teacher(client, config.teacher, store, config.questions.seed, offensive)
            _ask_all(teacher, _asked(config, dataset), total * config.questions.per_row, report)
        partial = stack.enter_context(open_artefact(output, KIND))
        with PairWriter(partial, dataset) as writer:
            for n, (split, pair) in enumerate(_pairs(config, dataset, teacher, counts)):
                writer.write(split, pair)
                if n % 1000 == 0:
                    report("write", n, 0)
        if not writer.n_pairs.total():
            raise DataError(
                f"dataset {dataset.name}: no pair could be made of {', '.join(config.splits)}; "
                "expected rows with labels that annotators agree on"
            )
        facts = _facts(config, writer, counts)
        files = {path.name: digest_file(path) for path in sorted(partial.iterdir())}
        inputs = {"dataset": digest_file(dataset / "manifest.json")}
        write_manifest(partial, Manifest(KIND, FORMAT_VERSION, asdict(config), inputs, files, facts))
        account = None if teacher is None else _account(teacher)
    return Made(facts, account)


def estimate_cost(config: InstructConfig, dataset: Path, output: Path) -> Estimate:
    """Say what asking the teacher would take; asks nothing, writes nothing.

    Raises:
        ArtefactError: the dataset is none.
        ConfigError: there is no teacher.
    """
    if config.teacher is None:
        raise ConfigError("instruct: there is no teacher to ask; labels alone cost nothing")
    path = answers_path(output)
    with ExitStack() as stack:
        store = stack.enter_context(closing(AnswerStore(path))) if path.is_file() else None
        return estimate(_asked(config, dataset), config.teacher, store, config.questions.seed)


def answers_path(output: Path) -> Path:
    """Give the file of a teacher's answers, beside the folder that is made of them."""
    return output.with_name(f"{output.name}.answers.db")


def _rows(config: InstructConfig, dataset: Path) -> Iterator[tuple[str, LabelledRow]]:
    for split in config.splits:
        for row in read_labelled(dataset, split, config.rows, config.plan):
            yield split, row


def _questions(config: InstructConfig, dataset: Path, counts: Counter[str]) -> Iterator[tuple[str, Question]]:
    wordings = load_wordings()
    for split, row in _rows(config, dataset):
        counts["rows"] += 1
        made = make_questions(row, config.questions, wordings)
        if not made:
            counts["rows_without_sure_labels"] += 1
        for question in made:
            yield split, question


def _asked(config: InstructConfig, dataset: Path) -> Iterator[Question]:
    """Give the questions that a teacher can answer: it reads text only."""
    for _, question in _questions(config, dataset, Counter()):
        if question.row.text and not question.row.media:
            yield question


def _ask_all(teacher: Teacher, questions: Iterator[Question], most: int, report: Progress) -> None:
    report("ask the teacher", 0, most)
    n_failed = n = 0
    for n, lesson in enumerate(teacher.answer(questions), 1):
        n_failed += lesson.problem == FAILED
        report("ask the teacher", n, most)
    if n_failed > teacher.config.most_failed * n:
        raise EngineError(
            f"teacher: {n_failed} of {n} questions got no answer, more than most_failed "
            f"{teacher.config.most_failed:g}; run the same command again: what was answered is kept"
        )


def _account(teacher: Teacher) -> dict[str, Any]:
    answers, prompt_tokens, completion_tokens = teacher.store.usage()
    ledger = teacher.client.ledger
    return {
        "this_run": {
            "answers": teacher.n_asked,
            "kept_before": teacher.n_kept,
            "prompt_tokens": ledger.n_prompt_tokens,
            "completion_tokens": ledger.n_completion_tokens,
            "cost": ledger.spent,
        },
        "all_runs": {
            "answers": answers,
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "cost": teacher.config.prices.of(prompt_tokens, completion_tokens),
        },
    }


def _pairs(
    config: InstructConfig, dataset: Path, teacher: Teacher | None, counts: Counter[str]
) -> Iterator[tuple[str, Pair]]:
    by = BY_LABELS if config.teacher is None else teacher_name(config.teacher)
    seed = config.questions.seed
    for split, question in _questions(config, dataset, counts):
        counts[f"kind_{question.kind}"] += 1
        is_asked = teacher is not None and bool(question.row.text) and not question.row.media
        if teacher is None or not is_asked:
            counts["answered_by_labels"] += 1
            yield split, Pair(question, question.answer, config.template, BY_LABELS, question.digest(), seed)
            continue
        lesson = teacher.recall(question)
        counts.update(f"rejected_{problem}" for problem in lesson.rejected)
        if lesson.text:
            counts["answered_by_teacher"] += 1
            yield split, Pair(question, lesson.text, config.template, by, lesson.digest, seed)
        else:
            counts["dropped_unanswered" if lesson.problem == FAILED else "dropped_rejected"] += 1


def _facts(config: InstructConfig, writer: PairWriter, counts: Counter[str]) -> dict[str, Any]:
    def of(prefix: str) -> dict[str, int]:
        return {key.removeprefix(prefix): n for key, n in sorted(counts.items()) if key.startswith(prefix)}

    return {
        "code_version": version("gooseguard"),
        "wordings_sha256": load_wordings().digest,
        "teacher": BY_LABELS if config.teacher is None else teacher_name(config.teacher),
        "rows": counts["rows"],
        "rows_without_sure_labels": counts["rows_without_sure_labels"],
        "pairs": dict(sorted(writer.n_pairs.items())),
        "llava_rows": dict(sorted(writer.n_llava.items())),
        "sources": dict(sorted(writer.n_of_source.items())),
        "kinds": of("kind_"),
        "answered_by": of("answered_by_"),
        "rejected": of("rejected_"),
        "dropped": of("dropped_"),
    }
