"""The stage dataset -> checkpoint: vocabulary, fit, calibrate, policies, card.

The same call resumes where a killed run left off.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from gooseguard.codec.layout import RwkvConfig
from gooseguard.codec.normalize import normalize
from gooseguard.codec.text_model import is_model_name
from gooseguard.codec.tokenizer import Tokenizer
from gooseguard.core.config import without_paths
from gooseguard.core.errors import ConfigError, DataError
from gooseguard.core.files import replacing, write_whole
from gooseguard.core.manifest import canonical_json, digest_file
from gooseguard.core.taxonomy import load_taxonomy
from gooseguard.data.build import BuildConfig  # noqa: TC001  (read_config resolves annotations)
from gooseguard.data.recipe import ORIGINAL
from gooseguard.data.shards import DatasetColumns, read_columns
from gooseguard.models.checkpoint import write_checkpoint
from gooseguard.models.mod_rwkv import ModRwkv, ModRwkvConfig
from gooseguard.training.batches import TokenRows, pack
from gooseguard.training.calibrate import apply_platt, fit_platt
from gooseguard.training.card import make_card
from gooseguard.training.embeddings import first_embedding
from gooseguard.training.loop import LoopConfig, Reporter, TrainingSet, fit, predict
from gooseguard.training.ngrams import FittedNgrams, NgramConfig, fit_ngrams
from gooseguard.training.objectives import make_targets
from gooseguard.training.resume import ResumePoints
from gooseguard.training.subwords import token_ngrams
from gooseguard.training.thresholds import GOALS, Rate, choose, policy_toml
from gooseguard.training.trainee import Trainee, source_offsets
from gooseguard.training.vocabulary import train_vocabulary

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from gooseguard.training.subwords import TokenNgrams

ORDINARY = ("benign_goemotions_unlabelled", "benign_dolly_instructions")
"""Sources of unselected text, on which flagged shares are reported."""


@dataclass(frozen=True, slots=True)
class ModelSize:
    """The sizes of the model to train."""

    n_layer: int = 3
    """Blocks."""
    n_embd: int = 256
    """Width."""
    head_size: int = 64
    """Width of a head."""
    vocab_size: int = 16384
    """Tokens of the vocabulary, bytes and the reserved token included."""
    rank_g: int = 64
    """LoRA rank of the gate; the other ranks are 32."""


@dataclass(frozen=True, slots=True)
class Aids:
    """What helps the training and is gone from the model that it leaves; all off by default."""

    shares_spelling: bool = False
    """Tokens share vectors of their n-grams (`training/subwords.py`)."""
    begins_by_company: bool = False
    """The embedding begins by which tokens stand beside which (`training/embeddings.py`)."""
    offsets_sources: bool = False
    """Each source and the teacher has an offset of its own (`training/trainee.py`)."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A recipe."""

    name: str
    """Name of the model."""
    version: str
    """Version of the policies that are written beside it."""
    data: BuildConfig
    """The dataset, built first where it is not there yet."""
    model: ModelSize = field(default_factory=ModelSize)
    """Sizes."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """How to fit."""
    least_positives: int = 50
    """A category with fewer positive validation rows is not scored."""
    rare_rows: int = 10_000
    """Rows annotated in a category with fewer annotated training rows than this …"""
    rare_repeats: int = 2
    """… are seen this often an epoch."""
    ngrams: NgramConfig = field(default_factory=NgramConfig)
    """The n-gram head beside the backbone."""
    teacher_weight: float = 0.0
    """Weight of the teacher's scores, where nobody annotated; 0 trains on labels alone."""
    aids: Aids = field(default_factory=Aids)
    """What helps the training."""
    plan: str = ORIGINAL
    """Which rows of train are seen, by the name of a plan of the dataset."""

    def __post_init__(self) -> None:
        # Here, and not after an hour of fitting.
        if not is_model_name(self.name):
            raise ConfigError(f"recipe: name is {self.name!r}, expected a name without spaces, @ and /")
        if not self.version:
            raise ConfigError('recipe: version is empty, expected one for the policies, such as "1"')


Say = Callable[[str], None]

Teacher = Callable[[DatasetColumns, DatasetColumns, Sequence[str]], "NDArray[np.float32]"]
"""Maps training and validation rows and categories to scores of the training rows, float32, (n, K), 0..1."""


def scored_categories(val: DatasetColumns, categories: list[str], least_positives: int) -> list[str]:
    """List the categories with enough validation rows of label at least 0.5, in taxonomy order."""
    positives = (np.nan_to_num(val.labels, nan=0.0) >= 0.5).sum(0)
    return [
        category for category, count in zip(categories, positives, strict=True) if count >= least_positives
    ]


def read_dataset(
    dataset: Path, least_positives: int, plan: str = ORIGINAL
) -> tuple[DatasetColumns, DatasetColumns, list[str]]:
    """Read training rows, as a plan draws them, and validation rows, with labels of the categories to score.

    Raises:
        DataError: no category has enough validation positives.
    """
    taxonomy = list(load_taxonomy())
    val, train = (read_columns(dataset, split, taxonomy, plan) for split in ("val", "train"))
    scored = scored_categories(val, taxonomy, least_positives)
    if not scored:
        raise DataError(f"{dataset}: no category has {least_positives} positive validation rows; add data")
    columns = [taxonomy.index(category) for category in scored]
    train, val = (replace(split, labels=split.labels[:, columns]) for split in (train, val))
    return train, val, scored


def tokenize(split: DatasetColumns, tokenizer: Tokenizer) -> TokenRows:
    """Give the tokens of the normalised texts of a split, and their labels."""
    return pack([tokenizer.encode(normalize(text).text) for text in split.texts], split.labels)


def learn_vocabulary(texts: list[str], vocab_size: int, work: Path) -> Tokenizer:
    """Train the vocabulary, or read the one that an earlier start of this run trained."""
    path = work / "vocabulary.json"
    if path.is_file():
        return Tokenizer.from_json(path.read_text("utf-8"))
    tokenizer = train_vocabulary((normalize(text).text for text in texts), vocab_size)
    write_whole(path, tokenizer.to_json())
    return tokenizer


def _repeats(rows: TokenRows, config: TrainConfig) -> NDArray[np.int64]:
    """Give how often an epoch sees each row: more often with rare labels, never with nothing to learn."""
    annotated = ~np.isnan(rows.labels)
    rare = annotated.sum(0) < config.rare_rows
    learnt = annotated.any(1) | (config.teacher_weight > 0)
    repeats = np.where(annotated[:, rare].any(1), config.rare_repeats, learnt)
    # A text that shows nothing, such as a lone zero-width space, has no tokens once it is normalised.
    return np.where(rows.lengths > 0, repeats, 0).astype(np.int64)


def _taught(
    teacher: Teacher | None,
    train: DatasetColumns,
    val: DatasetColumns,
    scored: list[str],
    work: Path,
    say: Say,
) -> NDArray[np.float32] | None:
    """Ask the teacher for scores of the training rows, or read what an earlier start of this run got."""
    if teacher is None:
        return None
    path = work / "teacher.npy"
    if not path.is_file():
        say("ask the teacher")
        taught = teacher(train, val, scored)
        with replacing(path) as partial, partial.open("wb") as stream:
            np.save(stream, taught)
    scores: NDArray[np.float32] = np.load(path)
    return scores


def _fit_ngrams(
    rows: TokenRows,
    val_rows: TokenRows,
    val_sources: Sequence[str],
    scored: Sequence[str],
    ngrams: TokenNgrams,
    config: NgramConfig,
    work: Path,
    say: Say,
) -> FittedNgrams:
    """Fit the n-gram head, or read what an earlier start of this run fitted."""
    path = work / "ngrams.safetensors"
    if not path.is_file():
        fitted = fit_ngrams(rows, val_rows, val_sources, scored, ngrams, config, say)
        with replacing(path) as partial:
            save_file(fitted.tensors, partial, {"strengths": canonical_json(fitted.strengths)})
    with safe_open(path, "np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
        return FittedNgrams(tensors, json.loads(file.metadata()["strengths"]))


def make_model(
    size: ModelSize, labels: NDArray[np.float32], categories: Sequence[str], vocab_size: int, seed: int
) -> ModRwkv:
    """Make the untrained model; its heads begin at each category's share of positives.

    Args:
        size: its sizes.
        labels: float32, (n, K), 0..1, NaN where nobody says anything.
        categories: of the K columns.
        vocab_size: tokens of the vocabulary.
        seed: of the initial weights.
    """
    backbone = RwkvConfig(size.n_layer, size.n_embd, vocab_size, head_size=size.head_size, rank_g=size.rank_g)
    model = ModRwkv(ModRwkvConfig(backbone, tuple(categories)), seed)
    share = (np.nansum(labels, 0) + 0.5) / ((~np.isnan(labels)).sum(0) + 1)
    with torch.no_grad():
        model.categories.bias.copy_(torch.from_numpy(np.log(share / (1 - share)).astype(np.float32)))
    return model


def _begin_by_company(model: ModRwkv, rows: TokenRows, config: TrainConfig) -> None:
    embedding = model.backbone.emb.weight
    vocab_size, width = embedding.shape
    company = first_embedding(rows, vocab_size, width, config.loop.longest, config.loop.seed)
    with torch.no_grad():
        # A token that no text holds beside another keeps its random start.
        found = torch.from_numpy(company)
        embedding.copy_(torch.where((found != 0).any(1, keepdim=True), found, embedding))


def train(
    config: TrainConfig,
    dataset: Path,
    output: Path,
    report: Reporter,
    say: Say,
    teacher: Teacher | None = None,
) -> Path:
    """Train, calibrate and write the checkpoint folder `output`/checkpoint, and policies beside it.

    Args:
        config: the recipe.
        dataset: a dataset folder.
        output: folder of the run; what a resumed run needs lies in its `work`.
        report: told where training stands, after every step.
        say: told which phase begins.
        teacher: whose scores are learnt where nobody annotated, at `config.teacher_weight`.

    Returns:
        The checkpoint folder.

    Raises:
        DataError: no category has enough validation positives.
        ArtefactError: the run was begun with another recipe or other data.
    """
    say("read dataset")
    train_split, val, scored = read_dataset(dataset, config.least_positives, config.plan)
    work = output / "work"
    work.mkdir(parents=True, exist_ok=True)
    say("train vocabulary")
    tokenizer = learn_vocabulary(train_split.texts, config.model.vocab_size, work)
    taught = _taught(teacher, train_split, val, scored, work, say)
    say("tokenise")
    rows, val_rows = (tokenize(split, tokenizer) for split in (train_split, val))
    spelling = token_ngrams(tokenizer)
    fitted = None
    if config.ngrams.pairs:
        say("fit the n-gram head")
        fitted = _fit_ngrams(rows, val_rows, val.sources, scored, spelling, config.ngrams, work, say)
    offsets = source_offsets(rows.labels, train_split.sources) if config.aids.offsets_sources else None
    sources = None if offsets is None else offsets.number(train_split.sources)
    targets = make_targets(rows.labels, sources, taught, config.teacher_weight)
    data = TrainingSet(rows, targets, _repeats(rows, config), val_rows)
    manifest_digest = digest_file(dataset / "manifest.json")
    recipe = asdict(config)
    fingerprint = hashlib.sha256(canonical_json({**recipe, "data": manifest_digest}).encode()).hexdigest()
    model = make_model(config.model, rows.labels, scored, tokenizer.vocab_size, config.loop.seed)
    if config.aids.begins_by_company:
        _begin_by_company(model, rows, config)
    trainee = Trainee(model, spelling if config.aids.shares_spelling else None, offsets)
    say("fit")
    facts = fit(trainee, data, config.loop, ResumePoints(work / "resume", fingerprint), report)
    trainee.finish()
    if fitted:
        model.add_ngrams(fitted.tensors)
        facts = {**facts, "ngram_strengths": fitted.strengths}
    say("calibrate")
    logits = predict(model, val_rows)
    calibration = calibrate(logits, val_rows.labels, scored)
    checkpoint = write_checkpoint(
        output / "checkpoint",
        model,
        name=config.name,
        tokenizer=tokenizer,
        calibration=calibration,
        languages=sorted({tag for tag in train_split.languages if tag}),
        card=make_card(model, facts, recipe | {"data": without_paths(recipe["data"])}, dataset),
        config=recipe,
        inputs={"dataset": manifest_digest},
    )
    say("choose thresholds")
    rates = validation_rates(logits, val, scored, calibration)
    write_policies(output / "policies", config.name, config.version, rates)
    return checkpoint


def calibrate(
    logits: NDArray[np.float32], labels: NDArray[np.float32], categories: list[str]
) -> dict[str, dict[str, float]]:
    """Fit scale and bias of every category on its annotated rows; logits and labels are float32, (n, K)."""
    calibration = {}
    for k, category in enumerate(categories):
        rows = ~np.isnan(labels[:, k]) & ~np.isnan(logits[:, k])
        scale, bias = fit_platt(logits[rows, k], labels[rows, k])
        calibration[category] = {"scale": scale, "bias": bias}
    return calibration


def validation_rates(
    logits: NDArray[np.float32],
    val: DatasetColumns,
    categories: list[str],
    calibration: Mapping[str, Mapping[str, float]],
) -> dict[str, dict[str, tuple[Rate, Rate]]]:
    """Choose every policy's thresholds: policy id to category to review and block rate.

    Args:
        logits: float32, (n, K), NaN for a text without tokens.
        val: validation rows, labels (n, K).
        categories: of the K columns.
        calibration: scale and bias of each category.
    """
    sources = np.array(val.sources)
    rates: dict[str, dict[str, tuple[Rate, Rate]]] = {goal.id: {} for goal in GOALS}
    for k, category in enumerate(categories):
        scores = apply_platt(logits[:, k], calibration[category]["scale"], calibration[category]["bias"])
        labels = val.labels[:, k]
        rows = ~np.isnan(labels) & ~np.isnan(scores)
        ordinary = {source: scores[(sources == source) & ~np.isnan(scores)] for source in ORDINARY}
        for goal in GOALS:
            review, block = (
                choose(scores[rows], labels[rows] >= 0.5, ordinary, *bounds)
                for bounds in (
                    (goal.review_fpr, goal.review_ordinary),
                    (goal.block_fpr, goal.block_ordinary),
                )
            )
            rates[goal.id][category] = (review, block)
    return rates


def write_policies(
    folder: Path, model: str, version: str, rates: Mapping[str, Mapping[str, tuple[Rate, Rate]]]
) -> None:
    """Write one TOML file a policy for the model of that name, whole or not at all."""
    folder.mkdir(exist_ok=True)
    for goal in GOALS:
        write_whole(folder / f"{goal.id}.toml", policy_toml(goal, version, model, rates[goal.id]))
