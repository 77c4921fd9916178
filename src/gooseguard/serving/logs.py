"""The server's own log: one line an event, as JSON for machines or as text for a terminal; never content.

What an exception says may quote what it failed on, and so may messages of libraries. An exception is
therefore told by its class and the lines of code it passed, and records of other libraries by their logger
and level alone.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from gooseguard.serving.config import LineFormat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gooseguard.core.scorer import ScoreError
    from gooseguard.core.verdict import Verdict
    from gooseguard.serving.config import LoggingConfig
    from gooseguard.serving.hooks import Answered

logger = logging.getLogger(__name__)

GATHER_S = 0.2
"""Seconds whose lines are written together."""

TRUSTED = ("gooseguard", "uvicorn")
"""Loggers whose messages never hold content; of other ones only logger and level are told."""

# What every record has: the rest came as `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def configure_logging(config: LoggingConfig, stream: TextIO) -> None:
    """Send all logging of this process to one stream. Called once, by the program, never by an import."""
    is_text = config.format == LineFormat.TEXT or (config.format == LineFormat.AUTO and stream.isatty())
    handler = GatheringHandler(stream)
    handler.setFormatter(TextFormatter() if is_text else JsonFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    # What libraries say below a warning is of no use without its words.
    root.setLevel(logging.WARNING)
    for name in TRUSTED:
        logging.getLogger(name).setLevel(config.level.upper())
    # A handler that fails must not print the record it failed on.
    logging.raiseExceptions = False


def describe(record: logging.LogRecord) -> dict[str, Any]:
    """Give what may be told of a record, in the order it is written."""
    facts: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
    }
    if record.name.partition(".")[0] in TRUSTED:
        facts["event"] = record.getMessage()
        told = vars(record)
        facts |= told.get("facts") or {name: told[name] for name in told if name not in _STANDARD}
    else:
        facts |= {"event": "message of a library", "logger": record.name}
    if record.exc_info and record.exc_info[0] is not None:
        kind, _, trace = record.exc_info
        facts["exception"] = kind.__name__
        facts["at"] = [
            f"{Path(frame.filename).name}:{frame.lineno}:{frame.name}"
            for frame in traceback.extract_tb(trace)
        ]
    return facts


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII: a line feed in a value cannot begin a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line, without its end."""
        facts = describe(record)
        line = msgspec.json.encode(facts, enc_hook=str).decode()
        return line if line.isascii() else json.dumps(facts, separators=(",", ":"), default=str)


class TextFormatter(logging.Formatter):
    """One line for people: time, level, event, then `name=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line, without its end."""
        facts = describe(record)
        moment = datetime.fromisoformat(facts.pop("time")).astimezone().strftime("%H:%M:%S")
        level, event = facts.pop("level"), facts.pop("event")
        rest = " ".join(f"{name}={json.dumps(value, default=str)}" for name, value in facts.items())
        return f"{moment} {level:7} {json.dumps(event)[1:-1]}" + (f"  {rest}" if rest else "")


class GatheringHandler(logging.Handler):
    """Writes a line at once where little happens, and else the lines of `GATHER_S` together.

    To write is to let other threads have the interpreter: a busy server would wait for it after every line.
    """

    def __init__(self, stream: TextIO) -> None:
        """Take the stream."""
        super().__init__()
        self._stream = stream
        self._lines: list[str] = []
        self._written_at = -GATHER_S
        self._is_waiting = threading.Event()
        threading.Thread(target=self._run, name="log-lines", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or keep it for a moment."""
        try:
            self._lines.append(self.format(record) + "\n")
            if record.levelno >= logging.WARNING or time.monotonic() - self._written_at >= GATHER_S:
                self.flush()
            elif not self._is_waiting.is_set():
                self._is_waiting.set()
        except Exception:  # noqa: BLE001  (as of any handler: what cannot be told must not stop the server)
            self.handleError(record)

    def flush(self) -> None:
        """Write what is kept; logging does so at exit."""
        assert self.lock is not None
        with self.lock:
            lines, self._lines = self._lines, []
            if lines:
                self._stream.write("".join(lines))
                self._stream.flush()
            self._written_at = time.monotonic()

    def _run(self) -> None:
        while self._is_waiting.wait():
            time.sleep(GATHER_S)
            self._is_waiting.clear()
            # A stream that is closed, as at the end of a test.
            with suppress(ValueError, OSError):
                self.flush()


_BLANK = vars(logging.makeLogRecord({"name": __name__, "msg": "request"}))


def _request_line(level: int, facts: Mapping[str, Any]) -> logging.LogRecord:
    """Make the record of a line, without asking which code, thread and process it comes from.

    logging does ask, for every line, and that costs more than all else about it.
    """
    record = logging.LogRecord.__new__(logging.LogRecord)
    about = {"created": time.time(), "levelno": level, "levelname": logging.getLevelName(level)}
    vars(record).update(_BLANK, facts=facts, **about)
    return record


class AccessLog:
    """A `hooks.Observer` that tells of answered requests, by ids, sizes and times."""

    def __init__(self, *, is_full: bool = True) -> None:
        """Say whether every request is told, or only those that the server failed."""
        self._is_full = is_full

    def answered(self, record: Answered) -> None:
        """Tell of a request; one that the server failed is an error."""
        level = logging.ERROR if record.status >= 500 else logging.INFO
        if not (level == logging.ERROR or self._is_full) or not logger.isEnabledFor(level):
            return
        facts: dict[str, Any] = {
            "request": record.request,
            "api": record.api,
            "path": record.path,
            "status": record.status,
        }
        if record.problem:
            facts["problem"] = record.problem
        if record.key:
            facts["key"] = record.key
        facts["items"] = record.n_items
        facts["bytes"] = record.n_bytes
        facts["model"] = record.model
        facts["policy"] = record.policy
        facts["ms"] = {name: round(seconds * 1000, 3) for name, seconds in record.stages.items()}
        logger.handle(_request_line(level, facts))

    def judged(self, outcome: Verdict | ScoreError, policy: str) -> None:
        """Say nothing: verdicts are the verdict log's."""

    def deployed(self, model: str, policy: str) -> None:
        """Tell what answers from now on."""
        logger.info("deployed", extra={"model": model, "policy": policy})
