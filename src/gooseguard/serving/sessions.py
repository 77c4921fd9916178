"""Streaming sessions: a recurrent state each, in memory or, while idle, on disk; found by a signed handle.

A handle says session, model, position and expiry, and nothing of the text; the state never leaves the server.
A state file holds the state and the few characters that are held back until the next piece makes them
certain. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from gooseguard.core.errors import ArtefactError, ConfigError, ContentError, EngineError
from gooseguard.serving.handles import Handles
from gooseguard.serving.problem import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gooseguard.core.scorer import Scores, StreamingScorer
    from gooseguard.serving.config import SessionsConfig
    from gooseguard.serving.deployment import Deployment
    from gooseguard.serving.scheduler import Scheduler

logger = logging.getLogger(__name__)

SUFFIX = ".state"
"""Of state files."""

HEADER_BYTES = 4096
"""Bytes of a state file's first line at most."""

SWEEP_S = 1.0
"""Seconds between looks for idle and expired sessions."""


@dataclass(slots=True, eq=False)
class Session:
    """One text that arrives in pieces."""

    id: str
    """32 hex digits."""
    key: str
    """`Key.id` of who opened it; nobody else may go on with it."""
    deployment: Deployment
    """What reads it, to its end."""
    policy: str
    """Id of the policy that decides."""
    state: Any
    """The scorer's; None while it lies on disk."""
    position: int = 0
    """Code points so far."""
    touched_at: float = field(default_factory=time.time)
    """When it was last used, in seconds since 1970."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a piece is read."""

    @property
    def scorer(self) -> StreamingScorer:
        """Give what reads the text."""
        return cast("StreamingScorer", self.deployment.scorer)


@dataclass(frozen=True, slots=True)
class _Stored:
    """A state on disk."""

    key: str
    """As in `Session`; "" where the file does not say."""
    touched_at: float
    """As in `Session`."""


class Sessions:
    """All sessions of a server. Lives in one event loop."""

    def __init__(
        self, config: SessionsConfig, folder: Path, scheduler: Scheduler, current: Callable[[], Deployment]
    ) -> None:
        """Take a folder of its own, with what an earlier process left there.

        Args:
            config: limits.
            folder: where states lie.
            scheduler: reads pieces in the turn of their key.
            current: gives what answers now.

        Raises:
            ConfigError: the folder cannot be written.
        """
        self._config = config
        self._folder = folder
        self._scheduler = scheduler
        self._current = current
        self._live: dict[str, Session] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._handles = Handles(folder)
            # Session to what lies on disk of it.
            self._stored = {path.stem: _look(path) for path in folder.glob(f"*{SUFFIX}")}
        except OSError as error:
            raise ConfigError(
                f"sessions: folder {folder} cannot be used ({error.strerror}); expected one to write to"
            ) from None

    def __len__(self) -> int:
        """Give how many there are, in memory and on disk."""
        return len(self._live.keys() | self._stored.keys())

    @property
    def n_in_memory(self) -> int:
        """Give how many states are in memory."""
        return sum(session.state is not None for session in self._live.values())

    def open(self, key: str, policy: str) -> Session:
        """Begin a text.

        Raises:
            Problem: OVERLOADED where there are as many as may be; INVALID where the model cannot stream.
        """
        deployment = self._current()
        if not hasattr(deployment.scorer, "open"):
            raise Problem(Kind.INVALID, f"model {deployment.scorer.name} reads whole texts only")
        if len(self) >= self._config.max_open or self._count(key) >= self._config.max_a_key:
            raise Problem(
                Kind.OVERLOADED, "too many sessions are open; finish some", retry_after_s=self._config.idle_s
            )
        scorer = cast("StreamingScorer", deployment.scorer)
        session = Session(secrets.token_hex(16), key, deployment, policy, scorer.open())
        self._live[session.id] = session
        return session

    def _count(self, key: str) -> int:
        """Give how many sessions a key has, those of an earlier process included."""
        n_live = sum(session.key == key for session in self._live.values())
        stored = self._stored.items()
        return n_live + sum(left.key == key for name, left in stored if name not in self._live)

    def handle(self, session: Session) -> str:
        """Give the handle that finds the session as it is now, until it expires."""
        facts = {
            "e": int(session.touched_at + self._config.expiry_s),
            "k": session.key,
            "m": session.deployment.scorer.name,
            "p": session.position,
            "s": session.id,
        }
        return self._handles.write(facts)

    def resume(self, handle: str, key: str) -> Session:
        """Find a session again.

        Raises:
            Problem: INVALID for a handle that is not ours, NOT_FOUND for a session that is over, CONFLICT for
                one of another model, or that has gone on since.
        """
        facts = self._handles.read(handle)
        model = self._current().scorer.name
        if facts["m"] != model:
            raise Problem(
                Kind.CONFLICT, f"the session is of model {facts['m']}, this is {model}; open a new one"
            )
        gone = Problem(Kind.NOT_FOUND, "no such session, or it has expired; open a new one")
        if facts["k"] != key or facts["e"] < time.time():
            raise gone
        session = self._live.get(facts["s"])
        stored = self._stored.get(facts["s"])
        if session is None and stored is not None and stored.key == key:
            session = self._load(facts["s"], key)
        if session is None or session.key != key or session.deployment.scorer.name != model:
            raise gone
        if session.position != facts["p"]:
            raise Problem(
                Kind.CONFLICT,
                f"the session is at position {session.position}, the handle at {facts['p']}; "
                "use the newest handle, or open a new session",
            )
        session.touched_at = time.time()
        return session

    async def append(self, session: Session, text: str) -> Scores:
        """Read a piece; gives the scores of all so far.

        Raises:
            Problem: what the scheduler raises; after DEADLINE the session is over.
            ContentError: the piece has a lone surrogate; the session is as it was.
        """
        scores = await self._call(session, lambda: session.scorer.append(session.state, text), len(text))
        session.position += len(text)
        return scores

    async def finish(self, session: Session) -> Scores:
        """Read what was held back; gives the scores of the whole text, and ends the session.

        Raises:
            Problem: what the scheduler raises.
            ContentError: the text shows nothing.
        """
        try:
            return await self._call(session, lambda: session.scorer.finish(session.state), 0)
        finally:
            self.drop(session)

    def drop(self, session: Session) -> None:
        """End a session, and delete what is kept of it."""
        self._live.pop(session.id, None)
        self._stored.pop(session.id, None)
        self._path(session.id).unlink(missing_ok=True)

    async def sweep(self) -> None:
        """Write idle states to disk and end expired sessions, for ever."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.sweep_once(time.time())
            except OSError as error:
                logger.warning("sessions not swept", extra={"error": error.strerror})

    async def sweep_once(self, now: float) -> None:
        """Write idle states to disk and end expired sessions, as of `now`.

        Raises:
            OSError: a file cannot be deleted.
        """
        for session in list(self._live.values()):
            if now - session.touched_at > self._config.expiry_s and not session.lock.locked():
                self.drop(session)
        for name, stored in list(self._stored.items()):
            if name not in self._live and now - stored.touched_at > self._config.expiry_s:
                del self._stored[name]
                self._path(name).unlink(missing_ok=True)
        idle = sorted(
            (session for session in self._live.values() if session.state is not None),
            key=lambda session: session.touched_at,
        )
        n_spilled = 0
        n_over = len(idle) - self._config.in_memory
        for place, session in enumerate(idle):
            if place < n_over or now - session.touched_at > self._config.idle_s:
                # Requests are answered between two of them, and may have ended or taken up this one.
                await asyncio.sleep(0)
                if session.id in self._live and session.state is not None and not session.lock.locked():
                    self._try_to_spill(session)
                    n_spilled += session.state is None
        if n_spilled:
            _give_back_memory()

    def close(self) -> None:
        """Write every state to disk, for the next process."""
        for session in self._live.values():
            if session.state is not None:
                self._try_to_spill(session)

    async def _call(self, session: Session, function: Callable[[], Scores], n_characters: int) -> Scores:
        async with session.lock:
            if session.id not in self._live:
                raise Problem(Kind.NOT_FOUND, "the session is over; open a new one")
            if session.state is None:
                self._restore(session)
            session.touched_at = time.time()
            try:
                return await self._scheduler.call(function, n_characters, session.key)
            except Problem as problem:
                if problem.kind is Kind.DEADLINE:
                    # Whether the piece was read, nobody knows.
                    self.drop(session)
                raise
            except (ContentError, asyncio.CancelledError):
                raise
            except Exception:
                self.drop(session)
                raise

    def _try_to_spill(self, session: Session) -> None:
        """Write a state to disk; it stays in memory where the disk is full or the engine cannot keep it."""
        try:
            self._spill(session)
        except (EngineError, OSError):
            # Tried again at the next look; the limit on sessions holds meanwhile.
            return

    def _spill(self, session: Session) -> None:
        facts = {
            "key": session.key,
            "policy": session.policy,
            "position": str(session.position),
            "session": session.id,
        }
        path = self._path(session.id)
        partial = path.with_suffix(".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            header = json.dumps(facts).encode() + b"\n"
            file.write(header + session.scorer.dump(session.state))
        partial.replace(path)
        session.state = None
        self._stored[session.id] = _Stored(session.key, session.touched_at)

    def _restore(self, session: Session) -> None:
        facts, data = self._read_file(session.id)
        if facts["position"] != str(session.position):
            raise Problem(Kind.ENGINE, "the session's state file is of another position; open a new session")
        session.state = session.scorer.load(data)

    def _load(self, name: str, key: str) -> Session:
        """Take up a session that an earlier process left."""
        facts, _ = self._read_file(name)
        session = Session(name, key, self._current(), facts["policy"], None, int(facts["position"]))
        self._live[name] = session
        return session

    def _read_file(self, name: str) -> tuple[dict[str, str], bytes]:
        try:
            header, _, data = self._path(name).read_bytes().partition(b"\n")
        except OSError:
            raise Problem(
                Kind.NOT_FOUND, "the session's state is not there any more; open a new one"
            ) from None
        facts = _read_header(header)
        if not facts:
            raise ArtefactError("session: its state file has no header; open a new session")
        return facts, data

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{SUFFIX}"


def _look(path: Path) -> _Stored:
    """Give whose a state file is, and since when it lies there."""
    with path.open("rb") as file:
        facts = _read_header(file.readline(HEADER_BYTES))
    return _Stored(facts.get("key", ""), path.stat().st_mtime)


def _read_header(line: bytes) -> dict[str, str]:
    """Give what the first line of a state file says; nothing where it is none."""
    try:
        facts: dict[str, str] = json.loads(line)
    except ValueError:
        return {}
    is_whole = isinstance(facts, dict) and facts.keys() >= {"key", "policy", "position"}
    return facts if is_whole else {}


def _give_back_memory() -> None:
    """Have the C library give what it holds for nothing back to the system, where it can be asked to."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
