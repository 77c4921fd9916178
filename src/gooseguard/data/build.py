"""The stage sources -> dataset: read, drop, merge exact duplicates, cluster near ones, split, write."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gooseguard.core.errors import ConfigError, DataError
from gooseguard.core.example import Example
from gooseguard.core.manifest import digest_file
from gooseguard.data.dedup import (
    KEY_DIGITS,
    SIMILARITY,
    Lsh,
    dedup_form,
    dedup_key,
    form_key,
    literal_form,
    near_duplicate_clusters,
)
from gooseguard.data.mapping import SourceSet, read_mapping
from gooseguard.data.shards import DatasetRow, read_split, write_shards
from gooseguard.data.sources.labelled_text import read_set
from gooseguard.data.split import SPLITS, assign_splits, check_fractions

if TYPE_CHECKING:
    from gooseguard.data.sources.source import SourceRow

Progress = Callable[[str, int, int], None]
"""Told the step, and how much of how much of it is done."""

TEST_KEYS = "test-keys.txt"
"""File beside the shards: the key of each test text, one a line, to hold them out of later releases."""


@dataclass(frozen=True, slots=True)
class BuildConfig:
    """What to build a text dataset from, and how."""

    root: str = ""
    """Folder of the labelled text sets; needed."""
    groups: tuple[str, ...] = ("open", "weak")
    """Groups of sets to read."""
    weak_categories: tuple[str, ...] = ("sexual", "self-harm")
    """Categories that a weak set may label; its other labels are left out."""
    seed: int = 0
    """Of the split and of the MinHash functions."""
    val_fraction: float = 0.10
    """Share of the clusters for val."""
    test_fraction: float = 0.12
    """Share of the clusters for test."""
    similarity: float = SIMILARITY
    """Jaccard similarity of shingles from which two texts are near duplicates."""
    longest: int = 20_000
    """Most characters of a text; longer ones are dropped."""
    held_out: str = ""
    """File with the keys of an earlier release's test set, one a line; empty for none."""


def build(config: BuildConfig, output: Path, progress: Progress | None = None) -> Path:
    """Build a dataset folder at `output`; give its path.

    Texts that say the same (see `literal_form`) become one row. Its label in a category is the mean of those
    given by people who read the text, or of the weak ones where nobody did; the manifest counts the texts
    whose labels differ. Rows without any label are kept: they are ordinary text.

    Raises:
        ConfigError: a setting is wrong, `output` exists, or pyarrow is not installed.
        DataError: a source is missing or malformed; names file and line.
    """
    report = progress or (lambda step, done, total: None)
    if not config.root:
        raise ConfigError(
            "root is missing; add it, pass --set data.root=…, or name a --dataset that is built"
        )
    check_fractions(config.val_fraction, config.test_fraction)
    if not 0.0 < config.similarity <= 1.0:
        raise ConfigError(f"similarity is {config.similarity!r}, expected above 0 and at most 1")
    if output.exists():
        raise ConfigError(f"dataset {output.name}: exists already; remove it or name another folder")
    held_out = read_keys(Path(config.held_out)) if config.held_out else frozenset()
    mapping = read_mapping()
    sets = mapping.select(config.groups)
    read, dropped = _read_sets(config, sets, mapping.labels, report)
    if not read:
        raise DataError(f"groups {', '.join(config.groups)}: hold no usable text; expected at least one")
    rows, merge_facts = merge_duplicates(read, frozenset(source.name for source in sets if source.weak))
    del read
    report("find near duplicates", 0, 1)
    forms = [dedup_form(row.example.content.parts[0].text) for row in rows]
    keys = [form_key(form) for form in forms]
    clusters, cluster_sizes = _cluster(keys, forms, config)
    splits = assign_splits(keys, clusters, config.val_fraction, config.test_fraction, config.seed, held_out)
    report("find near duplicates", 1, 1)
    of_split: dict[str, list[DatasetRow]] = {split: [] for split in SPLITS}
    for row, split in zip(rows, splits, strict=True):
        of_split[split].append(DatasetRow(row.example, split, row.native))
    facts = {
        "code_version": version("gooseguard"),
        "dropped": dropped,
        **merge_facts,
        "clusters": cluster_sizes,
        "held_out_keys": len(held_out),
        "counts": count_rows(of_split),
        "sets": {source.name: asdict(source) for source in sets},
    }
    inputs = {source.path: digest_file(Path(config.root) / source.path) for source in sets}
    tested = sorted({key for key, split in zip(keys, splits, strict=True) if split == "test"})
    extra = {TEST_KEYS: "".join(f"{key}\n" for key in tested).encode()}
    report("write", 0, 1)
    write_shards(output, of_split, asdict(config), inputs, facts, extra)
    report("write", 1, 1)
    return output


def test_keys(folder: Path) -> list[str]:
    """Give the keys of a dataset's test texts, ascending and unique.

    Raises:
        ArtefactError: the folder is no complete dataset.
    """
    return sorted(
        {dedup_key(part.text) for row in read_split(folder, "test") for part in row.example.content.parts}
    )


def read_keys(path: Path) -> frozenset[str]:
    """Read a file of keys, one a line.

    Raises:
        ConfigError: the file is missing, or a line is no key.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"held_out {path.name}: {type(error).__name__}; expected a file of keys, one a line"
        ) from None
    for number, line in enumerate(lines, start=1):
        if not re.fullmatch(f"[0-9a-f]{{{KEY_DIGITS}}}", line):
            raise ConfigError(
                f"held_out {path.name}, line {number}: is no key; expected {KEY_DIGITS} hex digits"
            )
    return frozenset(lines)


@dataclass(frozen=True, slots=True)
class MergedRow:
    """One text, with what all its rows said of it."""

    example: Example
    """Id, content and source of the first row; labels and subgroups of all."""
    native: str
    """JSON, see `DatasetRow.native`."""


def merge_duplicates(
    rows: Sequence[SourceRow], weak: frozenset[str]
) -> tuple[list[MergedRow], dict[str, Any]]:
    """Make rows that say the same into one each, in order of their first; give them and what was found.

    Args:
        rows: rows of one text each.
        weak: names of sets whose labels count only where no other set labels the category.
    """
    groups: dict[str, list[SourceRow]] = {}
    for row in rows:
        groups.setdefault(literal_form(row.example.content.parts[0].text), []).append(row)
    conflicts: Counter[str] = Counter()
    merged: list[MergedRow] = []
    for group in groups.values():
        first = group[0].example
        labels, disputed = merge_labels(
            [row.example.annotated for row in group], [row.example.source in weak for row in group]
        )
        conflicts.update(disputed)
        subgroups = tuple(dict.fromkeys(name for row in group for name in row.example.subgroups))
        example = Example(first.id, first.content, labels, subgroups, first.source)
        native = [{"id": row.example.id, "split": row.split, "native": row.native} for row in group]
        merged.append(MergedRow(example, json.dumps(native, ensure_ascii=False)))
    facts = {
        "rows_read": len(rows),
        "merged_into_others": len(rows) - len(merged),
        "equal_texts_with_different_labels": dict(sorted(conflicts.items())),
    }
    return merged, facts


def merge_labels(
    labels: Sequence[Mapping[str, float]], is_weak: Sequence[bool]
) -> tuple[dict[str, float], frozenset[str]]:
    """Give the labels of one text out of several readings of it, and the categories on which they differ.

    The mean of the readings that are not weak; where there is none, of the weak ones.
    """
    merged: dict[str, float] = {}
    disputed: set[str] = set()
    for category in dict.fromkeys(name for reading in labels for name in reading):
        values = [
            (reading[category], weak)
            for reading, weak in zip(labels, is_weak, strict=True)
            if category in reading
        ]
        trusted = [value for value, weak in values if not weak] or [value for value, _ in values]
        merged[category] = sum(trusted) / len(trusted)
        if len({value for value, _ in values}) > 1:
            disputed.add(category)
    return merged, frozenset(disputed)


def count_rows(rows: Mapping[str, Iterable[DatasetRow]]) -> dict[str, Any]:
    """Count the rows of each split: all, unlabelled, by source, by language, by category.

    A category counts its annotated rows, and as positive those of at least 0.5.
    """
    counts: dict[str, Any] = {}
    for split, of_split in rows.items():
        sources: Counter[str] = Counter()
        languages: Counter[str] = Counter()
        annotated: Counter[str] = Counter()
        positive: Counter[str] = Counter()
        n_unlabelled = 0
        for row in of_split:
            labels = row.example.annotated
            sources[row.example.source] += 1
            languages[row.example.content.language or ""] += 1
            annotated.update(labels.keys())
            positive.update(name for name, value in labels.items() if value >= 0.5)
            n_unlabelled += not labels
        counts[split] = {
            "rows": sources.total(),
            "unlabelled": n_unlabelled,
            "sources": dict(sorted(sources.items())),
            "languages": dict(sorted(languages.items())),
            "categories": {
                name: {"annotated": annotated[name], "positive": positive[name]} for name in sorted(annotated)
            },
        }
    return counts


def _read_sets(
    config: BuildConfig, sets: Sequence[SourceSet], labels: Mapping[str, str], report: Progress
) -> tuple[list[SourceRow], dict[str, int]]:
    dropped = {"empty": 0, "too_long": 0}
    rows: list[SourceRow] = []
    for number, source in enumerate(sets):
        report("read", number, len(sets))
        for row in read_set(
            Path(config.root), source, labels, config.weak_categories if source.weak else None
        ):
            text = row.example.content.parts[0].text
            if not text.strip():
                dropped["empty"] += 1
            elif len(text) > config.longest:
                dropped["too_long"] += 1
            else:
                rows.append(row)
    report("read", len(sets), len(sets))
    return rows, dropped


def _cluster(
    keys: Sequence[str], forms: Sequence[str], config: BuildConfig
) -> tuple[np.ndarray[Any, np.dtype[np.int64]], dict[str, int]]:
    """Cluster rows by key and by near duplicates; int64, (n_rows,), and what sizes came of it."""
    position: dict[str, int] = {}
    unique: list[str] = []
    for key, form in zip(keys, forms, strict=True):
        if key not in position:
            position[key] = len(unique)
            unique.append(form)
    roots = near_duplicate_clusters(unique, Lsh(threshold=config.similarity, seed=config.seed))
    clusters = roots[np.array([position[key] for key in keys], np.int64)]
    sizes = np.bincount(clusters)
    return clusters, {
        "count": int((sizes > 0).sum()),
        "rows_with_near_duplicates": int(sizes[sizes > 1].sum()),
        "largest": int(sizes.max()),
    }
