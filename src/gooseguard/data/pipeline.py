"""The stage recipe -> dataset, at any size: read, clean, find duplicates, split, draw plans, write.

What is between the steps lies in a work folder beside the dataset, `.NAME.work`: a run that was stopped
goes on from it, and the dataset appears whole or not at all. Bytes depend on recipe, inputs and versions,
not on workers or machines.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gooseguard.core.config import without_paths
from gooseguard.core.errors import ArtefactError, ConfigError, DataError
from gooseguard.core.files import write_whole
from gooseguard.core.manifest import Manifest, digest_file, write_manifest
from gooseguard.data.assign import (
    FREE,
    HELD_OUT,
    KeyList,
    assign,
    count_outcomes,
    fixed_outcomes,
    own_splits,
)
from gooseguard.data.batches import (
    BATCH_ROWS,
    ReadFacts,
    Reading,
    digest_inputs,
    facts_table,
    read_facts,
    read_held_out_texts,
    spill,
)
from gooseguard.data.build import TEST_KEYS, read_keys
from gooseguard.data.dataset_card import CARD, write_card
from gooseguard.data.neighbours import read_index
from gooseguard.data.plans import draw, read_training_rows, write_plan
from gooseguard.data.prepare import TEXT, PrepareTask, prepare, prepared_path
from gooseguard.data.recipe import ORIGINAL, HeldOutAction
from gooseguard.data.shards import KIND, read_keys_of
from gooseguard.data.sketches import SKETCHES, Sketches, near_sketches, read_sketches, write_sketches
from gooseguard.data.sources import open_source
from gooseguard.data.split import SPLITS
from gooseguard.data.stratification import check_stratification
from gooseguard.data.tables import MEDIA
from gooseguard.data.work_folder import claim, open_work
from gooseguard.data.write import RowPlaces, add_counts, plan_shards, write_shard

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gooseguard.data.assign import Assignment
    from gooseguard.data.executor import Executor
    from gooseguard.data.neighbours import Index
    from gooseguard.data.recipe import DataRecipe
    from gooseguard.data.sources import Source

FORMAT_VERSION = 2
"""Of the datasets that this stage writes."""

Progress = Callable[[str, int, int], None]
"""Told the step, and how much of how much of it is done; 0 where the whole is not known yet."""


@dataclass(slots=True)
class Inputs:
    """What a build reads."""

    readings: list[Reading]
    """Held-out texts, then sources, in the order of the recipe."""
    sources: list[Source]
    """The sources among them."""
    key_lists: list[KeyList]
    """Keys whose rows have their place already; the first that has a key decides."""
    held_out: dict[int, str] = field(default_factory=dict)
    """Number of each held-out set to its name."""
    sketches: dict[int, Sketches] = field(default_factory=dict)
    """Place of a list in `key_lists` to the sketches behind its keys, where there are some."""
    digests: dict[str, str] = field(default_factory=dict)
    """Name of each input to its SHA-256."""


def build_dataset(
    recipe: DataRecipe,
    output: Path,
    executor: Executor,
    progress: Progress | None = None,
    *,
    restart: bool = False,
) -> Path:
    """Build a dataset folder at `output`; give its path. Goes on where an earlier run was stopped.

    Args:
        recipe: what to build.
        output: the dataset; must not exist yet.
        executor: where the pieces run.
        progress: told how far each step is.
        restart: throw away what an earlier run left.

    Raises:
        ConfigError: the recipe is wrong, `output` exists or is being built, or a package is missing.
        DataError: a source is missing or wrong; names file and row.
        ArtefactError: an earlier run with another recipe or other inputs was left, or the disk is full.
    """
    report = progress or (lambda step, done, total: None)
    try:
        with open_work(output, restart=restart) as work:
            if output.exists():
                raise ConfigError(f"dataset {output}: exists already; remove it or name another folder")
            _build(recipe, output, work, executor, report)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else type(error).__name__
        raise ArtefactError(
            f"dataset {output}: cannot be written ({why}); make room, or mend that, and run the same command "
            f"again: it goes on from .{output.name}.work"
        ) from None
    return output


def _build(recipe: DataRecipe, output: Path, work: Path, executor: Executor, report: Progress) -> None:
    report("digest inputs", 0, 0)
    inputs = open_inputs(recipe)
    state = {
        "recipe": without_paths(asdict(recipe)),
        "inputs": inputs.digests,
        "code_version": version("gooseguard"),
        "batch_rows": BATCH_ROWS,
    }
    claim(work, state)
    read, summaries = _prepare_all(recipe, inputs, work, executor, report)
    index = read_index(work, sum(facts.n_batches for facts in read))
    assignment = _assign(recipe, inputs, read, index, work, report)
    is_test = (assignment.outcome == SPLITS.index("test")) & (index.kind == TEXT)
    write_sketches(work / "out" / SKETCHES, Sketches(index.key[is_test], index.bands[:, is_test]))
    places = RowPlaces(index.batch, index.key)
    # Most of the index is bands, which nothing below asks for.
    del index
    facts = _write_all(recipe, inputs, places, assignment, work, executor, report)
    facts |= _facts_of(inputs, read, summaries, assignment)
    _finish(recipe, inputs, facts, work, output)


def open_inputs(recipe: DataRecipe) -> Inputs:
    """Open everything that a recipe names, and take digests; reads no row.

    Raises:
        ConfigError: a source, a held-out set or the earlier build is not there.
        DataError: a file cannot be read.
    """
    readings: list[Reading] = []
    sources: list[Source] = []
    key_lists: list[KeyList] = []
    held_out: dict[int, str] = {}
    sketches: dict[int, Sketches] = {}
    digests: dict[str, str] = {}
    for number, held in enumerate(recipe.held_out):
        held_out[number] = held.name
        outcome = SPLITS.index("test") if held.action is HeldOutAction.TEST else HELD_OUT + number
        path = Path(held.path)
        if path.suffix == ".txt" and _holds_keys(path):
            keys = np.array(sorted(int(key, 16) for key in read_keys(path)), np.uint64)
            key_lists.append(KeyList(keys, np.full(keys.size, outcome, np.int16)))
        elif path.suffix == ".npz":
            sketches[len(key_lists)] = found = read_sketches(path)
            key_lists.append(KeyList(found.keys, np.full(found.keys.size, outcome, np.int16)))
        else:
            readings.append(Reading(held.name, partial(read_held_out_texts, held), held_out=held.name))
        digests |= digest_inputs(f"held_out {held.name}", [(path.name, path)])
    if recipe.split.previous:
        key_lists.append(_previous_splits(Path(recipe.split.previous)))
        digests |= {"previous": digest_file(Path(recipe.split.previous) / "manifest.json")}
    for config in recipe.sources:
        for source in open_source(config):
            if any(source.card.name == other.card.name for other in sources):
                raise ConfigError(f"source {source.card.name!r} is named twice; expected each set once")
            sources.append(source)
            readings.append(Reading(source.card.name, source.rows, config.on_fault))
            digests |= digest_inputs(
                source.card.name, ((source.name_of(file), file) for file in source.files)
            )
    return Inputs(readings, sources, key_lists, held_out, sketches, digests)


def _holds_keys(path: Path) -> bool:
    """Say whether a text file begins with a key, as a file of keys does; an empty one holds texts."""
    try:
        with path.open("rb") as stream:
            first = stream.readline(64).strip()
    except OSError as error:
        raise ConfigError(
            f"held_out {path.name}: {error.strerror}; expected a file of keys or texts"
        ) from None
    return len(first) == 16 and all(character in b"0123456789abcdef" for character in first)


def _previous_splits(folder: Path) -> KeyList:
    """Give the key of every row of an earlier build, and its split."""
    found = {int(key, 16): code for code, split in enumerate(SPLITS) for key in read_keys_of(folder, split)}
    keys = np.array(sorted(found), np.uint64)
    return KeyList(keys, np.array([found[key] for key in sorted(found)], np.int16))


def _prepare_all(
    recipe: DataRecipe, inputs: Inputs, work: Path, executor: Executor, report: Progress
) -> tuple[list[ReadFacts], list[dict[str, Any]]]:
    """Read, clean and index everything; give what was read, and the summary of each batch."""
    is_weak = {source.card.name for source in inputs.sources if source.card.weak}

    def tasks() -> Iterator[PrepareTask]:
        for batch, reading in spill(
            inputs.readings, work, lambda number: prepared_path(work, number).is_dir()
        ):
            names.append(reading.name)
            categories = recipe.weak_categories if reading.name in is_weak else None
            yield PrepareTask(
                str(work), batch, recipe.seed, recipe.cleaning, categories, bool(reading.held_out)
            )

    names: list[str] = []
    summaries: list[dict[str, Any]] = []
    n_rows = 0
    for summary in executor.map(prepare, tasks()):
        summaries.append(summary)
        n_rows += summary["rows"]
        report(f"read and clean ({names[-1]})", n_rows, 0)
    if not n_rows:
        raise DataError("the sources hold no usable row; expected at least one")
    return read_facts(work, len(inputs.readings)), summaries


def _assign(
    recipe: DataRecipe,
    inputs: Inputs,
    read: Sequence[ReadFacts],
    index: Index,
    work: Path,
    report: Progress,
) -> Assignment:
    """Decide what becomes of each row; rows of held-out texts come out as held out."""
    fixed, ages = fixed_outcomes(index.key, inputs.key_lists)
    for number, sketches in inputs.sketches.items():
        near = near_sketches(index.bands, sketches.bands, recipe.duplicates.similarity)
        near &= (index.kind == TEXT) & (fixed == FREE)
        fixed[near], ages[near] = inputs.key_lists[number].outcomes[:1], number
    # Held-out texts are older than anything, and equal to nothing: a row must not be merged into one.
    ages += 1
    actions = {held.name: (number, held.action) for number, held in enumerate(recipe.held_out)}
    is_held = np.zeros(index.key.size, bool)
    for reading, facts in zip(inputs.readings, read, strict=True):
        if not reading.held_out:
            continue
        number, action = actions[reading.held_out]
        rows = (index.batch >= facts.first_batch) & (index.batch < facts.first_batch + facts.n_batches)
        fixed[rows] = SPLITS.index("test") if action is HeldOutAction.TEST else HELD_OUT + number
        ages[rows], is_held[rows] = 0, True
    index.exact[is_held, 0] = np.flatnonzero(is_held)
    index.exact[is_held, 1] = 0
    own = own_splits(index.point, recipe.split.val_fraction, recipe.split.test_fraction)
    assignment = assign(
        index,
        work,
        fixed,
        ages,
        own,
        recipe.duplicates,
        lambda done, total: report("find near duplicates", done, total),
    )
    assignment.outcome[is_held] = FREE
    return assignment


def _write_all(
    recipe: DataRecipe,
    inputs: Inputs,
    places: RowPlaces,
    assignment: Assignment,
    work: Path,
    executor: Executor,
    report: Progress,
) -> dict[str, Any]:
    """Write shards, keys of the test rows and plans into `work/out`; give what is in them."""
    weak = tuple(source.card.name for source in inputs.sources if source.card.weak)
    tasks = plan_shards(places, assignment, work, weak, recipe.shard_rows)
    of_split: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    disputed: Counter[str] = Counter()
    for number, (task, facts) in enumerate(zip(tasks, executor.map(write_shard, tasks), strict=True)):
        of_split[task.split].append(facts["counts"])
        disputed.update(facts["disputed"])
        report("write", number + 1, len(tasks))
    counts = {split: add_counts(shards) for split, shards in of_split.items()}
    out = work / "out"
    tested = np.unique(places.key[assignment.outcome == SPLITS.index("test")])
    write_whole(out / TEST_KEYS, "".join(f"{key:016x}\n" for key in tested.tolist()))
    report("draw plans", 0, 0)
    shards = [out / f"{task.name}.parquet" for task in tasks if task.split == "train"]
    plans: dict[str, Any] = {}
    if recipe.plans:
        rows = read_training_rows(shards, recipe.seed)
        for plan in recipe.plans:
            drawn, plans[plan.name] = draw(plan, rows)
            write_plan(out, plan.name, drawn)
    return {
        "counts": counts,
        "equal_contents_with_different_labels": dict(sorted(disputed.items())),
        "plans": {ORIGINAL: {"rows": counts["train"]["rows"]}, **plans},
        "stratification": check_stratification(counts, recipe.split),
    }


def _facts_of(
    inputs: Inputs,
    read: Sequence[ReadFacts],
    summaries: Sequence[dict[str, Any]],
    assignment: Assignment,
) -> dict[str, Any]:
    dropped: Counter[str] = Counter()
    done: Counter[str] = Counter()
    held_batches = {
        batch
        for reading, facts in zip(inputs.readings, read, strict=True)
        if reading.held_out
        for batch in range(facts.first_batch, facts.first_batch + facts.n_batches)
    }
    for batch, summary in enumerate(summaries):
        if batch not in held_batches:
            dropped.update(summary["dropped"])
            done.update(summary["done"])
    dropped.update(count_outcomes(assignment.outcome, inputs.held_out))
    kept = (assignment.outcome >= 0) & (assignment.outcome < len(SPLITS))
    sizes = np.bincount(assignment.cluster[kept], minlength=1)
    sources = [facts for reading, facts in zip(inputs.readings, read, strict=True) if not reading.held_out]
    return {
        "code_version": version("gooseguard"),
        "rows_read": sum(facts.n_rows for facts in sources),
        "dropped": dict(sorted(dropped.items())),
        "cleaned": dict(sorted(done.items())),
        "skipped": {facts.name: facts_table(facts) for facts in sources if facts.faults},
        "near_duplicate_pairs": assignment.n_pairs,
        "clusters": {
            "count": int((sizes > 0).sum()),
            "rows_with_near_duplicates": int(sizes[sizes > 1].sum()),
            "largest": int(sizes.max()),
        },
        "held_out": {
            inputs.held_out[number]: int((assignment.outcome == HELD_OUT + number).sum())
            for number in inputs.held_out
        },
        "sets": {source.card.name: asdict(source.card) for source in inputs.sources},
        "sets_read": {facts.name: facts.n_rows for facts in sources},
    }


def _finish(recipe: DataRecipe, inputs: Inputs, facts: dict[str, Any], work: Path, output: Path) -> None:
    """Write card and manifest, and rename the folder into its place."""
    out = work / "out"
    if (work / MEDIA).is_dir():
        (work / MEDIA).replace(out / MEDIA)
    # What a killed run was writing lies there under its process's number.
    for path in [*out.glob("*.json"), *out.rglob("*.partial")]:
        path.unlink()
    write_whole(out / CARD, write_card(recipe.name, facts))
    files = {
        path.relative_to(out).as_posix(): digest_file(path)
        for path in sorted(out.rglob("*"))
        # A medium's name is its digest; rows name it.
        if path.is_file() and path.relative_to(out).parts[0] != MEDIA
    }
    manifest = Manifest(KIND, FORMAT_VERSION, without_paths(asdict(recipe)), inputs.digests, files, facts)
    write_manifest(out, manifest)
    out.replace(output)
    shutil.rmtree(work, ignore_errors=True)
