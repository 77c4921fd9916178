"""Files to rows: JSON Lines and CSV, read in bounded memory. Knows no model and no policy.

A line that is wrong becomes a `RowError` and reading goes on; a file that is wrong as a whole, a `DataError`.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gooseguard.batch.table import Row, RowError
from gooseguard.cli.parts import parse_parts
from gooseguard.core.content import Content
from gooseguard.core.errors import ContentError, DataError
from gooseguard.core.scorer import ScoreError
from gooseguard.core.taxonomy import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

STDIN = "-"
"""The path that means standard input."""

MAX_CHARACTERS = 1_000_000
"""Code points of a text, unless the caller asks for more."""

BYTES_PER_CHARACTER = 12
"""Of JSON at most: an escaped surrogate pair, `\\ud83d\\ude00`."""

SPARE_BYTES = 4 << 20
"""What a line may hold beside its text."""

SKIP_BYTES = 1 << 16
"""How much of a line that is too long is read at once, to throw it away."""

HEAD_BYTES = 8192
"""How much of a file is looked at before it is read."""

MAX_ODD_SHARE = 0.2
"""Share of bytes that are no UTF-8 text in the head of a file that is refused whole."""

MIN_ODD = 8
"""Such bytes that even a short file may hold: its lines become errors, one by one."""

LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
"""The shape of a BCP-47 tag."""

_ID, _LANGUAGE, _PARTS = "id", "language", "parts"
_BOM = b"\xef\xbb\xbf"
_SIGNATURES = {
    b"\x1f\x8b": "gzip data; unpack it first: gzip -dc FILE | gooseguard score --input - …",
    b"PK\x03\x04": "a ZIP archive or an office document; save it as CSV (UTF-8)",
    b"PAR1": "Parquet; convert it to JSON Lines",
    b"\xff\xfe": "UTF-16 text; convert it: iconv -f UTF-16 -t UTF-8 FILE",
    b"\xfe\xff": "UTF-16 text; convert it: iconv -f UTF-16 -t UTF-8 FILE",
}


class Format(StrEnum):
    """How rows are written."""

    AUTO = "auto"
    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where in a file the rows and their fields are."""

    name: str
    """What errors call the file."""
    format: Format = Format.AUTO
    """`AUTO` goes by the name: .csv, .tsv, else JSON Lines."""
    text: str = "text"
    """Column, or JSON key, of the text."""
    id: str | None = None
    """Column or key of the id; without it `id`, where there is one."""
    max_characters: int = MAX_CHARACTERS
    """Code points a text may have."""

    @property
    def max_line_bytes(self) -> int:
        """Give the bytes a line may have, its end included: enough for any text, however it is escaped."""
        return BYTES_PER_CHARACTER * self.max_characters + SPARE_BYTES

    def resolve_format(self) -> Format:
        """Give the format; never `AUTO`."""
        if self.format is not Format.AUTO:
            return self.format
        return {".csv": Format.CSV, ".tsv": Format.TSV}.get(Path(self.name).suffix.lower(), Format.JSONL)


@contextmanager
def open_input(path: str) -> Iterator[io.BufferedReader]:
    """Open a file, or standard input for `-`, and check that it begins like text.

    Raises:
        DataError: no such file, a directory, empty, or not UTF-8 text.
    """
    if path == STDIN:
        if sys.stdin is None:
            raise DataError("stdin is closed; expected rows on it, or --input FILE")
        binary: Any = sys.stdin.buffer
        stream = binary if isinstance(binary, io.BufferedReader) else io.BufferedReader(binary)
        _check_head(stream, "stdin")
        yield stream
        return
    if Path(path).is_dir():
        raise DataError(f"{path} is a directory; expected a JSON Lines or CSV file")
    try:
        opened = Path(path).open("rb")  # noqa: SIM115  (used as one below; the error is of opening alone)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be opened ({reason}); expected a JSON Lines or CSV file") from None
    with opened as stream:
        _check_head(stream, path)
        yield stream


def _check_head(stream: io.BufferedReader, name: str) -> None:
    try:
        head = stream.peek(HEAD_BYTES)[:HEAD_BYTES]
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror})") from None
    # A pipe may have given only the first bytes so far; none at all means its end.
    if not head:
        raise _no_rows(name)
    for signature, advice in _SIGNATURES.items():
        if head.startswith(signature):
            raise DataError(f"{name} is {advice}")
    text = head.decode("utf-8", errors="replace")
    n_odd = sum(
        character == "\ufffd" or (character < " " and character not in "\t\n\r\f\v") for character in text
    )
    if n_odd > max(MIN_ODD, MAX_ODD_SHARE * len(text)):
        raise DataError(f"{name} is binary, or text in another encoding; expected JSON Lines or CSV in UTF-8")


def _no_rows(name: str) -> DataError:
    return DataError(
        f'{name} has no rows; expected JSON Lines such as {{"text": "…"}}, or CSV with a header and rows'
    )


def read_rows(stream: io.BufferedReader, layout: Layout) -> Iterator[Row | RowError]:
    """Read rows as they are asked for; the first one at once.

    Raises:
        DataError: there is no row, no such column, or (while rows are taken) the rest cannot be read.
    """
    if layout.resolve_format() is Format.JSONL:
        rows = _json_rows(stream, layout)
    else:
        rows = _csv_rows(stream, layout)
    first = next(rows, None)
    if first is None:
        raise _no_rows(layout.name)
    return itertools.chain([first], rows)


def make_content(text: str, layout: Layout, language: str | None = None) -> Content:
    """Make a content of a text from outside.

    Raises:
        ContentError: the text is empty, too long, or holds a lone surrogate; the language is no tag.
    """
    if not text.strip():
        raise ContentError("text is empty; expected at least one visible character")
    if len(text) > layout.max_characters:
        raise ContentError(
            f"text has {len(text)} characters, more than {layout.max_characters}; "
            "cut it or raise --max-characters"
        )
    return Content.from_text(text, _tag(language))


def _tag(language: str | None) -> str | None:
    if language and not LANGUAGE_TAG.fullmatch(language):
        raise ContentError("language is no BCP-47 tag; expected such as en or pt-BR, or none")
    return language or None


def _lines(stream: io.BufferedReader, layout: Layout) -> Iterator[bytes | None]:
    """Give each line with its end, without a byte order mark; `None` for one that is too long."""
    limit = layout.max_line_bytes
    try:
        for number in itertools.count():
            line = stream.readline(limit + 1)
            if not line:
                return
            if len(line) > limit:
                while line and not line.endswith(b"\n"):
                    line = stream.readline(SKIP_BYTES)
                yield None
                continue
            yield line.removeprefix(_BOM) if number == 0 else line
    except OSError as error:
        raise DataError(f"{layout.name}: cannot be read further ({error.strerror})") from None


def _json_rows(stream: io.BufferedReader, layout: Layout) -> Iterator[Row | RowError]:
    n_rows = 0
    for number, line in enumerate(_lines(stream, layout), 1):
        if line is not None and not line.strip():
            continue
        n_rows += 1
        yield _json_row(line, number, str(n_rows), layout)


def _json_row(line: bytes | None, number: int, row_id: str, layout: Layout) -> Row | RowError:
    where = f"line {number}"
    if line is None:
        return _error(
            row_id, f"{where}: more than {layout.max_line_bytes} bytes; expected one JSON object a line"
        )
    try:
        value = json.loads(line.rstrip().decode("utf-8"))
    except UnicodeDecodeError as error:
        return _error(
            row_id,
            f"{where}: not UTF-8 at byte {error.start}; convert the file: iconv -f LATIN1 -t UTF-8 FILE",
        )
    except json.JSONDecodeError as error:
        return _error(row_id, f"{where}: not JSON at column {error.colno}; expected one JSON object a line")
    except RecursionError:
        return _error(row_id, f"{where}: JSON nested too deep; expected one flat JSON object a line")
    except ValueError:
        return _error(row_id, f"{where}: a whole number of too many digits; write it as text")
    if not isinstance(value, dict):
        return _error(row_id, f"{where}: {_kind(value)}; expected a JSON object with {layout.text!r}")
    own_id = value.get(layout.id or _ID)
    if isinstance(own_id, str | int) and not isinstance(own_id, bool):
        if _has_surrogate(str(own_id)):
            return _error(
                row_id, f"{where}: {layout.id or _ID!r} has a lone surrogate; expected valid Unicode"
            )
        row_id = str(own_id)
    elif own_id is not None:
        return _error(
            row_id, f"{where}: {layout.id or _ID!r} is {_kind(own_id)}; expected text or a whole number"
        )
    if _PARTS in value and layout.text not in value:
        return _parts_row(row_id, value, where, layout)
    if layout.text not in value:
        keys = sorted(value)[:12]
        return _error(
            row_id,
            f"{where}: no {layout.text!r} in the object{nearest(layout.text, keys)}; see --text-column",
        )
    text, language = value[layout.text], value.get(_LANGUAGE)
    if not isinstance(text, str):
        return _error(row_id, f"{where}: {layout.text!r} is {_kind(text)}; expected text")
    if not isinstance(language, str | None):
        return _error(row_id, _language_message(language, where))
    return _row(row_id, text, language, where, layout)


def _language_message(language: object, where: str) -> str:
    return f'{where}: {_LANGUAGE!r} is {_kind(language)}; expected text such as "en"'


def _parts_row(row_id: str, value: dict[str, Any], where: str, layout: Layout) -> Row | RowError:
    """Give a row of texts and images; paths are relative to the folder of the file."""
    language = value.get(_LANGUAGE)
    if not isinstance(language, str | None):
        return _error(row_id, _language_message(language, where))
    try:
        parts = parse_parts(value[_PARTS], Path(layout.name).parent, layout.max_characters)
        return Row(row_id, Content(parts, (), _tag(language)))
    except ContentError as error:
        return RowError(row_id, ScoreError("ContentError", f"{where}: {error}"))


def _csv_rows(stream: io.BufferedReader, layout: Layout) -> Iterator[Row | RowError]:
    # The limit is one for the process; only this program's own reading uses it.
    csv.field_size_limit(layout.max_line_bytes)
    delimiter = "\t" if layout.resolve_format() is Format.TSV else ","
    reader = csv.reader(_csv_lines(stream, layout), delimiter=delimiter, strict=True)
    header = _csv_header(reader, layout)
    text_at = header.index(layout.text)
    id_column = layout.id or _ID
    id_at = header.index(id_column) if id_column in header else None
    language_at = header.index(_LANGUAGE) if _LANGUAGE in header and layout.text != _LANGUAGE else None
    for n_rows in itertools.count(1):
        where = f"line {reader.line_num + 1}"
        try:
            cells = next(reader, None)
            while cells == []:
                where = f"line {reader.line_num + 1}"
                cells = next(reader, None)
        except csv.Error as error:
            yield _csv_error(error, str(n_rows), where, layout)
            continue
        if cells is None:
            return
        own_id = cells[id_at] if id_at is not None and id_at < len(cells) else ""
        row_id = str(n_rows) if _has_surrogate(own_id) else own_id or str(n_rows)
        if any(map(_has_surrogate, cells)):
            yield _error(row_id, f"{where}: not UTF-8; convert the file: iconv -f LATIN1 -t UTF-8 FILE")
            continue
        if len(cells) <= text_at or any(cells[len(header) :]):
            yield _error(
                row_id,
                f"{where}: {len(cells)} cells, the header has {len(header)}; "
                "put quotes around a cell that holds a delimiter",
            )
            continue
        language = cells[language_at] if language_at is not None and language_at < len(cells) else None
        yield _row(row_id, cells[text_at], language, where, layout)


def _csv_lines(stream: io.BufferedReader, layout: Layout) -> Iterator[str]:
    for number, line in enumerate(_lines(stream, layout), 1):
        if line is None:
            raise DataError(
                f"{layout.name}, line {number}: more than {layout.max_line_bytes} bytes; "
                "the rows before it were scored, the rest cannot be told apart"
            )
        # A byte that is no UTF-8 becomes a lone surrogate, and an error of the row that it is in.
        yield line.decode("utf-8", errors="surrogateescape")


def _csv_header(reader: Iterator[list[str]], layout: Layout) -> list[str]:
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise DataError(f"{layout.name}, line 1: not CSV ({error}); expected a header") from None
    columns = [layout.text] if layout.id is None else [layout.text, layout.id]
    for column, option in zip(columns, ("--text-column", "--id-column"), strict=False):
        if header.count(column) != 1:
            found = ", ".join(repr(name[:40]) for name in header[:20])
            problem = "no column" if column not in header else "more than one column"
            raise DataError(
                f"{layout.name}: {problem} {column!r}; found {found}"
                f"{nearest(column, header)}; pass {option} NAME"
            )
    return header


def _csv_error(error: csv.Error, row_id: str, where: str, layout: Layout) -> RowError:
    if "field larger" in str(error):
        raise DataError(
            f"{layout.name}, {where}: a cell of more than {layout.max_line_bytes} characters; "
            "is a quote left open? the rows before it were scored, the rest cannot be told apart"
        )
    if "unexpected end" in str(error):
        return _error(
            row_id,
            f"{where}: a quote is opened and never closed; close it: this row goes to the end of the file",
        )
    return _error(row_id, f"{where}: not CSV ({error}); expected a quote inside a quoted cell written as two")


def _row(row_id: str, text: str, language: str | None, where: str, layout: Layout) -> Row | RowError:
    try:
        return Row(row_id, make_content(text, layout, language))
    except ContentError as error:
        return RowError(row_id, ScoreError("ContentError", f"{where}: {error}"))


def _error(row_id: str, message: str) -> RowError:
    return RowError(row_id, ScoreError("DataError", message))


def _has_surrogate(text: str) -> bool:
    return not text.isascii() and re.search("[\ud800-\udfff]", text) is not None


def _kind(value: object) -> str:
    """Say what kind of JSON value it is; never the value."""
    if value is None:
        return "null"
    kinds = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "an object",
    }
    return kinds[type(value)]
