"""A named way to draw training rows -> which rows, how often. Knows no texts.

In this order: a source's cap, temperature, epochs; then the limit on rows without a positive label; then
the floors. Which rows of a source are drawn depends on the rows themselves: a source that is added changes
nothing in another's.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gooseguard.core.errors import ArtefactError, ConfigError
from gooseguard.core.taxonomy import nearest
from gooseguard.data.arrow import import_arrow
from gooseguard.data.recipe import ORIGINAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gooseguard.data.recipe import PlanConfig

I64 = npt.NDArray[np.int64]

FOLDER = "plans"
"""Folder of the plans within a dataset."""


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """What a plan draws from: the rows of train, in order."""

    source: npt.NDArray[np.int32]
    """int32, (n,): position in `sources`."""
    sources: tuple[str, ...]
    """Names, sorted."""
    positive: npt.NDArray[np.bool_]
    """bool, (n, n_categories): a label of at least 0.5."""
    categories: tuple[str, ...]
    """Names, in the order of the columns."""
    chance: npt.NDArray[np.float64]
    """float64, (n,), 0..1: the rows with the smallest are drawn first; see `row_chance`."""


def row_chance(row_id: str, seed: int) -> float:
    """Give a row's number, 0..1, the same in every build."""
    digest = hashlib.blake2b(row_id.encode("utf-8", "surrogatepass"), digest_size=8, key=str(seed).encode())
    return int.from_bytes(digest.digest(), "big") / 2**64


def draw(plan: PlanConfig, rows: TrainingRows) -> tuple[I64, dict[str, Any]]:
    """Draw rows; give them, int64, (n_drawn,), ascending with repeats, and what was drawn.

    Raises:
        ConfigError: the plan names a source that is not there.
    """
    for source in plan.epochs:
        if source not in rows.sources:
            raise ConfigError(
                f"plan {plan.name!r}: epochs names {source!r}, no source of the dataset"
                f"{nearest(source, rows.sources)}"
            )
    repeats = _of_sources(plan, rows)
    _limit_negatives(plan, rows, repeats)
    short = _raise_to_floors(plan, rows, repeats)
    drawn = np.repeat(np.arange(repeats.size), repeats)
    positives = (rows.positive * repeats[:, None]).sum(axis=0)
    of_source = np.bincount(rows.source, weights=repeats, minlength=len(rows.sources)).astype(int)
    facts = {
        "rows": int(drawn.size),
        "distinct_rows": int((repeats > 0).sum()),
        "sources": dict(zip(rows.sources, of_source.tolist(), strict=True)),
        "positive": dict(zip(rows.categories, positives.tolist(), strict=True)),
        "floors_not_reached": short,
    }
    return drawn, facts


def _of_sources(plan: PlanConfig, rows: TrainingRows) -> I64:
    """Give how often each row is drawn, by its source alone; int64, (n,)."""
    sizes = np.bincount(rows.source, minlength=len(rows.sources)).astype(np.float64)
    wanted = np.minimum(sizes, plan.cap) if plan.cap else sizes
    if plan.temperature < 1.0:
        # Sources without rows stay without; the total stays what it was.
        raised = np.where(wanted > 0, np.maximum(wanted, 1.0) ** plan.temperature, 0.0)
        wanted = raised * (wanted.sum() / max(raised.sum(), 1.0))
        wanted = np.minimum(wanted, sizes * plan.most_repeats)
    wanted = wanted * np.array([plan.epochs.get(source, 1.0) for source in rows.sources])
    repeats = np.zeros(rows.source.size, np.int64)
    order = np.lexsort((rows.chance, rows.source))
    begins = np.cumsum(sizes) - sizes
    for begin, size, target in zip(
        begins.astype(int), sizes.astype(int), np.rint(wanted).astype(int), strict=True
    ):
        if size:
            whole, rest = divmod(int(target), int(size))
            members = order[begin : begin + size]
            repeats[members] = whole
            repeats[members[:rest]] += 1
    return repeats


def _limit_negatives(plan: PlanConfig, rows: TrainingRows, repeats: I64) -> None:
    if not plan.negatives:
        return
    is_positive = rows.positive.any(axis=1)
    limit = int(plan.negatives * repeats[is_positive].sum())
    candidates = np.flatnonzero(~is_positive & (repeats > 0))
    candidates = candidates[np.argsort(rows.chance[candidates], kind="stable")]
    before = np.cumsum(repeats[candidates]) - repeats[candidates]
    repeats[candidates] = np.clip(limit - before, 0, repeats[candidates])


def _raise_to_floors(plan: PlanConfig, rows: TrainingRows, repeats: I64) -> dict[str, int]:
    """Repeat positive rows until each floor is reached; give what could not be."""
    short: dict[str, int] = {}
    for category, floor in plan.floors.items():
        column = rows.categories.index(category) if category in rows.categories else None
        members = np.flatnonzero(rows.positive[:, column]) if column is not None else np.zeros(0, np.int64)
        members = members[np.argsort(rows.chance[members], kind="stable")]
        missing = floor - int(repeats[members].sum())
        while missing > 0:
            # Round by round, so that no row is repeated twice before each was once.
            least = members[repeats[members] < plan.most_repeats]
            if not least.size:
                short[category] = missing
                break
            fewest = repeats[least].min()
            chosen = least[repeats[least] == fewest][:missing]
            repeats[chosen] += 1
            missing -= int(chosen.size)
    return short


def read_training_rows(paths: Sequence[Path], seed: int) -> TrainingRows:
    """Read what plans need from the shards of train, shard by shard."""
    parquet = import_arrow("pyarrow.parquet")
    sources: list[str] = []
    chances: list[float] = []
    positives: list[tuple[str, ...]] = []
    # One tuple for each combination that occurs, of which there are few.
    known: dict[tuple[str, ...], tuple[str, ...]] = {}
    for path in paths:
        table = parquet.read_table(path, columns=["id", "source", "labels"])
        sources += [sys.intern(name) for name in table["source"].to_pylist()]
        chances += [row_chance(row_id, seed) for row_id in table["id"].to_pylist()]
        for labels in table["labels"].to_pylist():
            found = tuple(sorted(name for name, value in labels if value >= 0.5))
            positives.append(known.setdefault(found, found))
    ordered = tuple(sorted(set(sources)))
    categories = tuple(sorted({name for found in known for name in found}))
    position = {name: number for number, name in enumerate(ordered)}
    column = {name: number for number, name in enumerate(categories)}
    matrix = np.zeros((len(sources), len(categories)), bool)
    for row, found in enumerate(positives):
        for name in found:
            matrix[row, column[name]] = True
    return TrainingRows(
        np.array([position[name] for name in sources], np.int32),
        ordered,
        matrix,
        categories,
        np.array(chances, np.float64),
    )


def write_plan(folder: Path, name: str, drawn: I64) -> Path:
    """Write the rows of a plan beside the shards; give the file."""
    arrow, parquet = import_arrow(), import_arrow("pyarrow.parquet")
    path = folder / FOLDER / f"{name}.parquet"
    path.parent.mkdir(exist_ok=True)
    parquet.write_table(arrow.table({"row": arrow.array(drawn, arrow.int64())}), path, compression="zstd")
    return path


def read_plan(folder: Path, name: str, files: Mapping[str, str]) -> I64 | None:
    """Read which rows of train a plan draws, int64, (n,); `None` for all of them once.

    Args:
        folder: the dataset.
        name: of the plan.
        files: those of the dataset's manifest.

    Raises:
        ArtefactError: the dataset has no such plan.
    """
    if name == ORIGINAL:
        return None
    path = f"{FOLDER}/{name}.parquet"
    if path not in files:
        known = [ORIGINAL, *(file[len(FOLDER) + 1 : -8] for file in files if file.startswith(f"{FOLDER}/"))]
        raise ArtefactError(
            f"dataset {folder.name}: has no plan {name!r}; expected one of {', '.join(known)}"
            f"{nearest(name, known)}"
        )
    table = import_arrow("pyarrow.parquet").read_table(folder / path)
    return np.asarray(table["row"], np.int64)
