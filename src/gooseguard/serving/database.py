"""The database of a server: a URL to an engine whose tables are there. SQLite by default, PostgreSQL by URL.

SQLite runs with a write-ahead log, so that readers and the one writer do not wait for each other. Deleted
rows are overwritten, since they may hold content.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    SQLAlchemyError,
)

from gooseguard.core.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Engine, Table

SCHEMA_VERSION = "0001"
"""Revision of the newest module in migrations/versions."""

SQLITE = "sqlite"
POSTGRESQL = "postgresql+psycopg"

CONNECT_TIMEOUT_S = 5
"""How long to wait for PostgreSQL to accept a connection, or for SQLite to let go of a lock."""

WAL_PAGES = 16384
"""Pages of SQLite's write-ahead log, 64 MB, from which on a commit itself copies them into the database. That
takes a commit tens of milliseconds; `checkpoint` does it beside them, and comes first."""

CACHE_KB = 512
"""What a connection to SQLite keeps in memory: rows are added at the end of each index, and hardly read."""

MOST_ROWS = 64
"""Rows of one statement to SQLite."""

STATEMENT_TIMEOUT_S = 30
"""How long PostgreSQL may work on one statement."""

# Advisory lock that keeps two servers from migrating one PostgreSQL database at once: "goose" in ASCII.
_MIGRATION_LOCK = 0x676F6F7365


def open_database(url: str, *, flush: bool = True) -> Engine:
    """Connect, and bring the tables to the current schema.

    Args:
        url: `sqlite:///FILE`, `postgresql://USER:PASSWORD@HOST/NAME`, or the path of an SQLite file.
        flush: whether a commit to SQLite waits until it survives a power cut, not just a killed process.

    Raises:
        ConfigError: no such kind of database, its driver is not installed, or a newer version's tables.
        StorageError: it cannot be reached or written.
    """
    address = _parse(url)
    engine = _make_engine(address, flush=flush)
    try:
        _migrate(engine, describe(address))
    except BaseException:
        engine.dispose()
        raise
    return engine


def checkpoint(engine: Engine) -> int:
    """Copy SQLite's write-ahead log into its database, as far as nobody has to wait for it.

    Where nobody commits meanwhile, the next commit begins the log anew.

    Returns:
        The pages of the log; -1 where somebody else is copying it.

    Raises:
        StorageError: the database cannot be written.
    """
    with translated("copy its write-ahead log"), engine.connect() as connection:
        _, n_pages, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()
    return int(n_pages)


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows, each with the same columns.

    Several in one statement on SQLite: its driver lets other threads have the interpreter at each statement,
    and waits for its turn again.

    Raises:
        SQLAlchemyError: a row was refused, or the database cannot be written.
    """
    if connection.dialect.name != SQLITE:
        connection.execute(table.insert(), rows)
        return
    columns = [column for column in table.c if column.name in rows[0]]
    names = tuple(column.name for column in columns)
    as_json = frozenset(column.name for column in columns if isinstance(column.type, sa.JSON))
    begin = 0
    while begin < len(rows):
        # A power of two, so that few statements are ever prepared.
        n_rows = min(MOST_ROWS, 1 << (len(rows) - begin).bit_length() - 1)
        values = [
            msgspec.json.encode(value).decode() if name in as_json and value is not None else value
            for row in rows[begin : begin + n_rows]
            for name in names
            for value in (row[name],)
        ]
        connection.exec_driver_sql(_insertion(table, names, n_rows), tuple(values))
        begin += n_rows


@lru_cache(maxsize=64)
def _insertion(table: Table, names: tuple[str, ...], n_rows: int) -> str:
    """Give the statement, its parameters row by row; `names` in the order of the table."""
    statement = table.insert().values([dict.fromkeys(names, "")] * n_rows)
    return str(statement.compile(dialect=sqlite_dialect()))


def describe(url: str | URL) -> str:
    """Say which database it is, without its password."""
    address = _parse(url) if isinstance(url, str) else url
    return address.render_as_string(hide_password=True)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn errors of the database into `StorageError`, without the values that were to be stored.

    Raises:
        StorageError: the database could not do `what`.
    """
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        # The driver's own words may quote a row; its class, and SQLite's or PostgreSQL's code, do not.
        cause = error.orig if isinstance(error, DBAPIError) else error
        code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
        name = f"{type(cause).__name__} {code}" if code else type(cause).__name__
        raise StorageError(
            f"database: cannot {what} ({name}); check its disk, address and rights",
            is_row_at_fault=isinstance(error, DataError | IntegrityError),
        ) from None


def _parse(url: str) -> URL:
    if "://" not in url:
        return URL.create(SQLITE, database=url)
    try:
        address = make_url(url)
    except ArgumentError:
        raise ConfigError(
            "database URL: not a URL; expected sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"
        ) from None
    if address.drivername in ("postgresql", "postgres"):
        address = address.set(drivername=POSTGRESQL)
    if address.drivername not in (SQLITE, POSTGRESQL):
        raise ConfigError(f"database URL: kind {address.drivername!r}, expected sqlite or postgresql")
    return address


def _make_engine(address: URL, *, flush: bool) -> Engine:
    if address.drivername == SQLITE:
        return _make_sqlite(address, flush=flush)
    # psycopg takes its own time-outs; pre-ping replaces connections that a restarted server left behind.
    options: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "options": f"-c statement_timeout={STATEMENT_TIMEOUT_S * 1000}",
        "application_name": "gooseguard",
    }
    try:
        return sa.create_engine(address, connect_args=options, pool_pre_ping=True, pool_size=2)
    except (NoSuchModuleError, ImportError):
        raise ConfigError(
            "database URL: no driver for PostgreSQL; expected psycopg: pip install 'gooseguard[postgres]'"
        ) from None


def _make_sqlite(address: URL, *, flush: bool) -> Engine:
    if not address.database or address.database == ":memory:":
        raise ConfigError("database URL: SQLite in memory is lost at exit; expected sqlite:///FILE")
    path = Path(address.database)
    with translated(f"make the file {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Only for its owner, whatever the umask; SQLite gives the files beside it the same mode.
        path.touch(0o600)
    engine = sa.create_engine(address, connect_args={"timeout": CONNECT_TIMEOUT_S})

    @sa.event.listens_for(engine, "connect")
    def _set_up(connection: Any, _: object) -> None:  # noqa: ANN401  (whatever the driver gives)
        _write_ahead(connection)
        # In WAL mode either survives a killed process, and only FULL a power cut.
        connection.execute(f"PRAGMA synchronous = {'FULL' if flush else 'NORMAL'}")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")

    return engine


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log, waiting for the lock of the first switch: SQLite does not."""
    end = time.monotonic() + CONNECT_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


def _migrate(engine: Engine, name: str) -> None:
    with translated(f"open {name}"), engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        version = _read_version(connection)
        if version == SCHEMA_VERSION:
            return
    if version is not None and version > SCHEMA_VERSION:
        raise ConfigError(
            f"database {name}: schema {version} is newer than {SCHEMA_VERSION}; upgrade gooseguard"
        )
    # Alembic takes 10 MB of memory, and a server needs it once in its life.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    script = Config()
    script.set_main_option("script_location", "gooseguard:serving/migrations")
    with translated(f"migrate {name}"), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        else:
            # Python's driver begins a transaction at the first INSERT only: tables would be made outside it.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        script.attributes["connection"] = connection
        command.upgrade(script, "head")
        connection.commit()


def _read_version(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return None if version is None else str(version)
