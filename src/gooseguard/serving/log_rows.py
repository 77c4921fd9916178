"""What stands in the log: read, delete and prune its rows, beside a running server or without one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from gooseguard.core.errors import ConfigError
from gooseguard.serving.database import translated
from gooseguard.serving.records import RowMaker, storable
from gooseguard.serving.tables import settings, suggestions, verdicts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Engine, Table

READ_ROWS = 1000
"""Rows read at once: an export of any length takes the memory of these."""

DELETE_ROWS = 5000
"""Rows deleted at once: a server that writes meanwhile waits for these and not for all."""

TABLES: Mapping[str, Table] = {"verdicts": verdicts, "suggestions": suggestions}
"""What can be read and deleted, by name."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows: those that fit everything that is not `None`."""

    request: str | None = None
    """Id of a request, as answered in `x-request-id`."""
    item: str | None = None
    """The caller's id of a content."""
    author: str | None = None
    """The caller's id of an author, not its digest."""
    since: float | None = None
    """From here, in seconds since 1970."""
    until: float | None = None
    """Before here, in seconds since 1970."""

    def is_all(self) -> bool:
        """Tell whether it leaves nothing out."""
        return self == Selection()


def read_rows(engine: Engine, table: str, selection: Selection) -> Iterator[dict[str, Any]]:
    """Give rows in the order they were written, ready for JSON: `created` in ISO 8601, `content` as a table.

    Raises:
        StorageError: the database cannot be read.
    """
    source = TABLES[table]
    conditions = _conditions(engine, source, selection)
    last = 0
    while True:
        query = sa.select(source).where(source.c.id > last, *conditions).order_by(source.c.id)
        with translated("read its rows"), engine.connect() as connection:
            rows = connection.execute(query.limit(READ_ROWS)).all()
        for row in rows:
            yield _readable(row._asdict())
        if len(rows) < READ_ROWS:
            return
        last = rows[-1].id


def delete_rows(
    engine: Engine, selection: Selection, tables: Sequence[str] = tuple(TABLES)
) -> dict[str, int]:
    """Delete rows of the tables named, for good. Gives how many of each.

    SQLite overwrites them in its file and empties its write-ahead log; PostgreSQL keeps them in its own logs
    and dead rows until it vacuums and its administrator's backups run out.

    Raises:
        ConfigError: the selection leaves nothing out.
        StorageError: the database cannot be written.
    """
    if selection.is_all():
        raise ConfigError("log: nothing says which rows; expected a request, an item, an author or a time")
    counts = {name: _delete(engine, TABLES[name], selection) for name in tables}
    if engine.dialect.name == "sqlite":
        with translated("empty its write-ahead log"), engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    return counts


def prune(engine: Engine, table: Table, before: float, *, most: int) -> int:
    """Delete at most `most` rows written before a time, in seconds since 1970. Gives how many.

    Raises:
        StorageError: the database cannot be written.
    """
    return _delete_some(engine, table, [table.c.created < before], most)


def read_salt(engine: Engine) -> bytes:
    """Give the key of a database's author digests.

    Raises:
        StorageError: it cannot be read.
    """
    query = sa.select(settings.c.value).where(settings.c.name == "author-salt")
    with translated("read its settings"), engine.connect() as connection:
        return bytes.fromhex(connection.execute(query).scalar_one())


def _delete(engine: Engine, table: Table, selection: Selection) -> int:
    conditions = _conditions(engine, table, selection)
    total = n_rows = _delete_some(engine, table, conditions, DELETE_ROWS)
    while n_rows == DELETE_ROWS:
        n_rows = _delete_some(engine, table, conditions, DELETE_ROWS)
        total += n_rows
    return total


def _delete_some(engine: Engine, table: Table, conditions: list[ColumnElement[bool]], most: int) -> int:
    oldest = sa.select(table.c.id).where(*conditions).order_by(table.c.id).limit(most)
    with translated("delete rows"), engine.begin() as connection:
        return connection.execute(table.delete().where(table.c.id.in_(oldest))).rowcount


def _conditions(engine: Engine, table: Table, selection: Selection) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if selection.request is not None:
        conditions.append(table.c.request == selection.request)
    if selection.item is not None:
        conditions.append(table.c.item == storable(selection.item))
    if selection.author is not None:
        digest = RowMaker(read_salt(engine)).author_digest(selection.author)
        conditions.append(table.c.author == digest)
    if selection.since is not None:
        conditions.append(table.c.created >= selection.since)
    if selection.until is not None:
        conditions.append(table.c.created < selection.until)
    return conditions


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    created = datetime.fromtimestamp(row["created"], UTC).isoformat(timespec="milliseconds")
    content = None if row["content"] is None else json.loads(row["content"])
    return row | {"created": created, "content": content}
