import asyncio

import pytest
from log_entries import make_entry

from gooseguard.core.errors import ConfigError
from gooseguard.serving import log_rows
from gooseguard.serving.config import LogConfig
from gooseguard.serving.database import open_database
from gooseguard.serving.log_rows import Selection, delete_rows, prune, read_rows
from gooseguard.serving.tables import verdicts
from gooseguard.serving.verdict_log import VerdictLog


def fill(url, entries, **config):
    """Write entries, the n-th at n seconds since 1970."""
    now = 0.0

    async def use():
        nonlocal now
        log = VerdictLog(open_database(url), LogConfig(keep_days=0, **config), clock=lambda: now)
        log.start()
        for number, entry in enumerate(entries):
            now = float(number)
            await log.append([entry])
        await log.close()

    asyncio.run(use())


def requests(engine, table="verdicts", **selection):
    return [row["request"] for row in read_rows(engine, table, Selection(**selection))]


@pytest.fixture
def filled(database_url, engine):
    fill(
        database_url,
        [
            make_entry("r0", id="a", author="ann"),
            make_entry("r1", id="b", author="bob"),
            make_entry("r2", id="a", author="bob"),
            make_entry("r3", api="suggest", suggested={"toxicity": 1.0}, author="bob"),
        ],
    )
    return engine


def test_rows_are_read_in_order_in_pieces(filled, monkeypatch):
    monkeypatch.setattr(log_rows, "READ_ROWS", 2)
    assert requests(filled) == ["r0", "r1", "r2"]
    assert requests(filled, "suggestions") == ["r3"]


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        ({"request": "r1"}, ["r1"]),
        ({"item": "a"}, ["r0", "r2"]),
        ({"author": "bob"}, ["r1", "r2"]),
        ({"author": "bob", "item": "a"}, ["r2"]),
        ({"since": 1.0}, ["r1", "r2"]),
        ({"until": 1.0}, ["r0"]),
        ({"author": "nobody"}, []),
    ],
)
def test_selections(filled, selection, found):
    assert requests(filled, **selection) == found


def test_what_is_read_is_ready_for_json(database_url, engine):
    fill(database_url, [make_entry("r0")], content=True)
    (row,) = read_rows(engine, "verdicts", Selection())
    assert row["created"] == "1970-01-01T00:00:00.000+00:00"
    assert row["content"]["parts"][0]["text"] == "<text>"


def test_an_author_is_deleted_everywhere(filled, monkeypatch):
    monkeypatch.setattr(log_rows, "DELETE_ROWS", 1)
    assert delete_rows(filled, Selection(author="bob")) == {"verdicts": 2, "suggestions": 1}
    assert requests(filled) == ["r0"]
    assert requests(filled, "suggestions") == []


def test_nothing_said_nothing_deleted(filled):
    with pytest.raises(ConfigError, match="nothing says which rows"):
        delete_rows(filled, Selection())
    assert requests(filled) == ["r0", "r1", "r2"]


def test_pruning_takes_the_oldest_first(filled):
    assert prune(filled, verdicts, 2.0, most=1) == 1
    assert requests(filled) == ["r1", "r2"]
    assert prune(filled, verdicts, 2.0, most=10) == 1
    assert requests(filled) == ["r2"]


def test_deleted_content_is_in_no_file_of_sqlite(tmp_path):
    engine = open_database(str(tmp_path / "x.db"))
    fill(str(tmp_path / "x.db"), [make_entry("r0", author="ann")], content=True)

    def is_there():
        return any(b"<text>" in path.read_bytes() for path in tmp_path.iterdir())

    assert is_there()
    delete_rows(engine, Selection(author="ann"))
    assert not is_there()
    engine.dispose()
