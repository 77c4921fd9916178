"""The stage dataset + teacher -> checkpoint. The same call resumes where a killed run left off."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gooseguard.codec.text_model import is_model_name
from gooseguard.core.errors import ConfigError
from gooseguard.core.manifest import canonical_json, digest_file
from gooseguard.models.checkpoint import write_checkpoint
from gooseguard.training.card import make_card
from gooseguard.training.lessons import LessonStore, Taught, collect
from gooseguard.training.loop import LoopConfig, Reporter, TrainingSet, fit, predict
from gooseguard.training.resume import ResumePoints
from gooseguard.training.run import (
    ModelSize,
    calibrate,
    learn_vocabulary,
    make_model,
    read_dataset,
    tokenize,
    validation_rates,
    write_policies,
)
from gooseguard.training.student import Student, TeachConfig, make_goals

if TYPE_CHECKING:
    from collections.abc import Callable

    from gooseguard.models.mod_rwkv import ModRwkv
    from gooseguard.training.lessons import Teacher
    from gooseguard.training.run import Say


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """An OpenAI-compatible endpoint as teacher."""

    url: str
    """Up to and with the version, such as "https://api.example.org/v1"."""
    model: str
    """Name of the model there."""
    categories: tuple[str, ...] = ()
    """What to ask scores for; answers are asked for by the recipe's own instruction."""
    parallel: int = 4
    """Requests under way at once."""
    retries: int = 5
    """Times that a request is sent again."""
    timeout_s: float = 60.0
    """Longest wait for one answer."""
    prompt_price: float = 0.0
    """Cost of a million prompt tokens."""
    completion_price: float = 0.0
    """Cost of a million tokens of the answers."""
    budget: float | None = None
    """Most that the answers may cost."""


@dataclass(frozen=True, slots=True)
class TeacherConfig:
    """Who teaches; exactly one of the three."""

    model: str | None = None
    """Checkpoint folder, engine file or official checkpoint."""
    scores: str | None = None
    """JSON Lines of scores."""
    endpoint: EndpointConfig | None = None
    """A model elsewhere."""

    def __post_init__(self) -> None:
        if sum(x is not None for x in (self.model, self.scores, self.endpoint)) != 1:
            raise ConfigError("recipe: teacher: expected exactly one of model, scores and endpoint")


@dataclass(frozen=True, slots=True)
class DistillConfig:
    """A recipe of kind `distill`."""

    name: str
    """Name of the student."""
    version: str
    """Version of the policies that are written beside it."""
    data: str
    """Dataset folder."""
    teacher: TeacherConfig
    """Who teaches."""
    lessons: str = ""
    """File that keeps what teachers said, shared by runs; empty for one in the folder of the run."""
    teach: TeachConfig = field(default_factory=TeachConfig)
    """What is learnt from it."""
    model: ModelSize = field(default_factory=ModelSize)
    """Sizes of the student."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """How to fit."""
    least_positives: int = 50
    """A category with fewer positive validation rows is not scored."""

    def __post_init__(self) -> None:
        if not is_model_name(self.name):
            raise ConfigError(f"recipe: name is {self.name!r}, expected a name without spaces, @ and /")
        if not self.version:
            raise ConfigError('recipe: version is empty, expected one for the policies, such as "1"')


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told where a run stands."""

    step: Reporter
    """After every step of fitting."""
    say: Say
    """Which phase begins."""
    count: Callable[[str, int, int], None]
    """How far a phase is."""


def distill(config: DistillConfig, output: Path, teacher: Teacher | None, listener: Listener) -> Path:
    """Ask the teacher, fit the student, calibrate; write `output`/checkpoint and policies beside it.

    Args:
        config: the recipe.
        output: folder of the run; what a resumed run needs lies in its `work`.
        teacher: whoever `config.teacher` names; None learns from labels alone, for comparison.
        listener: told where the run stands.

    Returns:
        The checkpoint folder.

    Raises:
        DataError: no category has enough validation positives.
        EngineError: the teacher failed on too many texts.
        ArtefactError: the run was begun with another recipe, teacher or other data.
        ConfigError: the teacher scores none of the categories, or has no such features.
    """
    dataset, work = Path(config.data), output / "work"
    listener.say("read dataset")
    train, val, scored = read_dataset(dataset, config.least_positives)
    if teacher is not None and not teacher.categories & set(scored):
        raise ConfigError(f"teacher {teacher.name} scores none of {', '.join(scored)}, which the data can")
    work.mkdir(parents=True, exist_ok=True)
    taught = None
    if teacher is not None:
        store = Path(config.lessons) if config.lessons else work / "lessons.sqlite"
        with LessonStore(store) as lessons:
            taught = collect(
                teacher, train.texts, scored, lessons, lambda n, m: listener.count("ask the teacher", n, m)
            )
        if config.teach.layers and taught.features is None:
            raise ConfigError(f"teacher {teacher.name} gives no hidden features; leave out teach.layers")
    listener.say("tokenise")
    tokenizer = learn_vocabulary(train.texts, config.model.vocab_size, work)
    rows, val_rows = (tokenize(split, tokenizer) for split in (train, val))
    known = rows.labels if taught is None else np.where(np.isnan(rows.labels), taught.scores, rows.labels)
    model = make_model(config.model, known, scored, tokenizer.vocab_size, config.loop.seed)
    student = make_student(model, config, taught)
    goals = make_goals(rows.labels, taught, config.teach)
    # A text without tokens, or that nobody says anything of, is left out.
    is_learnt = (goals.label_weights + goals.soft_weights).any(1) & (rows.lengths > 0)
    data = TrainingSet(rows, goals, is_learnt.astype(np.int64), val_rows)
    recipe = describe(config)
    digest = digest_file(dataset / "manifest.json")
    said = "" if taught is None else hashlib.sha256(taught.scores.tobytes()).hexdigest()
    run = canonical_json([recipe, digest, None if teacher is None else teacher.name, said])
    points = ResumePoints(work / "resume", hashlib.sha256(run.encode()).hexdigest())
    listener.say("fit")
    facts = fit(student, data, config.loop, points, listener.step)
    listener.say("calibrate")
    logits = predict(model, val_rows)
    calibration = calibrate(logits, val_rows.labels, scored)
    checkpoint = write_checkpoint(
        output / "checkpoint",
        model,
        name=config.name,
        tokenizer=tokenizer,
        calibration=calibration,
        languages=sorted({tag for tag in train.languages if tag}),
        card=make_card(model, {**facts, **_lesson_facts(teacher, taught)}, recipe, dataset),
        config=recipe,
        inputs={"dataset": digest},
    )
    rates = validation_rates(logits, val, scored, calibration)
    write_policies(output / "policies", config.name, config.version, rates)
    return checkpoint


def make_student(model: ModRwkv, config: DistillConfig, taught: Taught | None) -> Student:
    """Add to a model what it learns a teacher's features with; without a teacher there are none."""
    width = 1 if taught is None or taught.features is None else taught.features.shape[2]
    teach = config.teach if taught is not None else replace(config.teach, layers=(), hidden_weight=0.0)
    return Student(model, teach, width, config.loop.seed)


def describe(config: DistillConfig) -> dict[str, Any]:
    """Give the recipe without where files lay, or who was asked where."""
    table = asdict(config)
    return {key: value for key, value in table.items() if key not in {"data", "teacher", "lessons"}}


def _lesson_facts(teacher: Teacher | None, taught: Taught | None) -> dict[str, Any]:
    if teacher is None or taught is None:
        return {"teacher": None}
    counts = {"asked": taught.n_asked, "kept": taught.n_kept, "failed": taught.n_failed}
    return {"teacher": teacher.name, "lessons": counts}
