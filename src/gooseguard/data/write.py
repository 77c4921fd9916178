"""Prepared batches and what became of each row -> the shards of a dataset, each written by any process."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gooseguard.core.files import replacing, write_whole
from gooseguard.data.arrow import import_arrow
from gooseguard.data.batches import read_table
from gooseguard.data.build import merge_labels
from gooseguard.data.prepare import prepared_path
from gooseguard.data.split import SPLITS
from gooseguard.data.tables import merge_records, schema, to_records, to_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from gooseguard.data.assign import Assignment
    from gooseguard.data.tables import Record

I64 = npt.NDArray[np.int64]

COUNTED_ROWS = 4096
"""Rows that are counted at a time."""

GROUP_ROWS = 16_384
"""Rows of a row group: what is encoded, and what readers decode, at a time."""

TARGET = "target"
"""Column of the rows that are merged into others: into which row."""


@dataclass(frozen=True, slots=True)
class RowPlaces:
    """Where each row lies, in the order in which rows were read."""

    batch: npt.NDArray[np.int32]
    """int32, (n,): its batch."""
    key: npt.NDArray[np.uint64]
    """uint64, (n,): its key, see `dedup.form_key`."""


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One shard to write."""

    work: str
    """The work folder; every process has to see it."""
    split: str
    """`train`, `val` or `test`."""
    number: int
    """Of the shard within its split."""
    weak: tuple[str, ...]
    """Sources whose labels count only where no other labels the category."""

    @property
    def name(self) -> str:
        """Give the name of its files, without a suffix."""
        return f"{self.split}-{self.number:05}"


def plan_shards(
    places: RowPlaces, assignment: Assignment, work: Path, weak: tuple[str, ...], shard_rows: int
) -> list[ShardTask]:
    """Lay down which rows make up each shard, in `work/plan`, and give the tasks.

    Args:
        places: of all rows.
        assignment: what becomes of them.
        work: the work folder.
        weak: see `ShardTask`.
        shard_rows: most rows of a shard.
    """
    (work / "plan").mkdir(exist_ok=True)
    local = np.arange(places.batch.size) - np.searchsorted(places.batch, places.batch)
    tasks: list[ShardTask] = []
    shard_of = np.full(places.batch.size, -1, np.int64)
    for code, split in enumerate(SPLITS):
        rows = np.flatnonzero(assignment.outcome == code)
        # An empty split has a shard too: a missing one means a damaged folder.
        for number, begin in enumerate(range(0, max(rows.size, 1), shard_rows)):
            part = rows[begin : begin + shard_rows]
            task = ShardTask(str(work), split, number, weak)
            np.savez(
                work / "plan" / f"{task.name}.npz",
                row=part,
                batch=places.batch[part],
                local=local[part],
                cluster=places.key[assignment.cluster[part]],
            )
            shard_of[part] = len(tasks)
            tasks.append(task)
    _gather_merged(places, assignment, work, shard_of, tasks)
    return tasks


def _gather_merged(
    places: RowPlaces, assignment: Assignment, work: Path, shard_of: I64, tasks: Sequence[ShardTask]
) -> None:
    """Bring the rows that are merged into a shard's rows together in one file a shard."""
    arrow, ipc = import_arrow(), import_arrow("pyarrow.ipc")
    members = np.flatnonzero(assignment.first != np.arange(assignment.first.size))
    members = members[shard_of[assignment.first[members]] >= 0]
    local = members - np.searchsorted(places.batch, places.batch[members])
    kind = schema().append(arrow.field(TARGET, arrow.int64()))
    writers: dict[int, Any] = {}
    try:
        for batch in np.unique(places.batch[members]).tolist():
            of_batch = places.batch[members] == batch
            table = read_table(prepared_path(work, batch) / "rows.arrow").take(arrow.array(local[of_batch]))
            targets = assignment.first[members[of_batch]]
            table = table.append_column(kind.field(TARGET), arrow.array(targets))
            shards = shard_of[targets]
            for shard in np.unique(shards).tolist():
                if shard not in writers:
                    path = work / "plan" / f"{tasks[shard].name}.merged.arrow"
                    writers[shard] = ipc.new_stream(str(path), kind)
                writers[shard].write_table(table.filter(arrow.array(shards == shard)))
    finally:
        for writer in writers.values():
            writer.close()


def write_shard(task: ShardTask) -> dict[str, Any]:
    """Write one shard into `work/out`, where that has not been done yet; give what is in it."""
    work = Path(task.work)
    facts_path = work / "out" / f"{task.name}.json"
    if not facts_path.is_file():
        table, disputed = _make_table(task, work)
        _write_groups(work / "out" / f"{task.name}.parquet", table)
        facts = {"counts": count_table(table), "disputed": dict(sorted(disputed.items()))}
        write_whole(facts_path, json.dumps(facts))
    found: dict[str, Any] = json.loads(facts_path.read_text("utf-8"))
    return found


def _write_groups(path: Path, table: pa.Table) -> None:
    """Write a table group by group: at once, it would take its room three times."""
    parquet = import_arrow("pyarrow.parquet")
    with (
        replacing(path) as partial,
        parquet.ParquetWriter(partial, table.schema, compression="zstd") as writer,
    ):
        for begin in range(0, max(table.num_rows, 1), GROUP_ROWS):
            writer.write_table(table.slice(begin, GROUP_ROWS).combine_chunks(), GROUP_ROWS)


def _make_table(task: ShardTask, work: Path) -> tuple[pa.Table, Counter[str]]:
    arrow = import_arrow()
    with np.load(work / "plan" / f"{task.name}.npz") as arrays:
        rows, batches, local, clusters = (arrays[name] for name in ("row", "batch", "local", "cluster"))
    parts = [schema().empty_table()]
    for batch in np.unique(batches).tolist():
        table = read_table(prepared_path(work, batch) / "rows.arrow")
        parts.append(table.take(arrow.array(local[batches == batch])))
    table = arrow.concat_tables(parts)
    disputed: Counter[str] = Counter()
    merged_path = work / "plan" / f"{task.name}.merged.arrow"
    if merged_path.is_file():
        table, disputed = _merge(table, rows, merged_path, task.weak)
    names = arrow.array([f"{key:016x}" for key in clusters.tolist()], arrow.string())
    splits = arrow.array([task.split] * len(rows), arrow.string())
    for name, column in (("split", splits), ("cluster", names)):
        position = table.schema.get_field_index(name)
        table = table.set_column(position, table.schema.field(position), column)
    return table, disputed


def _merge(table: pa.Table, rows: I64, path: Path, weak: tuple[str, ...]) -> tuple[pa.Table, Counter[str]]:
    """Put what other rows say of the same contents into the rows of a shard."""
    arrow, ipc = import_arrow(), import_arrow("pyarrow.ipc")
    with arrow.OSFile(str(path), "rb") as stream:
        members = ipc.open_stream(stream).read_all()
    targets = np.asarray(members.column(TARGET))
    order = np.argsort(targets, kind="stable")
    members = members.take(arrow.array(order))
    at = np.searchsorted(rows, np.unique(targets))
    disputed: Counter[str] = Counter()
    merged: list[Record] = []
    firsts = to_records(table.take(arrow.array(at)))
    for first, others in zip(firsts, _runs(to_records(members), targets[order]), strict=True):
        record = merge_records([first, *others], weak, merge_labels)
        disputed.update(record.pop("disputed"))
        merged.append(record)
    chosen = np.arange(len(rows))
    chosen[at] = len(rows) + np.arange(at.size)
    return arrow.concat_tables([table, to_table(merged)]).take(arrow.array(chosen)), disputed


def _runs(records: Sequence[Record], targets: I64) -> Iterator[Sequence[Record]]:
    """Give the records of each run of equal targets."""
    starts = np.flatnonzero(np.diff(targets, prepend=-1)).tolist()
    for begin, end in zip(starts, [*starts[1:], len(records)], strict=True):
        yield records[begin:end]


def count_table(table: pa.Table) -> dict[str, Any]:
    """Count rows by source, language, subgroup, modality and category, as `build.count_rows` does."""
    counts: dict[str, Counter[str]] = {
        name: Counter()
        for name in ("sources", "languages", "subgroups", "modalities", "annotated", "positive")
    }
    unlabelled = 0
    columns = ("source", "language", "subgroups", "labels", "parts")
    # Slice by slice: as Python objects, a shard takes many times its room.
    for record in (
        record
        for begin in range(0, table.num_rows, COUNTED_ROWS)
        for record in to_records(table.select(columns).slice(begin, COUNTED_ROWS))
    ):
        labels = record["labels"]
        counts["sources"][record["source"]] += 1
        counts["languages"][record["language"] or ""] += 1
        counts["subgroups"].update(set(record["subgroups"]))
        counts["modalities"]["+".join(sorted({part["modality"] for part in record["parts"]}))] += 1
        counts["annotated"].update(labels.keys())
        counts["positive"].update(name for name, value in labels.items() if value >= 0.5)
        unlabelled += not labels
    return {"rows": table.num_rows, "unlabelled": unlabelled, **{k: dict(v) for k, v in counts.items()}}


def add_counts(shards: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Add the counts of a split's shards, in the form of `build.count_rows`."""
    totals = {
        name: sum((Counter(shard[name]) for shard in shards), Counter())
        for name in ("sources", "languages", "subgroups", "modalities", "annotated", "positive")
    }
    return {
        "rows": sum(shard["rows"] for shard in shards),
        "unlabelled": sum(shard["unlabelled"] for shard in shards),
        **{
            name: dict(sorted(totals[name].items()))
            for name in ("sources", "languages", "subgroups", "modalities")
        },
        "categories": {
            name: {"annotated": totals["annotated"][name], "positive": totals["positive"][name]}
            for name in sorted(totals["annotated"])
        },
    }
