import asyncio
import contextlib
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa
from log_entries import FAILED, make_entry

from gooseguard.core.content import Content
from gooseguard.serving import verdict_log
from gooseguard.serving.config import LogConfig
from gooseguard.serving.database import open_database
from gooseguard.serving.problem import Kind, Problem
from gooseguard.serving.tables import suggestions, verdicts
from gooseguard.serving.verdict_log import VerdictLog


def rows_of(url, table=verdicts):
    engine = open_database(url)
    with engine.connect() as connection:
        rows = connection.execute(sa.select(table).order_by(table.c.id)).all()
    engine.dispose()
    return rows


def run(engine, use, config=None, clock=time.time):
    """Start a log, use it on an event loop, and close it. Gives the log."""
    log = VerdictLog(engine, config or LogConfig(), clock=clock)

    async def inner():
        log.start()
        try:
            await use(log)
        finally:
            await log.close()

    asyncio.run(inner())
    return log


def test_what_append_returns_for_is_there(database_url, engine):
    async def use(log):
        await log.append([make_entry("r1"), make_entry("r1", place=1, outcome=FAILED)])
        # Before the log is closed.
        assert [(row.request, row.position) for row in rows_of(database_url)] == [("r1", 0), ("r1", 1)]

    log = run(engine, use, clock=lambda: 12.5)
    one, other = rows_of(database_url)
    assert one.scores == {"toxicity": 0.9, "insult": 0.2}
    assert (one.flagged, one.action, one.content, one.created) == (["toxicity"], "block", None, 12.5)
    assert (other.scores, other.flagged, other.error) == (None, None, "ContentError")
    assert (log.counts.written, log.counts.waiting, log.counts.lost, log.counts.refused) == (2, 0, 0, 0)


def test_many_callers_share_commits_and_get_each_row_once(database_url, engine):
    commits = []
    sa.event.listen(engine, "commit", commits.append)

    async def use(log):
        await asyncio.gather(*(log.append([make_entry(f"r{n}")]) for n in range(500)))

    run(engine, use)
    assert Counter(row.request for row in rows_of(database_url)) == Counter(f"r{n}" for n in range(500))
    assert len(commits) < 100


def test_words_that_databases_choke_on(database_url, engine):
    entry = make_entry(
        id="a\0b", author="\ud800", community="\0", content=Content.from_text("a\0b \U0001f986")
    )

    async def use(log):
        await log.append([entry])

    run(engine, use, LogConfig(content=True))
    (row,) = rows_of(database_url)
    assert (row.item, row.community) == ("a\ufffdb", "\ufffd")
    assert r"a\u0000b" in row.content


def test_a_row_that_is_refused_does_not_take_its_neighbours_with_it(database_url, engine):
    async def use(log):
        # NOT NULL is violated: a fault of the row, as only a bug could make one.
        bad = make_entry("bad", api=None)
        done = await asyncio.gather(
            *(log.append([entry]) for entry in (make_entry("r1"), bad, make_entry("r2"))),
            return_exceptions=True,
        )
        assert [type(result) for result in done] == [type(None), Problem, type(None)]
        assert log.is_healthy

    log = run(engine, use)
    assert {row.request for row in rows_of(database_url)} == {"r1", "r2"}
    assert log.counts.refused == 1


def test_suggestions_are_kept_with_their_community_unless_forbidden(database_url, engine):
    entry = {"api": "suggest", "suggested": {"toxicity": 1.0}, "community": "/forum/movies"}

    async def use(log):
        await log.append([make_entry("r1", **entry)])
        await log.append([make_entry("r2", may_store=False, **entry)])

    run(engine, use, LogConfig(enabled=False))
    (row,) = rows_of(database_url, suggestions)
    assert (row.request, row.community, row.scores) == ("r1", "/forum/movies", {"toxicity": 1.0})
    assert "<text>" in row.content
    assert rows_of(database_url) == []


def test_rows_past_their_time_are_deleted(database_url, engine, monkeypatch):
    monkeypatch.setattr(verdict_log, "PRUNE_ROWS", 10)
    day = 86_400.0

    async def old(log):
        await log.append([make_entry("old", place=place) for place in range(35)])
        await log.append([make_entry("old", api="suggest")])

    async def new(log):
        # One piece of 10 rows after each commit.
        for number in range(5):
            await log.append([make_entry(f"new{number}")])

    run(engine, old, clock=lambda: 0.0)
    run(engine, new, LogConfig(keep_days=30), clock=lambda: 30.5 * day)
    assert [row.request for row in rows_of(database_url)] == [f"new{number}" for number in range(5)]
    assert len(rows_of(database_url, suggestions)) == 1


@pytest.fixture
def sqlite_url(tmp_path):
    return f"sqlite:///{tmp_path}/gooseguard.db"


def fill_disk(engine):
    """Let no SQLite connection of the engine make its file larger: what a full disk does."""

    def limit(connection, _):
        connection.execute("PRAGMA max_page_count = 1")

    sa.event.listen(engine, "connect", limit)
    engine.dispose()
    return lambda: (sa.event.remove(engine, "connect", limit), engine.dispose())


def fill_pages(url):
    """Fill the free space inside the file, so that the next rows need a page more."""
    engine = open_database(url)
    asyncio.run(_fill(VerdictLog(engine, LogConfig())))


async def _fill(log):
    log.start()
    await log.append([make_entry("first", place=place) for place in range(200)])
    await log.close()


def test_a_full_disk_refuses_and_recovers_by_itself(sqlite_url, monkeypatch, caplog):
    monkeypatch.setattr(verdict_log, "PROBE_S", 0.02)
    fill_pages(sqlite_url)
    engine = open_database(sqlite_url)
    kept = []

    async def use(log):
        free_disk = fill_disk(engine)
        refused = 0
        for number in range(50):
            try:
                await log.append([make_entry(f"r{number}", place=place) for place in range(20)])
                kept.append(f"r{number}")
            except Problem as problem:
                assert problem.kind is Kind.LOG
                assert problem.retry_after_s
                refused += 1
        assert refused > 40
        assert not log.is_healthy
        free_disk()
        deadline = time.monotonic() + 10
        while not log.is_healthy:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        await log.append([make_entry("last")])
        kept.append("last")

    log = run(engine, use)
    assert {row.request for row in rows_of(sqlite_url)} == {"first", *kept}
    assert "verdict log cannot write" in caplog.text
    assert "SQLITE_FULL" in {getattr(record, "error", "") for record in caplog.records}.__str__()
    assert log.counts.lost == 0


def test_where_the_operator_prefers_answers_a_lost_row_is_told(sqlite_url, caplog):
    fill_pages(sqlite_url)
    engine = open_database(sqlite_url)

    async def use(log):
        fill_disk(engine)
        await log.append([make_entry("r1", place=place) for place in range(500)])

    with caplog.at_level(logging.ERROR):
        log = run(engine, use, LogConfig(on_failure="answer"))
    assert log.counts.lost == 500
    (record,) = [record for record in caplog.records if record.message == "verdicts lost"]
    assert (record.request, record.rows) == ("r1", 500)
    assert {row.request for row in rows_of(sqlite_url)} == {"first"}


def test_not_waiting_answers_at_once_and_stops_answering_when_writing_fails(sqlite_url, monkeypatch):
    monkeypatch.setattr(verdict_log, "PROBE_S", 60.0)
    fill_pages(sqlite_url)
    engine = open_database(sqlite_url)

    async def use(log):
        await log.append([make_entry("r1")])
        while log.counts.waiting:
            await asyncio.sleep(0.01)
        fill_disk(engine)
        await log.append([make_entry("lost", place=place) for place in range(500)])
        while log.counts.waiting:
            await asyncio.sleep(0.01)
        with pytest.raises(Problem):
            await log.append([make_entry("refused")])

    log = run(engine, use, LogConfig(wait=False))
    assert {row.request for row in rows_of(sqlite_url)} == {"first", "r1"}
    assert (log.counts.lost, log.counts.refused) == (500, 1)


def test_a_database_that_does_not_keep_up_refuses(sqlite_url):
    engine = open_database(sqlite_url)
    blocker = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)

    async def use(log):
        blocker.execute("BEGIN IMMEDIATE")
        first = asyncio.ensure_future(log.append([make_entry("r1", place=place) for place in range(8)]))
        await asyncio.sleep(0)
        with pytest.raises(Problem) as caught:
            await log.append([make_entry("r2", place=place) for place in range(8)])
        assert caught.value.kind is Kind.LOG
        blocker.execute("COMMIT")
        await first

    run(engine, use, LogConfig(queue_rows=10))
    blocker.close()
    assert {row.request for row in rows_of(sqlite_url)} == {"r1"}


def test_a_caller_that_hangs_up_leaves_its_row_and_harms_nobody(sqlite_url):
    async def use(log):
        task = asyncio.ensure_future(log.append([make_entry("gone")]))
        await asyncio.sleep(0)
        task.cancel()
        await log.append([make_entry("r1")])

    run(open_database(sqlite_url), use)
    assert {row.request for row in rows_of(sqlite_url)} == {"gone", "r1"}


def test_closing_writes_what_waits_and_refuses_what_comes_later(sqlite_url):
    async def use(log):
        tasks = [asyncio.ensure_future(log.append([make_entry(f"r{n}")])) for n in range(20)]
        await asyncio.sleep(0)
        await log.close()
        await asyncio.gather(*tasks)
        with pytest.raises(Problem):
            await log.append([make_entry("late")])

    run(open_database(sqlite_url), use)
    assert len(rows_of(sqlite_url)) == 20


def test_a_bug_in_the_writer_leaves_nobody_waiting(sqlite_url, monkeypatch):
    def crash(_self, jobs):
        raise KeyError("<content>")

    monkeypatch.setattr(VerdictLog, "_commit", crash)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)

    async def use(log):
        for _ in range(2):
            with pytest.raises(Problem):
                await asyncio.wait_for(log.append([make_entry("r1")]), 10)

    run(open_database(sqlite_url), use)


def test_the_write_ahead_log_is_copied_beside_the_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(verdict_log, "CHECKPOINT_S", 0.02)

    def rows_in_the_file():
        # Without the files beside it, which hold what is not copied yet.
        copy = tmp_path / "copy.db"
        copy.write_bytes((tmp_path / "log.db").read_bytes())
        with contextlib.closing(sqlite3.connect(f"file:{copy}?immutable=1", uri=True)) as connection:
            return connection.execute("SELECT count(*) FROM verdicts").fetchone()[0]

    async def use(log):
        await log.append([make_entry()])
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                if rows_in_the_file() == 1:
                    return
            except sqlite3.DatabaseError:
                # The file of a database whose first pages are in the log still.
                pass
            await asyncio.sleep(0.02)
        raise AssertionError("not copied")

    run(open_database(str(tmp_path / "log.db")), use)


def test_the_write_ahead_log_begins_anew_under_a_load_that_never_pauses(tmp_path, monkeypatch):
    monkeypatch.setattr(verdict_log, "CHECKPOINT_S", 0.01)
    monkeypatch.setattr(verdict_log, "LONG_PAGES", 50)

    async def use(log):
        async def caller(number):
            for place in range(60):
                await log.append([make_entry(f"r{number}", place=place)], is_alone=True)

        await asyncio.gather(*(caller(number) for number in range(10)))
        # At least four pages a commit: without a new beginning, megabytes.
        assert (tmp_path / "log.db-wal").stat().st_size < 200 * 4096

    log = run(open_database(str(tmp_path / "log.db")), use)
    assert log.counts.written == 600


def test_commits_wait_a_moment_for_each_other_unless_a_request_is_alone(sqlite_url, monkeypatch):
    waits = []
    monkeypatch.setattr(verdict_log, "GROUP_S", 60.0)
    monkeypatch.setattr(verdict_log.time, "sleep", waits.append)

    async def use(log):
        for is_alone in (True, True, False):
            await log.append([make_entry("r1")], is_alone=is_alone)
        assert len(waits) == 1
        assert 0 < waits[0] <= 60

    run(open_database(sqlite_url), use)


def test_kill_9_loses_nothing_that_was_acknowledged(sqlite_url):
    kill_while_logging(sqlite_url, least=50)


@pytest.mark.slow
def test_kill_9_loses_nothing_that_was_acknowledged_on_postgresql(postgres):
    kill_while_logging(postgres.new_database("killed"), least=50)


def kill_while_logging(url, least):
    program = [sys.executable, str(Path(__file__).with_name("log_entries.py")), url]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        acknowledged = [process.stdout.readline() for _ in range(least)]
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    wanted = [line.strip() for line in acknowledged if line.endswith("\n")]
    assert len(wanted) >= least
    found = Counter(row.request for row in rows_of(url))
    assert {request: found[request] for request in wanted} == dict.fromkeys(wanted, 2)


@pytest.mark.slow
def test_a_database_that_goes_down_and_comes_back(postgres, monkeypatch):
    monkeypatch.setattr(verdict_log, "PROBE_S", 0.05)
    url = postgres.new_database("down")

    async def use(log):
        await log.append([make_entry("before")])
        await asyncio.to_thread(postgres.stop, "immediate")
        for _ in range(3):
            with pytest.raises(Problem) as caught:
                await log.append([make_entry("meanwhile")])
            assert caught.value.kind is Kind.LOG
        assert not log.is_healthy
        await asyncio.to_thread(postgres.start)
        while not log.is_healthy:
            await asyncio.sleep(0.05)
        await log.append([make_entry("after")])

    run(open_database(url), use)
    assert [row.request for row in rows_of(url)] == ["before", "after"]
