"""A dataset -> what is in it: composition, duplicates across sources, leaks, drift. Ids, never contents.

Reads shards row by row, twice; holds a number a row, and the ids of rows that have near duplicates or stand
in more than one source. The drift between two builds holds the ids of both.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gooseguard.core.errors import ArtefactError
from gooseguard.data.arrow import import_arrow
from gooseguard.data.shards import read_dataset_manifest, shard_paths
from gooseguard.data.split import SPLITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

POSITIVE = 0.5
"""Label from which a row counts as positive."""

COLUMNS = ("id", "parts", "labels", "subgroups", "source", "native", "split", "language", "cluster")
"""What is read of each row."""

LENGTHS = (0, 20, 50, 100, 200, 500, 1000, 5000)
"""Bounds, in characters, by which texts are counted."""


@dataclass(slots=True)
class _Tally:
    """What is counted while rows pass."""

    shared: frozenset[str]
    rows: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    labels: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    clusters: dict[str, list[tuple[str, str, str]]] = field(default_factory=lambda: defaultdict(list))
    exact: list[list[str]] = field(default_factory=list)
    labelled: int = 0


def audit(
    folder: Path, progress: Callable[[str, int, int], None] = lambda step, done, total: None
) -> dict[str, Any]:
    """Give the report of a dataset, JSON-ready; docs/data.md says what each part means.

    Args:
        folder: the dataset.
        progress: told how many rows of how many were counted.

    Raises:
        ArtefactError: the folder is no dataset of format version 2.
    """
    manifest = read_dataset_manifest(folder)
    if manifest.format_version < 2:
        raise ArtefactError(
            f"dataset {folder.name}: is of format version 1, which has no clusters; build it with: data build"
        )
    tally = _Tally(shared=_shared_clusters(folder))
    total = sum(manifest.facts.get("counts", {}).get(split, {}).get("rows", 0) for split in SPLITS)
    for number, row in enumerate(read_rows(folder, COLUMNS)):
        _count(tally, row)
        if number % 4096 == 0:
            progress("count rows", number, total)
    near = _near_groups(tally)
    return {
        "dataset": folder.name,
        "rows": {name: dict(counts.most_common()) for name, counts in sorted(tally.rows.items())},
        "lengths": _lengths(tally.rows["length"]),
        "categories": _categories(tally),
        "findings": _findings(tally),
        "duplicates": {
            "exact_across_sources": tally.exact,
            "near_across_sources": near,
            "pairs_of_sources": _pairs_of_sources(tally.exact, near),
        },
        "leaks": [
            [row_id for row_id, _, _ in members]
            for members in tally.clusters.values()
            if len({split for _, _, split in members}) > 1
        ],
        "build": {
            name: manifest.facts.get(name)
            for name in (
                "rows_read",
                "dropped",
                "held_out",
                "equal_contents_with_different_labels",
                "stratification",
            )
        },
    }


def read_rows(folder: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Give some columns of every row, of train first; a map is a list of pairs.

    Raises:
        ArtefactError: the folder is no dataset.
    """
    parquet = import_arrow("pyarrow.parquet")
    for split in SPLITS:
        for path in shard_paths(folder, split):
            for batch in parquet.ParquetFile(path).iter_batches(batch_size=4096, columns=list(columns)):
                yield from batch.to_pylist()


def _shared_clusters(folder: Path) -> frozenset[str]:
    """Give the clusters of more than one row: of most there is one, and nothing to remember of it."""
    parquet = import_arrow("pyarrow.parquet")
    keys = [
        np.array([int(key or "0", 16) for key in batch.column(0).to_pylist()], np.uint64)
        for split in SPLITS
        for path in shard_paths(folder, split)
        for batch in parquet.ParquetFile(path).iter_batches(columns=["cluster"])
    ]
    found, counts = np.unique(np.concatenate([np.zeros(0, np.uint64), *keys]), return_counts=True)
    return frozenset(f"{key:016x}" for key in found[counts > 1].tolist())


def _count(tally: _Tally, row: Mapping[str, Any]) -> None:
    texts = [part["text"] for part in row["parts"] if part["modality"] == "text"]
    tally.rows["split"][row["split"]] += 1
    tally.rows["source"][row["source"]] += 1
    tally.rows["modality"]["+".join(sorted({part["modality"] for part in row["parts"]}))] += 1
    tally.rows["language"][row["language"] or "unknown"] += 1
    tally.rows["subgroup"].update(set(row["subgroups"]))
    if texts:
        length = sum(map(len, texts))
        tally.rows["length"][str(max(bound for bound in LENGTHS if bound <= length))] += 1
    # A row that was merged stands in each of its sources, with what each said.
    readings = json.loads(row["native"])
    ids = [entry["id"] for entry in readings]
    if len({row_id.partition("/")[0] for row_id in ids}) > 1:
        tally.exact.append(ids)
    for entry in readings:
        source = entry["id"].partition("/")[0]
        for category, label in entry.get("labels", dict(row["labels"])).items():
            tally.labels[category, source][label >= POSITIVE] += 1
    tally.labelled += bool(row["labels"])
    if row["cluster"] in tally.shared:
        tally.clusters[row["cluster"]].append((row["id"], row["source"], row["split"]))


def _lengths(counts: Counter[str]) -> dict[str, int]:
    names = [f"{begin}-{end}" for begin, end in itertools.pairwise(LENGTHS)] + [f"{LENGTHS[-1]}+"]
    return {name: counts[str(begin)] for name, begin in zip(names, LENGTHS, strict=True)}


def _categories(tally: _Tally) -> dict[str, Any]:
    """Give, for each category: annotated and positive rows, their shares, and the same by source."""
    total = sum(tally.rows["split"].values())
    found: dict[str, Any] = {}
    for category in sorted({category for category, _ in tally.labels}):
        of_source = {
            source: {"annotated": sum(pair), "positive": pair[1]}
            for (name, source), pair in sorted(tally.labels.items())
            if name == category
        }
        annotated = sum(entry["annotated"] for entry in of_source.values())
        positive = sum(entry["positive"] for entry in of_source.values())
        largest = max(of_source, key=lambda source: of_source[source]["positive"]) if positive else None
        found[category] = {
            "annotated": annotated,
            "positive": positive,
            "coverage": round(annotated / max(total, 1), 4),
            "positive_share": round(positive / max(annotated, 1), 4),
            "negatives_for_each_positive": round((annotated - positive) / positive, 2) if positive else None,
            "largest_source_of_positives": largest,
            "its_share_of_positives": round(of_source[largest]["positive"] / positive, 4)
            if largest
            else None,
            "sources": of_source,
        }
    return found


def _findings(tally: _Tally) -> dict[str, Any]:
    """Name what a trainer should know first."""
    all_positive: dict[str, list[str]] = defaultdict(list)
    positives: dict[str, list[str]] = defaultdict(list)
    for (category, source), (negative, positive) in sorted(tally.labels.items()):
        if positive:
            positives[category].append(source)
            if not negative:
                all_positive[source].append(category)
    labelled = defaultdict(list)
    for category, source in sorted(tally.labels):
        labelled[source].append(category)
    return {
        "sources_all_positive": {
            source: categories
            for source, categories in all_positive.items()
            if categories == labelled[source]
        },
        "categories_all_positive_in_a_source": dict(all_positive),
        "categories_with_positives_of_one_source": {
            category: sources[0] for category, sources in positives.items() if len(sources) == 1
        },
        "rows_without_labels": sum(tally.rows["split"].values()) - tally.labelled,
    }


def _near_groups(tally: _Tally) -> list[list[str]]:
    """Give the ids of each cluster of near duplicates that holds rows of more than one source."""
    return [
        [row_id for row_id, _, _ in members]
        for members in tally.clusters.values()
        if len({source for _, source, _ in members}) > 1
    ]


def _pairs_of_sources(exact: list[list[str]], near: list[list[str]]) -> list[dict[str, Any]]:
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for kind, groups in enumerate((exact, near)):
        for ids in groups:
            sources = sorted({row_id.partition("/")[0] for row_id in ids})
            for number, one in enumerate(sources):
                for other in sources[number + 1 :]:
                    counts[one, other][kind] += 1
    return [
        {"sources": list(pair), "exact": numbers[0], "near": numbers[1]}
        for pair, numbers in sorted(counts.items(), key=lambda item: (-sum(item[1]), item[0]))
    ]


def drift(old: Path, new: Path, report: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Give what changed between two builds: rows that came, went or moved, labels, shares of rows.

    The shift of a distribution is its population stability index: 0 for none, above 0.25 for a large one.

    Args:
        old: the earlier build.
        new: the later one.
        report: its audit, where it was made already.

    Source: N. Siddiqi, "Credit Risk Scorecards", 2006, chapter 8 (population stability index).
    """
    before, after = (
        {row["id"]: _state(row) for row in read_rows(folder, ["id", "split", "labels"])}
        for folder in (old, new)
    )
    both = before.keys() & after.keys()
    reports = [audit(old), report or audit(new)]
    return {
        "added": len(after) - len(both),
        "removed": len(before) - len(both),
        "moved_to_another_split": sorted(row_id for row_id in both if before[row_id][0] != after[row_id][0]),
        "labels_changed": sorted(row_id for row_id in both if before[row_id][1] != after[row_id][1]),
        "stability_index": {
            name: round(_stability(*(report["rows"].get(name, {}) for report in reports)), 4)
            for name in ("source", "language", "length", "modality")
        },
        "positive_share": {
            category: [report["categories"].get(category, {}).get("positive_share") for report in reports]
            for category in sorted({name for report in reports for name in report["categories"]})
        },
    }


def _state(row: Mapping[str, Any]) -> tuple[str, tuple[tuple[str, float], ...]]:
    return row["split"], tuple(sorted(row["labels"]))


def _stability(old: Mapping[str, int], new: Mapping[str, int]) -> float:
    names = sorted({*old, *new})
    # Half a row more each: what is new or gone must not be infinite.
    one, other = (np.array([counts.get(name, 0) + 0.5 for name in names]) for counts in (old, new))
    if not names:
        return 0.0
    one, other = one / one.sum(), other / other.sum()
    return float(((other - one) * np.log(other / one)).sum())
