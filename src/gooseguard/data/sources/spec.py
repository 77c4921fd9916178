"""A TOML file that describes a source -> its card, its columns and its rules; and a record -> a row.

    name = "my-forum"
    title = "Comments of my forum, 2026"
    licence = "ours"
    citation = "none"
    meaning = "1: a moderator removed it as an insult"
    language = "en"

    [columns]
    text = "body"
    id = "comment_id"

    [[labels]]
    field = "removed"
    category = "insult"
    values = { yes = 1, no = 0 }

Packaged sources are described by such files too, so that anyone can read, and replace, what their labels are
taken to mean. Rules: `data/rules.py`.
"""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gooseguard.core.content import Content, Part
from gooseguard.core.errors import ConfigError, ContentError, DataError
from gooseguard.core.example import Example
from gooseguard.core.taxonomy import nearest
from gooseguard.data.rules import (
    LabelRule,
    SubgroupRule,
    annotate,
    find_subgroups,
    read_label_rule,
    read_subgroup_rule,
)
from gooseguard.data.sources.source import Card, SourceRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gooseguard.core.scorer import Span

PACKAGED = Path(__file__).parent
"""Folder of the packaged descriptions, `<name>.toml`."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column, or key, holds what; empty where a source has none."""

    text: str = "text"
    """What is judged."""
    context: str = ""
    """What it replies to."""
    id: str = ""
    """Unique in the source; without it, file and row number."""
    split: str = ""
    """The publisher's split."""
    language: str = ""
    """BCP-47 tag of the row."""
    image: str = ""
    """Path of an image, relative to the source."""
    keep: tuple[str, ...] = ()
    """Further columns that are kept as `native`, beside those that the rules read."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a file, whatever the format."""

    file: str
    """Name relative to the source."""
    number: int
    """From 1, within the file; 0 where the file is the row."""
    fields: Mapping[str, Any]
    """Column to cell."""

    @property
    def place(self) -> str:
        """Give file and row, for people."""
        return f"{self.file}, row {self.number}" if self.number else self.file


@dataclass(frozen=True, slots=True)
class Spec:
    """What a TOML file says of a source."""

    card: Card
    """What is known of it as a whole."""
    columns: Columns
    """Where its rows hold what."""
    labels: tuple[LabelRule, ...] = ()
    """What its labels mean."""
    subgroups: tuple[SubgroupRule, ...] = ()
    """Whom its rows mention."""

    def native_fields(self) -> tuple[str, ...]:
        """Give the columns that are kept: those that rules read, and those that are asked for."""
        names = [name for rule in self.labels for name in (rule.field, rule.votes)]
        names += [rule.field for rule in self.subgroups]
        return tuple(dict.fromkeys(name for name in (*names, *self.columns.keep) if name))

    def make_row(
        self,
        record: Record,
        parts: tuple[Part, ...] | None = None,
        *,
        row_id: str = "",
        split: str = "",
        spans: tuple[Span, ...] = (),
    ) -> SourceRow:
        """Make a row of a record.

        Args:
            record: as read.
            parts: what is judged; without it, the text column.
            row_id: unique in the source; without it, the id column, or file and row number.
            split: the publisher's; without it, the split column.
            spans: where annotators saw what they labelled.

        Raises:
            DataError: the record has no content, or a label that no rule knows; names file and row.
        """
        columns, cells = self.columns, record.fields
        row_id = row_id or _text(cells, columns.id) or f"{record.file}/{record.number}"
        try:
            annotation = annotate(self.labels, cells)
            subgroups = find_subgroups(self.subgroups, cells)
            if parts is None:
                parts = (Part.from_text(_needed_text(cells, columns.text)),)
            context = _text(cells, columns.context)
            content = Content(
                parts,
                (Part.from_text(context),) if context else (),
                _text(cells, columns.language) or self.card.language,
            )
        except (DataError, ContentError) as error:
            raise DataError(f"{record.place}: {error}") from None
        native = {name: _plain(cells[name]) for name in self.native_fields() if name in cells}
        return SourceRow(
            Example(f"{self.card.name}/{row_id}", content, annotation.labels, subgroups, self.card.name),
            native,
            split or _text(cells, columns.split),
            record.place,
            annotation.votes,
            annotation.weights,
            spans,
        )


def packaged_spec(name: str, mapping: str = "") -> Spec:
    """Read the description of a source: the packaged one, or the file that is named.

    Raises:
        ConfigError: as `read_spec`.
    """
    return read_spec(Path(mapping) if mapping else PACKAGED / f"{name}.toml")


def needed_spec(reader: str, mapping: str) -> Spec:
    """Read the description that a generic reader cannot do without.

    Raises:
        ConfigError: none is named, or as `read_spec`.
    """
    if not mapping:
        raise ConfigError(
            f"source {reader!r}: needs a description of its columns and labels; name a TOML file, as "
            'mapping = "my-forum.toml"; docs/data.md shows one'
        )
    return read_spec(Path(mapping))


def read_spec(path: Path) -> Spec:
    """Read a description.

    Raises:
        ConfigError: the file is missing or no TOML, a key is unknown, missing or of the wrong type, or a
            category is none of the taxonomy.
    """
    where = f"mapping {path.name}"
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read ({error.strerror}); expected a TOML file") from None
    except ValueError as error:
        raise ConfigError(f"{where}: is no TOML: {error}") from None
    rest = {key: value for key, value in table.items() if key not in ("columns", "labels", "subgroups")}
    columns = table.get("columns", {})
    for key, kind in (("columns", dict), ("labels", list), ("subgroups", list)):
        if not isinstance(table.get(key, kind()), kind):
            raise ConfigError(f"{where}: {key} is no {'table' if kind is dict else 'array of tables'}")
    keep = columns.get("keep", [])
    return Spec(
        _build(Card, rest, where),
        _build(Columns, {**columns, "keep": tuple(keep)}, f"{where}: columns"),
        tuple(
            read_label_rule(rule, f"{where}: labels, number {number}")
            for number, rule in enumerate(table.get("labels", []), 1)
        ),
        tuple(
            read_subgroup_rule(rule, f"{where}: subgroups, number {number}")
            for number, rule in enumerate(table.get("subgroups", []), 1)
        ),
    )


def _build(kind: type[Any], table: Mapping[str, Any], where: str) -> Any:  # noqa: ANN401  (a `kind`)
    known = {field.name: field for field in fields(kind)}
    for key, value in table.items():
        if key not in known:
            raise ConfigError(
                f"{where}: unknown key {key!r}; expected one of {', '.join(known)}{nearest(key, known)}"
            )
        expected = bool if key == "weak" else tuple if key == "keep" else str
        if not isinstance(value, expected):
            raise ConfigError(f"{where}: {key} is {value!r}, expected {expected.__name__}")
    missing = [name for name, field in known.items() if field.default is MISSING and not table.get(name)]
    if missing:
        raise ConfigError(f"{where}: {', '.join(missing)} is missing; every source needs it")
    return kind(**table)


def _text(cells: Mapping[str, Any], name: str) -> str:
    cell = cells.get(name) if name else None
    return "" if cell is None else str(cell)


def _needed_text(cells: Mapping[str, Any], name: str) -> str:
    cell = cells.get(name)
    if not isinstance(cell, str):
        raise DataError(f"column {name!r} is {type(cell).__name__}, expected text")
    return cell


def _plain(cell: object) -> object:
    """Make a cell fit for JSON: an array of NumPy or Arrow becomes a list."""
    if cell is None or isinstance(cell, str | int | float | bool | list | dict):
        return cell
    return str(cell)
