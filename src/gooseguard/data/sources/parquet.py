"""Parquet -> records, and the generic reader of such files; a batch of rows in memory at a time.

The shards of a set share one schema; one whose columns differ from the first's is a fault of that file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gooseguard.data.arrow import import_arrow
from gooseguard.data.sources.delimited import check_columns
from gooseguard.data.sources.files import find_files, walk
from gooseguard.data.sources.json_lines import flatten
from gooseguard.data.sources.source import Source
from gooseguard.data.sources.spec import Record, needed_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

    from gooseguard.data.sources.source import Faults, SourceConfig, SourceRow
    from gooseguard.data.sources.spec import Spec

SUFFIXES = (".parquet",)
"""What such files are called."""

BATCH_ROWS = 2048
"""Rows in memory at a time."""

NOT_UTF8 = "holds text that is not UTF-8; write the file again"
"""What is wrong with a row that Arrow's format does not allow."""


class ParquetShards:
    """The files of one set; remembers the schema of the first, which the others must have."""

    def __init__(self, required: Sequence[str]) -> None:
        self.required = required
        self.schema: pa.Schema | None = None

    def read(self, path: Path, name: str, faults: Faults) -> Iterator[Record]:
        """Read a file, one record a row.

        Raises:
            DataError: the first file lacks a column, or `faults` stops.
        """
        arrow, parquet = import_arrow(), import_arrow("pyarrow.parquet")
        number = 0
        try:
            with parquet.ParquetFile(path) as file:
                schema = file.schema_arrow
                if self.schema is None:
                    check_columns(schema.names, self.required, name)
                    self.schema = schema
                elif change := schema_change(self.schema, schema, self.required):
                    faults.add(name, f"{name}, from row 1: {change}; expected the schema of the first file")
                    return
                for batch in file.iter_batches(batch_size=BATCH_ROWS):
                    for fields in rows_of(batch):
                        number += 1
                        if fields is None:
                            faults.add(name, f"{name}, row {number}: {NOT_UTF8}")
                        else:
                            yield Record(name, number, flatten(fields))
        except (OSError, arrow.ArrowException, UnicodeDecodeError) as error:
            faults.add(
                name,
                f"{name}, after row {number}: is damaged or no Parquet ({type(error).__name__}); "
                "download it again",
            )


def rows_of(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | None]:
    """Give the rows of a batch; None for one whose text is not UTF-8."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for at in range(batch.num_rows):
            try:
                yield from batch.slice(at, 1).to_pylist()
            except UnicodeDecodeError:
                yield None


def schema_change(first: pa.Schema, other: pa.Schema, required: Sequence[str]) -> str:
    """Say which of the columns that are read is missing or of another type; empty where none is."""
    for column in required or first.names:
        if column not in other.names:
            return f"has no column {column!r}"
        kinds = [schema.field(column).type for schema in (first, other)]
        if kinds[0] != kinds[1]:
            return f"column {column!r} is {kinds[1]}, not {kinds[0]}"
    return ""


def open_parquet(root: Path, config: SourceConfig) -> tuple[Source, ...]:
    """Open a Parquet file, or a folder of shards, as the mapping file describes it.

    Raises:
        ConfigError: there is no such file, no mapping, or a wrong one.
    """
    spec = needed_spec("parquet", config.mapping)
    files = find_files(root, SUFFIXES, spec.card.name)
    # A rule may read a field within a struct: only the struct is a column.
    required = tuple(
        dict.fromkeys(
            field.partition(".")[0] for field in (spec.columns.text, *(rule.field for rule in spec.labels))
        )
    )
    return (Source(spec.card, root, files, shard_rows(spec, root, files, required)),)


def shard_rows(
    spec: Spec, root: Path, files: Sequence[Path], required: Sequence[str]
) -> Callable[[Faults], Iterator[SourceRow]]:
    """Give the function that reads the shards of one set."""

    def rows(faults: Faults) -> Iterator[SourceRow]:
        return walk(spec, root, files, ParquetShards(required).read)(faults)

    return rows
