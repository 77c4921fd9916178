"""The verdict log: what was judged and how, written in groups by one thread, before the answer leaves.

Requests hand over their rows and wait for them; the thread takes all that wait and commits them at once, so
that the cost of a commit is shared by whoever came meanwhile. What a caller was told is on disk: `kill -9`
loses nothing that was answered. A database that cannot take a row refuses the request (`on_failure =
"refuse"`), or, if the operator prefers answers to records, is counted and told in the server's own log.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gooseguard.core.errors import StorageError
from gooseguard.serving.config import LogConfig, OnFailure
from gooseguard.serving.database import checkpoint, insert_rows, translated
from gooseguard.serving.log_rows import prune, read_salt
from gooseguard.serving.problem import Kind, Problem
from gooseguard.serving.records import RowMaker, is_suggestion
from gooseguard.serving.tables import probes, suggestions, verdicts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Engine, Table

    from gooseguard.serving.hooks import LogEntry

logger = logging.getLogger(__name__)

PROBE_S = 2.0
"""After a failure, how often to try whether rows can be written again."""

GROUP_S = 0.001
"""How far apart commits begin while other requests are under way: each costs as much as several rows, and
wakes two threads that the others wait for."""

CHECKPOINT_S = 0.25
"""How often SQLite's write-ahead log is copied into its database: a commit that meets a long copy is slow."""

LONG_PAGES = 8192
"""Pages of the write-ahead log, 32 MB, from which on commits wait for the last of a copy, so that it ends."""

PRUNE_S = 3600.0
"""How often rows past their time are deleted."""

PRUNE_ROWS = 5000
"""Rows deleted at once, so that requests wait for a delete as little as possible."""

CLOSE_S = 10.0
"""How long rows that wait are written at the end."""

RETRY_AFTER_S = 5.0
"""When a refused caller may come again: after a probe or two."""

DAY_S = 86400.0


@dataclass(slots=True)
class LogCounts:
    """What became of rows so far; metrics read it."""

    written: int = 0
    """Rows that are on disk."""
    lost: int = 0
    """Rows that an answer left without."""
    refused: int = 0
    """Rows whose requests were refused."""
    waiting: int = 0
    """Rows that wait for the database now."""


@dataclass(slots=True)
class _Job:
    table: Table
    rows: list[dict[str, Any]]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]
    is_alone: bool
    # Until it is known to be written.
    error: StorageError | None = field(default_factory=lambda: StorageError("verdict log: not written"))


@dataclass(slots=True)
class _Queue:
    jobs: deque[_Job] = field(default_factory=deque)
    has_work: threading.Condition = field(default_factory=threading.Condition)
    is_waking: bool = False
    is_closing: bool = False

    def wake(self) -> None:
        """Wake the writer."""
        with self.has_work:
            self.is_waking = False
            self.has_work.notify()


class VerdictLog:
    """A `hooks.VerdictLog`. Its methods belong to the event loop, its writer is a thread."""

    def __init__(self, engine: Engine, config: LogConfig, *, clock: Callable[[], float] = time.time) -> None:
        """Take a database that `open_database` opened.

        Raises:
            StorageError: it cannot be read.
        """
        self.counts = LogCounts()
        self._engine = engine
        self._config = config
        self._clock = clock
        self._maker = RowMaker(read_salt(engine), config.content)
        self._queue = _Queue()
        self._failed_at: float | None = None
        self._next_prune = time.monotonic()
        self._began = -GROUP_S
        # Held by whoever commits, or ends a copy of the write-ahead log.
        self._commits = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="verdict-log", daemon=True)
        self._is_closed = threading.Event()
        self._checkpoints = threading.Thread(target=self._copy, name="checkpoints", daemon=True)

    @property
    def is_healthy(self) -> bool:
        """Tell whether the last write went well; false makes a server that refuses unready."""
        return self._failed_at is None

    def start(self) -> None:
        """Start writing."""
        self._thread.start()
        if self._engine.dialect.name == "sqlite":
            self._checkpoints.start()

    async def close(self) -> None:
        """Write what waits, and stop; what the database does not take is told in the server's log."""
        self._queue.is_closing = True
        self._queue.wake()
        self._is_closed.set()
        for thread in (self._thread, self._checkpoints):
            if thread.is_alive():
                await asyncio.to_thread(thread.join, CLOSE_S)
        if self.counts.waiting:
            logger.error("verdict log closed with rows unwritten", extra={"rows": self.counts.waiting})
        self._engine.dispose()

    async def append(self, entries: Sequence[LogEntry], *, is_alone: bool = False) -> None:
        """Keep what was made of a request's contents; returns when the rows are as safe as configured.

        Suggestions are always waited for and never lost in silence: keeping them is what was asked. One that
        may not be stored is forgotten.

        Raises:
            Problem: LOG: they are not kept, and the configuration says to refuse.
        """
        now = self._clock()
        suggested = [
            self._maker.suggestion(entry, now)
            for entry in entries
            if is_suggestion(entry) and entry.may_store
        ]
        judged = [self._maker.verdict(entry, now) for entry in entries if not is_suggestion(entry)]
        if suggested and (error := await self._put(suggestions, suggested, wait=True, is_alone=is_alone)):
            raise self._refuse(suggested, error)
        if judged and self._config.enabled:
            await self._append_judged(judged, is_alone=is_alone)

    async def _append_judged(self, rows: list[dict[str, Any]], *, is_alone: bool) -> None:
        is_refusing = self._config.on_failure == OnFailure.REFUSE
        if is_refusing and not self._config.wait and not self.is_healthy:
            # Nobody would hear that this row failed like the one before it.
            error: StorageError | None = StorageError("verdict log: cannot write; check the database")
        else:
            error = await self._put(verdicts, rows, wait=self._config.wait, is_alone=is_alone)
        if error is not None and is_refusing:
            raise self._refuse(rows, error)
        if error is not None:
            self._lose(rows, error)

    def _refuse(self, rows: list[dict[str, Any]], error: StorageError) -> Problem:
        self.counts.refused += len(rows)
        logger.warning(
            "request refused", extra={"request": rows[0]["request"], "rows": len(rows), "error": str(error)}
        )
        # The database's name and disk are the operator's business, not the caller's.
        return Problem(
            Kind.LOG, "the verdict log cannot be written; try again later", retry_after_s=RETRY_AFTER_S
        )

    async def _put(
        self, table: Table, rows: list[dict[str, Any]], *, wait: bool, is_alone: bool
    ) -> StorageError | None:
        loop = asyncio.get_running_loop()
        job = _Job(table, rows, loop, loop.create_future(), is_alone)
        with self._queue.has_work:
            if self._queue.is_closing or self.counts.waiting + len(rows) > self._config.queue_rows:
                reason = "is closing" if self._queue.is_closing else f"has {self.counts.waiting} rows waiting"
                return StorageError(f"verdict log: {reason}, the database does not keep up; try again later")
            self.counts.waiting += len(rows)
            self._queue.jobs.append(job)
            if not self._queue.is_waking:
                # Once for all requests whose scores came together: one commit, and one turn of the writer.
                self._queue.is_waking = True
                loop.call_soon(self._queue.wake)
        if wait:
            await job.done
            return job.error
        job.done.add_done_callback(lambda _: self._lose(rows, job.error) if job.error else None)
        return None

    def _lose(self, rows: list[dict[str, Any]], error: StorageError) -> None:
        self.counts.lost += len(rows)
        logger.error(
            "verdicts lost", extra={"request": rows[0]["request"], "rows": len(rows), "error": str(error)}
        )

    def _run(self) -> None:
        try:
            while (jobs := self._take()) is not None:
                if jobs:
                    self._write(jobs)
                elif not self.is_healthy:
                    self._probe()
                if self.is_healthy:
                    self._prune()
        finally:
            # Also after a bug: nobody may wait for a thread that is gone.
            with self._queue.has_work:
                self._queue.is_closing = True
                left = list(self._queue.jobs)
                self._queue.jobs.clear()
            self._answer(left)

    def _copy(self) -> None:
        """Keep the write-ahead log short, on a thread of its own: answers wait for commits, not for this."""
        n_written = 0
        while not self._is_closed.wait(CHECKPOINT_S):
            if self.counts.written == n_written:
                continue
            n_written = self.counts.written
            # A disk that fails is told by the writer.
            with suppress(StorageError):
                if checkpoint(self._engine) > LONG_PAGES:
                    # Little is left, and with nothing more coming the log begins anew.
                    with self._commits:
                        checkpoint(self._engine)

    def _take(self) -> list[_Job] | None:
        """Wait for jobs, and give those of one commit; none after a while, `None` at the end."""
        with self._queue.has_work:
            if not self._queue.jobs and not self._queue.is_closing:
                self._queue.has_work.wait(PROBE_S)
            if not self._queue.jobs:
                return None if self._queue.is_closing else []
            is_alone = self._queue.jobs[0].is_alone
        if not is_alone and (early_s := self._began + GROUP_S - time.monotonic()) > 0:
            time.sleep(early_s)
        self._began = time.monotonic()
        with self._queue.has_work:
            taken = [self._queue.jobs.popleft()]
            n_rows = len(taken[0].rows)
            while self._queue.jobs and n_rows + len(self._queue.jobs[0].rows) <= self._config.batch_rows:
                taken.append(self._queue.jobs.popleft())
                n_rows += len(taken[-1].rows)
            return taken

    def _write(self, jobs: list[_Job]) -> None:
        try:
            error = self._commit(jobs)
            if error is not None and error.is_row_at_fault and len(jobs) > 1:
                # One row that the database refuses must not take its neighbours with it.
                for job in jobs:
                    job.error = self._commit([job])
            else:
                for job in jobs:
                    job.error = error
        finally:
            self._answer(jobs)

    def _answer(self, jobs: list[_Job]) -> None:
        """Tell those who wait, and count."""
        errors = [job.error for job in jobs if job.error is not None]
        if any(not error.is_row_at_fault for error in errors):
            if self.is_healthy:
                logger.error("verdict log cannot write", extra={"error": str(errors[0])})
            self._failed_at = self._clock()
        elif jobs:
            self._failed_at = None
        with self._queue.has_work:
            self.counts.written += sum(len(job.rows) for job in jobs if job.error is None)
            self.counts.waiting -= sum(len(job.rows) for job in jobs)
        for loop in {job.loop for job in jobs}:
            # A loop that is gone waits for nothing.
            if not loop.is_closed():
                loop.call_soon_threadsafe(_finish, [job for job in jobs if job.loop is loop])

    def _commit(self, jobs: list[_Job]) -> StorageError | None:
        try:
            with translated("write verdicts"), self._commits, self._engine.begin() as connection:
                for table in (verdicts, suggestions):
                    rows = [row for job in jobs if job.table is table for row in job.rows]
                    if rows:
                        insert_rows(connection, table, rows)
        except StorageError as error:
            return error
        return None

    def _probe(self) -> None:
        """Try a real write, since a full disk can still be read."""
        try:
            with translated("write"), self._engine.begin() as connection:
                connection.execute(probes.delete())
                connection.execute(probes.insert(), [{"id": 1, "written": self._clock()}])
        except StorageError:
            return
        self._failed_at = None
        logger.info("verdict log writes again")

    def _prune(self) -> None:
        """Delete some rows past their time, if it is time for that; the rest after the next commit."""
        if time.monotonic() < self._next_prune:
            return
        now = self._clock()
        try:
            n_rows = sum(
                prune(self._engine, table, now - days * DAY_S, most=PRUNE_ROWS)
                for table, days in (
                    (verdicts, self._config.keep_days),
                    (suggestions, self._config.keep_suggestions_days),
                )
                if days
            )
        except StorageError as error:
            logger.warning("verdict log not pruned", extra={"error": str(error)})
            n_rows = 0
        if n_rows:
            logger.info("verdict log pruned", extra={"rows": n_rows})
        if n_rows < PRUNE_ROWS:
            self._next_prune = time.monotonic() + PRUNE_S


def _finish(jobs: list[_Job]) -> None:
    for job in jobs:
        # The caller may have hung up and cancelled it.
        if not job.done.done():
            job.done.set_result(None)
