"""Shards of a dataset -> what questions are made of: contents, labels and marked words. Reads no media.

A batch of rows is in memory at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gooseguard.data.questions import LabelledRow, Medium
from gooseguard.data.shards import shard_paths
from gooseguard.data.tables import import_arrow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

COLUMNS = ("id", "parts", "context", "labels", "source", "language", "spans")
"""Columns that are read, where they are there: format version 1 has neither spans nor context."""

BATCH_ROWS = 2048
"""Rows in memory at a time."""


def read_labelled(folder: Path, split: str, most: int = 0) -> Iterator[LabelledRow]:
    """Give the rows of one split, in their order.

    Args:
        folder: the dataset.
        split: `train`, `val` or `test`.
        most: rows to give; 0 for all.

    Raises:
        ArtefactError: the folder is no dataset, or not a complete one.
        ConfigError: `split` is unknown, or pyarrow is not installed.
    """
    parquet = import_arrow("pyarrow.parquet")
    n = 0
    for path in shard_paths(folder, split):
        with parquet.ParquetFile(path) as file:
            columns = [name for name in COLUMNS if name in file.schema_arrow.names]
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
                for row in batch.to_pylist():
                    yield _to_labelled(row)
                    n += 1
                    if n == most:
                        return


def count_rows(folder: Path, split: str, most: int = 0) -> int:
    """Count the rows that `read_labelled` gives.

    Raises:
        ArtefactError: as `read_labelled`.
    """
    parquet = import_arrow("pyarrow.parquet")
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
