"""Gzipped JSON Lines of labelled text -> examples. Knows nothing of duplicates or splits.

A row is `{"text", "split", "lang", "native", "y"}`: the text, the publisher's split, its ISO 639-1 language,
the publisher's own labels untouched, and `y`, 0 or 1 for each label that was annotated. A label absent from
`y` was not annotated.
"""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gooseguard.core.content import Content
from gooseguard.core.errors import ContentError, DataError
from gooseguard.core.example import Example

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from gooseguard.data.mapping import SourceSet

ROW_FIELDS = {"text": str, "split": str, "lang": str, "native": dict, "y": dict}
"""What a row holds, and of which JSON type."""


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row as read: an example, and what its publisher said of it."""

    example: Example
    """Text, labels and subgroups; its id is `<set>/<line>`."""
    native: dict[str, Any]
    """The publisher's own labels, votes or spans."""
    split: str
    """The publisher's split."""


def read_set(
    root: Path, source: SourceSet, labels: Mapping[str, str], categories: Collection[str] | None = None
) -> Iterator[SourceRow]:
    """Read one set, in the order of its file.

    Args:
        root: folder that the paths of the sets are relative to.
        source: the set.
        labels: label of the sets -> category; a label that it lacks is an error.
        categories: keep labels of these only; `None` keeps all.

    Raises:
        DataError: the file is missing or damaged, or a row is not of the layout; names file and line.
    """
    path = root / source.path
    line_number = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
            for line_number, line in enumerate(lines, start=1):
                yield _read_row(
                    line, f"{source.path}, line {line_number}", line_number, source, labels, categories
                )
    except FileNotFoundError:
        raise DataError(
            f"{source.path}: no such file under the folder of the sets; expected it for {source.name!r}"
        ) from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(
            f"{source.path}, after line {line_number}: {type(error).__name__}; "
            "expected gzipped UTF-8 JSON Lines; fetch it again"
        ) from None


def _read_row(
    line: str,
    place: str,
    line_number: int,
    source: SourceSet,
    labels: Mapping[str, str],
    categories: Collection[str] | None,
) -> SourceRow:
    try:
        row = json.loads(line)
    except ValueError:
        raise DataError(f"{place}: is no JSON; expected one object a line") from None
    if not isinstance(row, dict) or row.keys() != ROW_FIELDS.keys():
        found = f"fields {sorted(row)}" if isinstance(row, dict) else f"a {type(row).__name__}"
        raise DataError(f"{place}: has {found}, expected an object of {', '.join(ROW_FIELDS)}")
    for field, kind in ROW_FIELDS.items():
        if not isinstance(row[field], kind):
            raise DataError(f"{place}: {field} is a {type(row[field]).__name__}, expected {kind.__name__}")
    values: dict[str, float] = {}
    for label, value in row["y"].items():
        if label not in labels:
            raise DataError(
                f"{place}: label {label!r} is not in the mapping; expected one of {', '.join(labels)}"
            )
        # `True == 1`, yet it is not what the layout says.
        if isinstance(value, bool) or value not in (0, 1):
            raise DataError(
                f"{place}: label {label!r} is {json.dumps(value)[:20]}, expected 0 or 1, or no label"
            )
        category = labels[label]
        if categories is None or category in categories:
            values[category] = float(value)
    try:
        content = Content.from_text(row["text"], row["lang"])
    except ContentError as error:
        raise DataError(f"{place}: {error}") from None
    subgroups = _read_subgroups(row["native"], source.subgroups)
    return SourceRow(
        Example(f"{source.name}/{line_number}", content, values, subgroups, source.name),
        row["native"],
        row["split"],
    )


def _read_subgroups(native: Mapping[str, Any], field: str) -> tuple[str, ...]:
    found = native.get(field) if field else None
    names = [found] if isinstance(found, str) else found if isinstance(found, list) else []
    return tuple(name for name in names if isinstance(name, str) and name not in ("", "none"))
