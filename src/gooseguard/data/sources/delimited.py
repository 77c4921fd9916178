"""CSV and TSV -> records, and the generic reader of such files. Plain or gzipped, streamed.

Line ends within quotes belong to their cell. Bytes that are no UTF-8 are a fault of the row they are in, or
are read in the encoding that the recipe names.

Source: RFC 4180.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from typing import IO, TYPE_CHECKING

from gooseguard.core.errors import DataError
from gooseguard.core.taxonomy import nearest
from gooseguard.data.sources.files import find_files, walk
from gooseguard.data.sources.source import Source
from gooseguard.data.sources.spec import Record, needed_spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from gooseguard.data.sources.source import Faults, SourceConfig

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
"""What such files are called."""

MOST_CELL = 1 << 22
"""Characters of a cell; a longer one is a quote that was never closed."""

_UNDECODED = re.compile("[\udc80-\udcff]")


def read_csv(
    path: Path,
    name: str,
    faults: Faults,
    required: Sequence[str] = (),
    *,
    header: Sequence[str] | None = None,
    quoted: bool = True,
    fallback: str = "",
) -> Iterator[Record]:
    """Read a file, one record a row.

    Args:
        path: the file; `.tsv` is divided by tabs.
        name: what errors and records call it.
        faults: takes bad rows, and the file where it is damaged.
        required: columns that must be there.
        header: names of the columns, where the file has no header of its own.
        quoted: whether quotes hold cells together.
        fallback: encoding of cells that are no UTF-8; empty makes them faults.

    Raises:
        DataError: a column is missing, or `faults` stops.
    """
    # One limit for the process, and only the data engine's own reading meets it.
    csv.field_size_limit(MOST_CELL)
    delimiter = "\t" if ".tsv" in path.suffixes else ","
    number = 0
    try:
        with open_text(path) as stream:
            rows = (
                csv.reader(stream, delimiter=delimiter, strict=True)
                if quoted
                else csv.reader(stream, delimiter=delimiter, quoting=csv.QUOTE_NONE)
            )
            columns = list(header) if header is not None else _header(rows, name)
            check_columns(columns, required, name)
            while True:
                number += 1
                try:
                    cells = next(rows, None)
                except csv.Error as error:
                    faults.add(name, f"{name}, row {number} (line {rows.line_num}): {_csv_problem(error)}")
                    continue
                if cells is None:
                    return
                if not cells:
                    number -= 1
                    continue
                record = _record(cells, columns, name, number, fallback, faults)
                if record is not None:
                    yield record
    except (OSError, EOFError, zlib.error) as error:
        faults.add(name, damaged(name, number, error))


def _header(rows: Iterator[list[str]], name: str) -> list[str]:
    try:
        return next(rows, [])
    except csv.Error as error:
        raise DataError(f"{name}, line 1: {_csv_problem(error)}; expected a header") from None


def _record(
    cells: list[str], columns: Sequence[str], name: str, number: int, fallback: str, faults: Faults
) -> Record | None:
    place = f"{name}, row {number}"
    if len(cells) != len(columns):
        faults.add(name, f"{place}: has {len(cells)} cells, expected {len(columns)}, as the header has")
        return None
    for position, cell in enumerate(cells):
        if not cell.isascii() and _UNDECODED.search(cell):
            if not fallback:
                faults.add(
                    name,
                    f"{place}, column {columns[position]!r}: is not UTF-8; convert the file, or name the "
                    'encoding of such cells, as fallback_encoding = "windows-1252"',
                )
                return None
            try:
                cells[position] = cell.encode("utf-8", "surrogateescape").decode(fallback)
            except UnicodeDecodeError:
                faults.add(name, f"{place}, column {columns[position]!r}: is neither UTF-8 nor {fallback}")
                return None
    return Record(name, number, dict(zip(columns, cells, strict=True)))


def check_columns(columns: Sequence[str], required: Sequence[str], name: str) -> None:
    """Check that a file has the columns that are read.

    Raises:
        DataError: one is missing; names it, and what was found.
    """
    for column in required:
        if column not in columns:
            found = ", ".join(repr(one[:40]) for one in columns[:40]) or "nothing"
            raise DataError(
                f"{name}: has no column {column!r}; found {found}{nearest(column, columns)}; "
                "is it another edition of the set?"
            )


def open_text(path: Path) -> IO[str]:
    """Open a text file, plain or gzipped; bytes that are no UTF-8 become lone surrogates."""
    if path.name.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="")
    return path.open("r", encoding="utf-8-sig", errors="surrogateescape", newline="")


def damaged(name: str, number: int, error: Exception) -> str:
    """Say that a file breaks off: its name, the last whole row, and how."""
    return (
        f"{name}, after row {max(number - 1, 0)}: the file is damaged or cut off ({type(error).__name__}); "
        "download it again"
    )


def _csv_problem(error: csv.Error) -> str:
    if "unexpected end" in str(error):
        return "a quote is opened and never closed; the row goes to the end of the file"
    if "field larger" in str(error):
        return f"a cell has more than {MOST_CELL:,} characters; is a quote left open?"
    return f"is no CSV ({error})"


def open_csv(root: Path, config: SourceConfig) -> tuple[Source, ...]:
    """Open a CSV or TSV file, or a folder of them, as the mapping file describes it.

    Raises:
        ConfigError: there is no such file, no mapping, or a wrong one.
    """
    spec = needed_spec("csv", config.mapping)
    files = find_files(root, SUFFIXES, spec.card.name)
    required = tuple(name for name in (spec.columns.text, *(rule.field for rule in spec.labels)) if name)

    def records(file: Path, name: str, faults: Faults) -> Iterator[Record]:
        return read_csv(file, name, faults, required, fallback=config.fallback_encoding)

    return (Source(spec.card, root, files, walk(spec, root, files, records)),)
