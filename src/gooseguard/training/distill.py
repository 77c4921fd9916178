"""The stage dataset + teacher -> checkpoint. The same call resumes where a killed run left off."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gooseguard.codec.layout import RwkvConfig
from gooseguard.codec.normalize import normalize
from gooseguard.codec.text_model import is_model_name
from gooseguard.codec.tokenizer import Tokenizer
from gooseguard.core.errors import ConfigError, DataError
from gooseguard.core.manifest import canonical_json, digest_file
from gooseguard.core.taxonomy import load_taxonomy
from gooseguard.data.shards import DatasetColumns, read_columns, read_dataset_manifest
from gooseguard.models.checkpoint import write_checkpoint
from gooseguard.models.mod_rwkv import ModRwkv, ModRwkvConfig
from gooseguard.training.batches import TokenRows, pack
from gooseguard.training.lessons import LessonStore, Taught, collect
from gooseguard.training.loop import LoopConfig, Reporter, predict
from gooseguard.training.resume import ResumePoints
from gooseguard.training.run import (
    ModelSize,
    calibrate,
    describe_data,
    environment,
    scored_categories,
    validation_rates,
)
from gooseguard.training.student import Student, TeachConfig, make_goals
from gooseguard.training.student_loop import StudySet, fit_student
from gooseguard.training.thresholds import GOALS, policy_toml
from gooseguard.training.vocabulary import train_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from gooseguard.training.lessons import Teacher
    from gooseguard.training.run import Say


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """An OpenAI-compatible endpoint as teacher."""

    url: str
    """Up to and with the version, such as "https://api.example.org/v1"."""
    model: str
    """Name of the model there."""
    categories: tuple[str, ...]
    """What to ask for."""
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
    train, val, scored = read_dataset(config, dataset)
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
    tokenizer = _vocabulary(train.texts, config.model.vocab_size, work / "vocabulary.json")
    rows, val_rows = (_tokenize(split, tokenizer) for split in (train, val))
    student = make_student(config, rows.labels, scored, tokenizer.vocab_size, taught)
    goals = make_goals(rows.labels, taught, config.teach)
    # A text without tokens, or that nobody says anything of, is left out.
    is_learnt = (goals.label_weights + goals.soft_weights).any(1) & (rows.lengths > 0)
    data = StudySet(rows, goals, is_learnt.astype(np.int64), val_rows)
    recipe = describe(config)
    digest = digest_file(dataset / "manifest.json")
    said = "" if taught is None else hashlib.sha256(taught.scores.tobytes()).hexdigest()
    run = canonical_json([recipe, digest, None if teacher is None else teacher.name, said])
    points = ResumePoints(work / "resume", hashlib.sha256(run.encode()).hexdigest())
    listener.say("fit")
    facts = fit_student(student, data, config.loop, points, listener.step)
    listener.say("calibrate")
    logits = predict(student.model, val_rows)
    calibration = calibrate(logits, val_rows.labels, scored)
    checkpoint = write_checkpoint(
        output / "checkpoint",
        student.model,
        name=config.name,
        tokenizer=tokenizer,
        calibration=calibration,
        languages=sorted({tag for tag in train.languages if tag}),
        card=_card(student.model, {**facts, **_lesson_facts(teacher, taught)}, recipe, dataset, digest),
        config=recipe,
        inputs={"dataset": digest},
    )
    _write_policies(output / "policies", config, validation_rates(logits, val, scored, calibration))
    return checkpoint


def read_dataset(config: DistillConfig, dataset: Path) -> tuple[DatasetColumns, DatasetColumns, list[str]]:
    """Read training and validation rows, with labels of the categories that can be scored.

    Raises:
        DataError: no category has enough validation positives.
    """
    taxonomy = list(load_taxonomy())
    val, train = (read_columns(dataset, split, taxonomy) for split in ("val", "train"))
    scored = scored_categories(val, taxonomy, config.least_positives)
    if not scored:
        raise DataError(
            f"{dataset}: no category has {config.least_positives} positive validation rows; add data"
        )
    columns = [taxonomy.index(category) for category in scored]
    return (
        replace(train, labels=train.labels[:, columns]),
        replace(val, labels=val.labels[:, columns]),
        scored,
    )


def make_student(
    config: DistillConfig,
    labels: NDArray[np.float32],
    categories: Sequence[str],
    vocab_size: int,
    taught: Taught | None,
) -> Student:
    """Make the student that a recipe asks for; its heads begin at each category's share of positives."""
    size = config.model
    backbone = RwkvConfig(size.n_layer, size.n_embd, vocab_size, head_size=size.head_size, rank_g=size.rank_g)
    model = ModRwkv(ModRwkvConfig(backbone, tuple(categories)), config.loop.seed)
    known = labels if taught is None else np.where(np.isnan(labels), taught.scores, labels)
    n_known = (~np.isnan(known)).sum(0)
    share = np.clip((np.nansum(known, 0) + 0.5) / (n_known + 1), 1e-4, 1 - 1e-4)
    with torch.no_grad():
        model.categories.bias.copy_(torch.from_numpy(np.log(share / (1 - share)).astype(np.float32)))
    width = 1 if taught is None or taught.features is None else taught.features.shape[2]
    teach = config.teach if taught is not None else replace(config.teach, layers=(), hidden_weight=0.0)
    return Student(model, teach, width, config.loop.seed)


def describe(config: DistillConfig) -> dict[str, Any]:
    """Give the recipe without where files lay, or who was asked where."""
    table = asdict(config)
    return {key: value for key, value in table.items() if key not in {"data", "teacher", "lessons"}}


def _vocabulary(texts: list[str], vocab_size: int, path: Path) -> Tokenizer:
    """Learn the vocabulary, or read the one that an earlier start of this run learnt."""
    if path.is_file():
        return Tokenizer.from_json(path.read_text("utf-8"))
    tokenizer = train_vocabulary((normalize(text).text for text in texts), vocab_size)
    partial = path.with_suffix(".partial")
    partial.write_text(tokenizer.to_json(), "utf-8")
    partial.replace(path)
    return tokenizer


def _tokenize(split: DatasetColumns, tokenizer: Tokenizer) -> TokenRows:
    return pack([tokenizer.encode(normalize(text).text) for text in split.texts], split.labels)


def _lesson_facts(teacher: Teacher | None, taught: Taught | None) -> dict[str, Any]:
    if teacher is None or taught is None:
        return {"teacher": None}
    counts = {"asked": taught.n_asked, "kept": taught.n_kept, "failed": taught.n_failed}
    return {"teacher": teacher.name, "lessons": counts}


def _card(
    model: ModRwkv, facts: dict[str, Any], recipe: dict[str, Any], dataset: Path, digest: str
) -> dict[str, Any]:
    data = describe_data(read_dataset_manifest(dataset).facts, list(model.config.categories))
    return {
        "training": {**facts, **environment()},
        "data": {**data, "dataset": digest},
        "recipe": recipe,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def _write_policies(folder: Path, config: DistillConfig, rates: dict[str, Any]) -> None:
    """Write one TOML file a policy, whole or not at all."""
    folder.mkdir(exist_ok=True)
    for goal in GOALS:
        partial = folder / f"{goal.id}.partial"
        partial.write_text(policy_toml(goal, config.version, config.name, rates[goal.id]), "utf-8")
        partial.replace(folder / f"{goal.id}.toml")
