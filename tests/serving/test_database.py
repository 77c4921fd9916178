import sqlite3
import threading

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from gooseguard.core.errors import ConfigError, StorageError
from gooseguard.serving import database
from gooseguard.serving.database import (
    MOST_ROWS,
    SCHEMA_VERSION,
    describe,
    insert_rows,
    open_database,
    translated,
)
from gooseguard.serving.tables import metadata, settings, verdicts


def test_migrations_lead_to_the_tables_of_the_code(engine):
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == SCHEMA_VERSION


def test_the_version_in_the_code_is_that_of_the_newest_migration():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "gooseguard:serving/migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [SCHEMA_VERSION]


def test_opening_again_keeps_what_is_there(database_url, engine):
    salt = sa.select(settings.c.value)
    with engine.connect() as connection:
        one = connection.execute(salt).scalar_one()
    again = open_database(database_url)
    with again.connect() as connection:
        assert connection.execute(salt).scalar_one() == one
    again.dispose()
    assert len(bytes.fromhex(one)) == 32


def test_two_servers_may_start_on_one_empty_database(database_url):
    failures = []

    def start():
        try:
            open_database(database_url).dispose()
        except (ConfigError, StorageError) as error:
            failures.append(str(error))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_file_is_for_its_owner_only(tmp_path):
    engine = open_database(str(tmp_path / "x.db"))
    with engine.begin() as connection:
        connection.execute(settings.insert(), [{"name": "x", "value": "y"}])
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    engine.dispose()
    assert modes == {"x.db": 0o600, "x.db-wal": 0o600, "x.db-shm": 0o600}


@pytest.mark.parametrize(("flush", "synchronous"), [(True, 2), (False, 1)])
def test_sqlite_survives_what_was_asked_and_overwrites_what_is_deleted(tmp_path, flush, synchronous):
    engine = open_database(str(tmp_path / "new" / "folder" / "x.db"), flush=flush)
    with engine.connect() as connection:
        values = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "secure_delete")
        }
    engine.dispose()
    # https://www.sqlite.org/pragma.html#pragma_synchronous: 1 is NORMAL, 2 is FULL.
    assert values == {"journal_mode": "wal", "synchronous": synchronous, "secure_delete": 1}


def test_a_newer_schema_is_refused(tmp_path):
    path = tmp_path / "x.db"
    open_database(str(path)).dispose()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(ConfigError, match=r"schema 9999 is newer than .*; upgrade gooseguard"):
        open_database(str(path))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://h/x", "kind 'mysql', expected sqlite or postgresql"),
        ("sqlite://", "in memory is lost"),
        ("sqlite:///:memory:", "in memory is lost"),
        ("://", "not a URL"),
    ],
)
def test_wrong_urls(url, message):
    with pytest.raises(ConfigError, match=message):
        open_database(url)


def test_a_file_that_is_no_database(tmp_path):
    path = tmp_path / "x.db"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(StorageError, match=r"cannot open .*x\.db \(DatabaseError SQLITE_NOTADB\)"):
        open_database(str(path))


def test_a_server_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(database, "CONNECT_TIMEOUT_S", 1)
    # Port 9 of this machine: nobody listens there.
    with pytest.raises(StorageError) as caught:
        open_database("postgresql://someone:secret@127.0.0.1:9/x")
    assert "secret" not in str(caught.value)
    assert "someone:***@127.0.0.1:9/x" in str(caught.value)


def test_rows_go_in_together_as_they_are(engine):
    row = {
        "created": 1764000000.123456, "request": "req_\u00e9", "position": 0, "api": "score", "key": None,
        "item": "a'b\"c?", "author": None, "community": "\ufffd", "digest": "00", "model": "m@1",
        "policy": "p@1", "action": "allow", "flagged": [],
        "scores": {"toxicity": 0.1, "hate": None}, "error": None, "content": None,
    }  # fmt: skip
    # More than any one statement takes, and no power of two; some without scores.
    written = [
        row | {"position": position, "scores": None if position % 3 else row["scores"]}
        for position in range(2 * MOST_ROWS + 13)
    ]
    with engine.begin() as connection:
        insert_rows(connection, verdicts, written)
    with engine.connect() as connection:
        found = connection.execute(sa.select(verdicts).order_by(verdicts.c.id)).mappings().all()
        n_nulls = connection.execute(sa.select(sa.func.count()).where(verdicts.c.scores.is_(None))).scalar()
    assert [{name: one[name] for name in row} for one in found] == written
    assert n_nulls == sum(one["scores"] is None for one in written)


def test_a_description_has_no_password():
    assert describe("postgresql://me:secret@db/x") == "postgresql+psycopg://me:***@db/x"


def test_errors_do_not_repeat_rows(engine):
    row = {"name": "author-salt", "value": "<content>"}
    with pytest.raises(StorageError) as caught, translated("write"), engine.begin() as connection:
        connection.execute(settings.insert(), [row])
    assert "<content>" not in str(caught.value)
    assert caught.value.is_row_at_fault
    assert caught.value.__suppress_context__
