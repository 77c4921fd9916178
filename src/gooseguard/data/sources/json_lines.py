"""JSON Lines -> records, and the generic reader of such files. Plain or gzipped, streamed.

A nested object's keys become `outer.inner`; lists stay lists.
"""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from gooseguard.data.sources.delimited import check_columns, damaged
from gooseguard.data.sources.files import find_files, walk
from gooseguard.data.sources.source import Source
from gooseguard.data.sources.spec import Record, needed_spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from gooseguard.data.sources.source import Faults, SourceConfig

SUFFIXES = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")
"""What such files are called."""

MOST_LINE = 1 << 26
"""Bytes of a line."""


def read_json_lines(
    path: Path, name: str, faults: Faults, required: Sequence[str] = (), *, fallback: str = ""
) -> Iterator[Record]:
    """Read a file, one record a line.

    Args:
        path: the file.
        name: what errors and records call it.
        faults: takes bad rows, and the file where it is damaged.
        required: keys that every row must have, `outer.inner` for nested ones.
        fallback: encoding of lines that are no UTF-8; empty makes them faults.

    Raises:
        DataError: the first row lacks a key, or `faults` stops.
    """
    number = 0
    try:
        with open_bytes(path) as stream:
            n_rows = 0
            for number, line in enumerate(_lines(stream), start=1):
                if not line.strip():
                    continue
                fields = _fields(line, f"{name}, row {number}", name, faults, fallback)
                if fields is None:
                    continue
                n_rows += 1
                missing = [key for key in required if key not in fields]
                if missing and n_rows == 1:
                    check_columns(list(fields), required, f"{name}, row {number}")
                if missing:
                    faults.add(
                        name, f"{name}, row {number}: has no {missing[0]!r}, which the rows before have"
                    )
                    continue
                yield Record(name, number, fields)
    except (OSError, EOFError, zlib.error) as error:
        faults.add(name, damaged(name, number + 1, error))


def open_bytes(path: Path) -> BinaryIO:
    """Open a file, plain or gzipped."""
    is_zipped = path.name.endswith((".gz", ".tgz"))
    return cast("BinaryIO", gzip.open(path, "rb")) if is_zipped else path.open("rb")


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    while line := stream.readline(MOST_LINE):
        if len(line) == MOST_LINE and not line.endswith(b"\n"):
            raise EOFError
        yield line


def _fields(line: bytes, place: str, name: str, faults: Faults, fallback: str) -> dict[str, Any] | None:
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if not fallback:
            faults.add(
                name,
                f"{place}: is not UTF-8 at byte {error.start}; convert the file, or name the encoding "
                'of such rows, as fallback_encoding = "windows-1252"',
            )
            return None
        text = line.decode(fallback, errors="replace")
    try:
        value = json.loads(text)
    except ValueError:
        faults.add(name, f"{place}: is no JSON; expected one object a line")
        return None
    except RecursionError:
        faults.add(name, f"{place}: is nested too deeply; expected one object a line")
        return None
    if not isinstance(value, dict):
        faults.add(name, f"{place}: is a {type(value).__name__}, expected an object")
        return None
    return flatten(value)


def flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Give an object without nested ones: `{"a": {"b": 1}}` becomes `{"a.b": 1}`."""
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            flat |= flatten(inner, f"{prefix}{key}.")
        else:
            flat[prefix + key] = inner
    return flat


def open_json_lines(root: Path, config: SourceConfig) -> tuple[Source, ...]:
    """Open a JSON Lines file, or a folder of them, as the mapping file describes it.

    Raises:
        ConfigError: there is no such file, no mapping, or a wrong one.
    """
    spec = needed_spec("json_lines", config.mapping)
    files = find_files(root, SUFFIXES, spec.card.name)

    def records(file: Path, name: str, faults: Faults) -> Iterator[Record]:
        return read_json_lines(file, name, faults, (spec.columns.text,), fallback=config.fallback_encoding)

    return (Source(spec.card, root, files, walk(spec, root, files, records)),)
