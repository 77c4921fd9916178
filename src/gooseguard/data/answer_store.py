"""Answers of a teacher, kept by the digest of all that they depend on: asked once, never twice.

One SQLite file; each answer is committed by itself, so that a run that is killed loses at most those under
way. What failed is not kept: the next run asks again.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gooseguard.chat.client import Reply
from gooseguard.core.errors import ArtefactError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION = 1
"""Of the file's layout."""


class AnswerStore:
    """Reads and keeps answers; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Open a file, or make it.

        Raises:
            ArtefactError: it is something else, or of another version.
        """
        self.path = path
        self._lock = threading.Lock()
        try:
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            found = self._database.execute("PRAGMA user_version").fetchone()[0]
            tables = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if found not in (0, VERSION) or (found == 0 and tables):
                raise ArtefactError(f"{path}: is no store of answers of version {VERSION}; name another file")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, text TEXT NOT NULL,"
                " finish TEXT NOT NULL, prompt_tokens INTEGER, completion_tokens INTEGER) WITHOUT ROWID"
            )
            self._database.execute(f"PRAGMA user_version={VERSION}")
        except sqlite3.Error as error:
            raise ArtefactError(f"{path}: cannot be opened ({error}); expected a store of answers") from None

    def get(self, key: str) -> Reply | None:
        """Give the answer under a key; None where it was not asked for yet."""
        with self._lock, self._told():
            row = self._database.execute(
                "SELECT text, finish, prompt_tokens, completion_tokens FROM answers WHERE key = ?", (key,)
            ).fetchone()
        if row is None:
            return None
        return Reply(row[0], row[1], None if row[2] is None else (row[2], row[3]))

    def put(self, key: str, reply: Reply) -> None:
        """Keep an answer.

        Raises:
            ArtefactError: the disk is full, or the like.
        """
        usage = reply.usage or (None, None)
        with self._lock, self._told():
            self._database.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)",
                (key, reply.text, reply.finish, *usage),
            )

    def usage(self) -> tuple[int, int, int]:
        """Give answers, prompt tokens and tokens of answers, of all runs, as far as the endpoint counted."""
        with self._lock, self._told():
            row = self._database.execute(
                "SELECT count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0)"
                " FROM answers"
            ).fetchone()
        return int(row[0]), int(row[1]), int(row[2])

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise ArtefactError(
                f"{self.path}: cannot be read or written ({error}); is the disk full?"
            ) from None

    def close(self) -> None:
        """Close the file."""
        self._database.close()
