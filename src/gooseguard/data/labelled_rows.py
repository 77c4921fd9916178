"""Shards of a dataset -> what questions are made of: contents, labels and marked words. Reads no media.

A batch of rows is in memory at a time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gooseguard.data.arrow import import_arrow
from gooseguard.data.plans import read_plan
from gooseguard.data.questions import LabelledRow, Medium
from gooseguard.data.recipe import ORIGINAL
from gooseguard.data.shards import read_dataset_manifest, shard_paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy.typing as npt

COLUMNS = ("id", "parts", "context", "labels", "source", "language", "spans")
"""Columns that are read, where they are there: format version 1 has neither spans nor context."""

BATCH_ROWS = 2048
"""Rows in memory at a time."""


def read_labelled(folder: Path, split: str, most: int = 0, plan: str = ORIGINAL) -> Iterator[LabelledRow]:
    """Give the rows of one split, in their order; the second of a row that a plan repeats is `ID~2`.

    Args:
        folder: the dataset.
        split: `train`, `val` or `test`.
        most: rows to give; 0 for all.
        plan: draws the rows of train, with repeats; other splits are always whole.

    Raises:
        ArtefactError: the folder is no dataset, or not a complete one, or has no such plan.
        ConfigError: `split` is unknown, or pyarrow is not installed.
    """
    parquet = import_arrow("pyarrow.parquet")
    repeats, place, n = _repeats(folder, split, plan), -1, 0
    for path in shard_paths(folder, split):
        with parquet.ParquetFile(path) as file:
            columns = [name for name in COLUMNS if name in file.schema_arrow.names]
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
                for row in batch.to_pylist():
                    place += 1
                    for number in range(1 if repeats is None else int(repeats[place])):
                        labelled = _to_labelled(row)
                        # An id of its own, so that something else is asked.
                        yield replace(labelled, id=f"{labelled.id}~{number + 1}") if number else labelled
                        n += 1
                        if n == most:
                            return


def _repeats(folder: Path, split: str, plan: str) -> npt.NDArray[np.int64] | None:
    """Give how often each row is seen, int64, (n_rows,); None for once."""
    if split != "train" or plan == ORIGINAL:
        return None
    drawn = read_plan(folder, plan, read_dataset_manifest(folder).files)
    return None if drawn is None else np.bincount(drawn, minlength=count_rows(folder, split))


def count_rows(folder: Path, split: str, most: int = 0, plan: str = ORIGINAL) -> int:
    """Count the rows that `read_labelled` gives.

    Raises:
        ArtefactError: as `read_labelled`.
    """
    parquet = import_arrow("pyarrow.parquet")
    repeats = _repeats(folder, split, plan)
    if repeats is not None:
        n = int(repeats.sum())
        return min(n, most) if most else n
    n = sum(int(parquet.ParquetFile(path).metadata.num_rows) for path in shard_paths(folder, split))
    return min(n, most) if most else n


def _to_labelled(row: Mapping[str, Any]) -> LabelledRow:
    parts = row["parts"]
    texts = [part["text"] for part in parts if part["modality"] == "text"]
    quotes: dict[str, list[str]] = {}
    for span in row.get("spans") or ():
        text = parts[span["part"]]["text"] or ""
        quotes.setdefault(span["category"], []).append(text[span["begin"] : span["end"]])
    return LabelledRow(
        id=row["id"],
        text="\n".join(text for text in texts if text),
        labels=dict(row["labels"]),
        quotes={name: tuple(spans) for name, spans in quotes.items()},
        media=tuple(
            Medium(part["modality"], part["path"] or "") for part in parts if part["modality"] != "text"
        ),
        context="\n".join(part["text"] for part in row.get("context") or () if part["text"]),
        source=row["source"],
        language=row["language"],
    )
