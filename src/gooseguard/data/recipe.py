"""A data recipe: what `gooseguard data build` reads from TOML, checked. Knows no rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from gooseguard.core.errors import ConfigError
from gooseguard.core.taxonomy import load_taxonomy, nearest
from gooseguard.data.cleaning import CleanConfig
from gooseguard.data.sources.source import SourceConfig  # noqa: TC001  (read_config resolves annotations)
from gooseguard.data.split import check_fractions


class NearDuplicates(StrEnum):
    """What happens to a row that is nearly equal to an older one of its split."""

    KEEP = "keep"
    DROP = "drop"


class HeldOutAction(StrEnum):
    """What happens to a row that stands, or nearly stands, in a held-out set."""

    DROP = "drop"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class DuplicateConfig:
    """What counts as a duplicate, and what is done with one."""

    similarity: float = 0.8
    """Jaccard similarity of the sets of character 5-grams from which two texts are near duplicates."""
    near: NearDuplicates = NearDuplicates.KEEP
    """Whether near duplicates stay, in one split, or only the oldest does."""
    image_distance: int = 6
    """Bits of 64 in which the perceptual hashes of near duplicate images differ at most, 0..6."""


@dataclass(frozen=True, slots=True)
class SplitConfig:
    """How rows are divided."""

    val_fraction: float = 0.10
    """Share of the clusters for val."""
    test_fraction: float = 0.12
    """Share of the clusters for test."""
    previous: str = ""
    """Folder of an earlier build: its rows keep their split, whatever else is added; empty for none."""


@dataclass(frozen=True, slots=True)
class HeldOutConfig:
    """A set that must not be trained on."""

    name: str
    """For counts and the card."""
    path: str
    """Keys or texts, one a line (`.txt`), sketches (`.npz`), or texts as `.jsonl` or `.jsonl.gz`."""
    action: HeldOutAction = HeldOutAction.DROP
    """Whether its rows and what is nearly equal to them are dropped, or are test rows."""


@dataclass(frozen=True, slots=True)
class PlanConfig:
    """A named way to draw training rows from what was built."""

    name: str
    """A training recipe or `--plan` names it."""
    cap: int = 0
    """Most rows of one source; 0 for no limit."""
    temperature: float = 1.0
    """Sizes of sources count to the power of this: 1 as they are, 0 all equal."""
    negatives: float = 0.0
    """Most rows without a positive label for each row with one; 0 for no limit."""
    floors: dict[str, int] = field(default_factory=dict)
    """Category to the least number of positive rows; rows are repeated to reach it."""
    most_repeats: int = 4
    """How often a floor may repeat one row."""
    epochs: dict[str, float] = field(default_factory=dict)
    """Source to how often its rows are seen; 1 where it is not named."""


@dataclass(frozen=True, slots=True)
class DataRecipe:
    """What to build a dataset from, and how."""

    name: str
    """Of the dataset; `--output` is `datasets/NAME` unless given."""
    sources: tuple[SourceConfig, ...]
    """In order of age: of equal rows the first gives the row its id, and decides the split."""
    root: str = ""
    """Folder that the paths of sources are relative to; else where the command runs, or the recipe lies."""
    seed: int = 0
    """Key of the split, and of drawing rows for a plan."""
    weak_categories: tuple[str, ...] = ("sexual", "self-harm")
    """Categories that a weak source may label; its other labels are left out."""
    cleaning: CleanConfig = field(default_factory=CleanConfig)
    """What is done to texts before they are compared."""
    duplicates: DuplicateConfig = field(default_factory=DuplicateConfig)
    """Exact and near duplicates."""
    split: SplitConfig = field(default_factory=SplitConfig)
    """Train, val and test."""
    held_out: tuple[HeldOutConfig, ...] = ()
    """Sets that must not be trained on."""
    plans: tuple[PlanConfig, ...] = ()
    """Ways to draw training rows, beside `original`."""
    shard_rows: int = 100_000
    """Most rows of one shard."""

    def __post_init__(self) -> None:
        where = f"data recipe {self.name!r}"
        if not self.sources:
            raise ConfigError(f"{where}: names no source; expected at least one [[sources]]")
        if not 0.5 <= self.duplicates.similarity <= 1.0:
            raise ConfigError(
                f"{where}: duplicates.similarity is {self.duplicates.similarity!r}, expected 0.5 to 1: "
                f"below that "
                "the search misses pairs"
            )
        if not 0 <= self.duplicates.image_distance <= 6:
            raise ConfigError(
                f"{where}: duplicates.image_distance is {self.duplicates.image_distance}, expected 0 to 6"
            )
        if self.shard_rows < 1:
            raise ConfigError(f"{where}: shard_rows is {self.shard_rows}, expected at least 1")
        check_fractions(self.split.val_fraction, self.split.test_fraction)
        _check_unique([held.name for held in self.held_out], f"{where}: held_out")
        _check_unique([ORIGINAL, *(plan.name for plan in self.plans)], f"{where}: plans")
        for plan in self.plans:
            check_plan(plan, f"{where}: plan {plan.name!r}")


ORIGINAL = "original"
"""The plan that every dataset has: each training row once."""


def resolve_paths(recipe: DataRecipe, folder: Path) -> DataRecipe:
    """Give the recipe with paths that are not there as they stand looked for in `folder`, its own."""

    def resolve(path: str) -> str:
        beside = folder / path
        return str(beside) if path and not Path(path).exists() and beside.exists() else path

    return replace(
        recipe,
        root="",
        sources=tuple(
            replace(
                source, path=resolve(str(Path(recipe.root) / source.path)), mapping=resolve(source.mapping)
            )
            for source in recipe.sources
        ),
        held_out=tuple(replace(held, path=resolve(held.path)) for held in recipe.held_out),
        split=replace(recipe.split, previous=resolve(recipe.split.previous)),
    )


def check_plan(plan: PlanConfig, where: str) -> None:
    """Check the numbers and names of a plan.

    Raises:
        ConfigError: one is out of range or unknown.
    """
    if not plan.name.replace("-", "").replace("_", "").isalnum():
        raise ConfigError(f"{where}: expected a name of letters, digits, - and _")
    for name, value, least, most in (
        ("cap", plan.cap, 0, 2**40),
        ("temperature", plan.temperature, 0.0, 1.0),
        ("negatives", plan.negatives, 0.0, 1e9),
        ("most_repeats", plan.most_repeats, 1, 1000),
    ):
        if not least <= value <= most:
            raise ConfigError(f"{where}: {name} is {value!r}, expected {least:g} to {most:g}")
    for source, epochs in plan.epochs.items():
        if not 0.0 <= epochs <= 100.0:
            raise ConfigError(f"{where}: epochs of {source!r} is {epochs!r}, expected 0 to 100")
    for category, floor in plan.floors.items():
        if category not in load_taxonomy():
            raise ConfigError(
                f"{where}: floors names {category!r}, no category{nearest(category, load_taxonomy())}"
            )
        if floor < 0:
            raise ConfigError(f"{where}: the floor of {category!r} is {floor}, expected at least 0")


def _check_unique(names: list[str], where: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{where}: {', '.join(twice)} stands twice; expected unique names")
