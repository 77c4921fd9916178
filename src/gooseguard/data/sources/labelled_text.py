"""Gzipped JSON Lines of labelled text -> examples. Knows nothing of duplicates or splits.

A row is `{"text", "split", "lang", "native", "y"}`: the text, the publisher's split, its ISO 639-1 language,
the publisher's own labels untouched, and `y`, 0 or 1 for each label that was annotated. A label absent from
`y` was not annotated.
"""

from __future__ import annotations

import gzip
import json
import zlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gooseguard.core.content import Content
from gooseguard.core.errors import ConfigError, ContentError, DataError
from gooseguard.core.example import Example
from gooseguard.core.taxonomy import nearest
from gooseguard.data.mapping import LABELLED_TEXT, read_mapping
from gooseguard.data.sources.source import Card, Faults, Source, SourceRow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from gooseguard.data.mapping import SourceSet
    from gooseguard.data.sources.source import SourceConfig

ROW_FIELDS = {"text": str, "split": str, "lang": str, "native": dict, "y": dict}
"""What a row holds, and of which JSON type."""

TRAINED = ("open", "weak")
"""Groups that are read where none is named: the others must be asked for."""


def read_set(
    root: Path,
    source: SourceSet,
    labels: Mapping[str, str],
    categories: Collection[str] | None = None,
    faults: Faults | None = None,
) -> Iterator[SourceRow]:
    """Read one set, in the order of its file.

    Args:
        root: folder that the paths of the sets are relative to.
        source: the set.
        labels: label of the sets -> category; a label that it lacks is an error.
        categories: keep labels of these only; `None` keeps all.
        faults: takes bad rows, and the file where it is damaged; `None` stops at the first.

    Raises:
        DataError: the file is missing or damaged, or a row is not of the layout; names file and line.
    """
    faults = faults if faults is not None else Faults()
    path = root / source.path
    line_number = 0
    try:
        with gzip.open(path, "rb") as lines:
            for line_number, line in enumerate(lines, start=1):
                place = f"{source.path}, line {line_number}"
                try:
                    row = _read_row(line, place, line_number, source, labels, categories)
                except DataError as error:
                    faults.add(source.path, str(error))
                    continue
                yield row
    except FileNotFoundError:
        raise DataError(
            f"{source.path}: no such file under the folder of the sets; expected it for {source.name!r}"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        faults.add(
            source.path,
            f"{source.path}, after line {line_number}: {type(error).__name__}; "
            "expected gzipped UTF-8 JSON Lines; fetch it again",
        )


def _read_row(
    line: bytes,
    place: str,
    line_number: int,
    source: SourceSet,
    labels: Mapping[str, str],
    categories: Collection[str] | None,
) -> SourceRow:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{place}: is not UTF-8 at byte {error.start}; expected gzipped UTF-8 JSON Lines"
        ) from None
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
        place,
    )


def _read_subgroups(native: Mapping[str, Any], field: str) -> tuple[str, ...]:
    found = native.get(field) if field else None
    names = [found] if isinstance(found, str) else found if isinstance(found, list) else []
    return tuple(name for name in names if isinstance(name, str) and name not in ("", "none"))


def open_labelled_text(root: Path, config: SourceConfig) -> tuple[Source, ...]:
    """Open the sets of a folder; `select` chooses groups, or sets by name; else those that may be trained on.

    Raises:
        ConfigError: the folder or a set is not there, a group or set is unknown, or the mapping is wrong.
    """
    if not root.is_dir():
        raise ConfigError(f"labelled_text: no such folder: {root}; expected the folder of the sets")
    mapping = read_mapping(Path(config.mapping) if config.mapping else LABELLED_TEXT)
    known = {name for source in mapping.sets for name in (source.name, source.group)}
    for name in config.select:
        if name not in known:
            raise ConfigError(f"labelled_text: {name!r} is no set or group{nearest(name, known)}")
    chosen = [
        source
        for source in mapping.sets
        if (
            source.group in TRAINED if not config.select else {source.name, source.group} & set(config.select)
        )
    ]
    missing = [source.path for source in chosen if not (root / source.path).is_file()]
    if missing:
        raise ConfigError(
            f"labelled_text: {root} has no {missing[0]}; expected it, or choose sets with select"
        )
    return tuple(
        Source(_card(source), root, (root / source.path,), partial(_rows, root, source, mapping.labels))
        for source in chosen
    )


def _rows(root: Path, source: SourceSet, labels: Mapping[str, str], faults: Faults) -> Iterator[SourceRow]:
    return read_set(root, source, labels, None, faults)


def _card(source: SourceSet) -> Card:
    return Card(
        name=source.name,
        title=source.name,
        licence=source.licence,
        citation=source.citation,
        meaning=source.meaning,
        faults=source.faults,
        # One set may hold several languages: each row says its own.
        language=None,
        group=source.group,
        weak=source.weak,
    )
