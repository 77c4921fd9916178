"""Dataset rows <-> a folder of Parquet shards with a manifest. Knows nothing of where rows come from.

A dataset folder holds `manifest.json` (kind `dataset`) and, for each split, shards `train-00000.parquet`,
`val-00000.parquet`, `test-00000.parquet`, … Here version 1, of texts, is written and both versions are read;
`pipeline.py` writes version 2, whose columns are those of `tables.py`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gooseguard.core.content import Modality
from gooseguard.core.errors import ArtefactError, ConfigError, DataError
from gooseguard.core.files import new_folder
from gooseguard.core.manifest import Manifest, digest_file, read_manifest, write_manifest
from gooseguard.core.scorer import Span
from gooseguard.data.arrow import import_arrow
from gooseguard.data.dedup import content_key
from gooseguard.data.plans import read_plan
from gooseguard.data.recipe import ORIGINAL
from gooseguard.data.split import SPLITS
from gooseguard.data.tables import to_example

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from gooseguard.core.content import Part
    from gooseguard.core.example import Example

KIND = "dataset"
FORMAT_VERSION = 2
"""The newest that is read."""
TEXT_VERSION = 1
"""What `write_shards` writes."""
SHARD_ROWS = 100_000
"""Most rows of one shard."""


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """One row of a dataset."""

    example: Example
    """Content, labels, subgroups, source and rationale."""
    split: str
    """`train`, `val` or `test`."""
    native: str = "[]"
    """JSON: what publishers said of the text, one `{"id", "split", "native"}` a row it was read from."""
    votes: Mapping[str, tuple[float, ...]] | None = None
    """Category to one value an annotator, where single annotations are known."""
    vote_counts: Mapping[str, int] | None = None
    """Category to how many annotators labelled it, where that is known."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Category to the weight of its label, where it is not 1."""
    spans: tuple[Span, ...] = ()
    """Where annotators saw what they labelled."""
    cluster: str = ""
    """Key of the oldest row among its near duplicates; empty in version 1."""


@dataclass(frozen=True, slots=True)
class DatasetColumns:
    """One split of a text dataset as columns of equal length n."""

    ids: list[str]
    """Id of each row."""
    texts: list[str]
    """The text of each row."""
    labels: npt.NDArray[np.float32]
    """float32, (n, n_categories), 0..1; NaN where nobody annotated the category."""
    sources: list[str]
    """Name of the published set of each row."""
    languages: list[str]
    """BCP-47 tag of each row; empty where unknown."""


def write_shards(
    folder: Path,
    rows: Mapping[str, Sequence[DatasetRow]],
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    facts: Mapping[str, Any],
    extra_files: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a dataset folder: beside its place, then renamed, so that a half-written one is never found.

    Args:
        folder: the dataset; must not exist yet.
        rows: rows of each split.
        config: what the dataset was built with.
        inputs: SHA-256 (hex) of each file it was built from.
        facts: what is in it.
        extra_files: further files to put beside the shards.

    Raises:
        ConfigError: `folder` exists, or pyarrow is not installed.
    """
    if folder.exists():
        raise ConfigError(f"dataset {folder.name}: exists already; remove it or name another folder")
    parquet = import_arrow("pyarrow.parquet")
    with new_folder(folder) as partial:
        for split in SPLITS:
            of_split = rows.get(split, ())
            # An empty split has a shard too: a missing one means a damaged folder.
            for number, begin in enumerate(range(0, max(len(of_split), 1), SHARD_ROWS)):
                table = _to_table(of_split[begin : begin + SHARD_ROWS])
                parquet.write_table(table, partial / f"{split}-{number:05}.parquet", compression="zstd")
        for name, data in (extra_files or {}).items():
            (partial / name).write_bytes(data)
        files = {path.name: digest_file(path) for path in sorted(partial.iterdir())}
        manifest = Manifest(
            kind=KIND,
            format_version=TEXT_VERSION,
            config=dict(config),
            inputs=dict(inputs),
            files=files,
            facts=dict(facts),
        )
        write_manifest(partial, manifest)
    return folder


def read_split(folder: Path, split: str) -> Iterator[DatasetRow]:
    """Read the rows of one split, in order.

    Raises:
        ArtefactError: the folder is no dataset, or not a complete one.
        ConfigError: `split` is unknown, or pyarrow is not installed.
        DataError: a row holds what no content can.
    """
    parquet = import_arrow("pyarrow.parquet")
    for path in shard_paths(folder, split):
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=4096):
            for row in batch.to_pylist():
                yield _to_row(row, folder)


def read_columns(folder: Path, split: str, categories: Sequence[str], plan: str = ORIGINAL) -> DatasetColumns:
    """Read one split of a dataset of single texts as columns.

    Args:
        folder: the dataset.
        split: `train`, `val` or `test`.
        categories: columns of the labels, in this order; one that no row annotates is all NaN.
        plan: draws the rows of train, with repeats; other splits are always whole.

    Raises:
        ArtefactError: the folder is no dataset, or not a complete one, or has no such plan.
        ConfigError: `split` is unknown, or pyarrow is not installed.
        DataError: a row is not one text.
    """
    parquet = import_arrow("pyarrow.parquet")
    columns = ["id", "parts", "labels", "source", "language"]
    table = import_arrow().concat_tables(
        [parquet.read_table(path, columns=columns) for path in shard_paths(folder, split)]
    )
    drawn = read_plan(folder, plan, read_dataset_manifest(folder).files) if split == "train" else None
    if drawn is not None:
        table = table.take(import_arrow().array(drawn))
    table = table.combine_chunks()
    if table.num_rows == 0:
        return DatasetColumns([], [], np.full((0, len(categories)), np.nan, np.float32), [], [])
    parts = table["parts"].chunk(0)
    n_parts = np.diff(parts.offsets.to_numpy())
    texts = parts.flatten().field("text")
    if (n_parts != 1).any() or texts.null_count:
        raise DataError(
            f"dataset {folder.name}, {split}: holds rows that are not one text; read them with read_split"
        )
    return DatasetColumns(
        ids=table["id"].to_pylist(),
        texts=texts.to_pylist(),
        labels=_label_matrix(table["labels"].chunk(0), categories),
        sources=table["source"].to_pylist(),
        languages=[language or "" for language in table["language"].to_pylist()],
    )


def read_dataset_manifest(folder: Path) -> Manifest:
    """Read the manifest of a dataset.

    Raises:
        ArtefactError: the folder is no complete dataset of a format version that this code reads.
    """
    return read_manifest(folder, KIND, FORMAT_VERSION)


def shard_paths(folder: Path, split: str) -> list[Path]:
    """Give the shards of one split, in order.

    Raises:
        ArtefactError: the folder is no dataset, or a shard is missing.
        ConfigError: `split` is unknown.
    """
    if split not in SPLITS:
        raise ConfigError(f"split is {split!r}, expected one of {', '.join(SPLITS)}")
    pattern = re.compile(rf"{split}-\d{{5}}\.parquet")
    names = sorted(name for name in read_dataset_manifest(folder).files if pattern.fullmatch(name))
    if not names:
        raise ArtefactError(f"dataset {folder.name}: lists no shard of {split}; build it again")
    return [folder / name for name in names]


def _schema() -> pa.Schema:
    arrow = import_arrow()
    part = arrow.struct(
        [
            ("modality", arrow.string()),
            ("text", arrow.string()),
            ("path", arrow.string()),
            ("sha256", arrow.string()),
        ]
    )
    return arrow.schema(
        [
            arrow.field("id", arrow.string(), nullable=False),
            arrow.field("parts", arrow.list_(part), nullable=False),
            arrow.field("labels", arrow.map_(arrow.string(), arrow.float32()), nullable=False),
            arrow.field("votes", arrow.map_(arrow.string(), arrow.list_(arrow.float32()))),
            arrow.field("subgroups", arrow.list_(arrow.string()), nullable=False),
            arrow.field("source", arrow.string(), nullable=False),
            arrow.field("native", arrow.string(), nullable=False),
            arrow.field("split", arrow.string(), nullable=False),
            arrow.field("rationale", arrow.string()),
            arrow.field("language", arrow.string()),
        ]
    )


def _to_table(rows: Sequence[DatasetRow]) -> pa.Table:
    records = [
        {
            "id": row.example.id,
            "parts": [_to_part(part, row.example.id) for part in row.example.content.parts],
            "labels": list(row.example.annotated.items()),
            "votes": None
            if row.votes is None
            else [(name, list(votes)) for name, votes in row.votes.items()],
            "subgroups": list(row.example.subgroups),
            "source": row.example.source,
            "native": row.native,
            "split": row.split,
            "rationale": row.example.rationale,
            "language": row.example.content.language,
        }
        for row in rows
    ]
    return import_arrow().Table.from_pylist(records, schema=_schema())


def _to_part(part: Part, row_id: str) -> dict[str, str | None]:
    if part.modality is not Modality.TEXT:
        raise DataError(
            f"row {row_id!r}: has a part of modality {part.modality}, expected text; shards hold no files yet"
        )
    return {
        "modality": "text",
        "text": part.text,
        "path": None,
        "sha256": hashlib.sha256(part.data).hexdigest(),
    }


def _to_row(row: dict[str, Any], folder: Path) -> DatasetRow:
    record: dict[str, Any] = {"context": [], **row, "labels": dict(row["labels"])}
    votes = None if row["votes"] is None else {name: tuple(values) for name, values in row["votes"]}
    counts = row.get("vote_counts")
    return DatasetRow(
        to_example(record, partial(_load, folder)),
        row["split"],
        row["native"],
        votes,
        None if counts is None else dict(counts),
        dict(row.get("weights", ())),
        tuple(Span(**span) for span in row.get("spans", ())),
        row.get("cluster", ""),
    )


def _load(folder: Path, path: str) -> bytes:
    try:
        return (folder / path).read_bytes()
    except OSError as error:
        raise ArtefactError(f"dataset {folder.name}: {path}: {error.strerror}; build it again") from None


def read_keys_of(folder: Path, split: str) -> Iterator[str]:
    """Give the key of each row of one split, in order; see `dedup.content_key`.

    Raises:
        ArtefactError: the folder is no dataset, or not a complete one.
    """
    parquet = import_arrow("pyarrow.parquet")
    for path in shard_paths(folder, split):
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=4096, columns=["parts"]):
            for parts in batch.column(0).to_pylist():
                texts = [part["text"] for part in parts if part["modality"] == Modality.TEXT]
                media = [part["sha256"] for part in parts if part["modality"] != Modality.TEXT]
                yield content_key("\n".join(texts), media)


def _label_matrix(labels: pa.MapArray, categories: Sequence[str]) -> npt.NDArray[np.float32]:
    """Spread a map array over float32, (n_rows, n_categories); NaN where a row lacks the category."""
    offsets = labels.offsets.to_numpy()
    rows = np.repeat(np.arange(len(labels)), np.diff(offsets))
    inside = slice(int(offsets[0]), int(offsets[-1]))
    names = labels.keys.dictionary_encode()
    positions = {name: column for column, name in enumerate(categories)}
    column_of_code = np.array([positions.get(name, -1) for name in names.dictionary.to_pylist()], np.int64)
    matrix = np.full((len(labels), len(categories)), np.nan, np.float32)
    if rows.size:
        columns = column_of_code[names.indices.to_numpy()[inside]]
        values = labels.items.to_numpy(zero_copy_only=False)[inside]
        is_wanted = columns >= 0
        matrix[rows[is_wanted], columns[is_wanted]] = values[is_wanted]
    return matrix
