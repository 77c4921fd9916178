import io
import json
import logging
import time

import pytest

from gooseguard.serving.config import LoggingConfig
from gooseguard.serving.hooks import Answered
from gooseguard.serving.logs import AccessLog, configure_logging

RECORD = Answered(
    request="req_1", api="score", path="/v1/score", status=200, problem="", key="k1", n_items=2, n_bytes=30,
    model="m@1", policy="p@2", stages={"read": 0.0012345, "total": 0.01},
)  # fmt: skip


@pytest.fixture
def stream():
    """What `configure_logging` may change is put back."""
    root, library = logging.getLogger(), logging.raiseExceptions
    handlers = list(root.handlers)
    loggers = [root, logging.getLogger("gooseguard"), logging.getLogger("uvicorn")]
    levels = [one.level for one in loggers]
    yield io.StringIO()
    root.handlers[:] = handlers
    for one, level in zip(loggers, levels, strict=True):
        one.setLevel(level)
    logging.raiseExceptions = library


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_request_is_told_by_ids_sizes_and_times(stream):
    configure_logging(LoggingConfig(), stream)
    AccessLog().answered(RECORD)
    (line,) = lines(stream)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info", "event": "request", "request": "req_1", "api": "score", "path": "/v1/score",
        "status": 200, "key": "k1", "items": 2, "bytes": 30, "model": "m@1", "policy": "p@2",
        "ms": {"read": 1.234, "total": 10.0},
    }  # fmt: skip


def test_a_failed_request_is_an_error(stream):
    configure_logging(LoggingConfig("error"), stream)
    AccessLog().answered(RECORD)
    AccessLog().answered(RECORD._replace(status=503, problem="LOG"))
    assert [(line["level"], line["status"], line["problem"]) for line in lines(stream)] == [
        ("error", 503, "LOG")
    ]


def test_a_busy_server_s_lines_are_written_together_and_none_is_lost(stream):
    configure_logging(LoggingConfig(), stream)
    for _ in range(3):
        AccessLog().answered(RECORD)
    # The first at once, the others within GATHER_S.
    assert len(lines(stream)) == 1
    AccessLog().answered(RECORD._replace(status=503))
    assert [line["status"] for line in lines(stream)] == [200, 200, 200, 503]
    AccessLog().answered(RECORD)
    end = time.monotonic() + 10
    while len(lines(stream)) < 5 and time.monotonic() < end:
        time.sleep(0.01)
    assert len(lines(stream)) == 5


def test_only_failures_where_requests_are_not_wanted(stream):
    configure_logging(LoggingConfig(), stream)
    log = AccessLog(is_full=False)
    log.answered(RECORD)
    log.answered(RECORD._replace(status=503, problem="LOG"))
    assert [line["status"] for line in lines(stream)] == [503]


def test_what_exceptions_say_is_not_told(stream):
    configure_logging(LoggingConfig(), stream)
    try:
        {}["<content>"]
    except KeyError:
        logging.getLogger("gooseguard.serving").exception("it failed")
    (line,) = lines(stream)
    assert line["event"] == "it failed"
    assert line["exception"] == "KeyError"
    assert line["at"][0].startswith("test_logs.py:")
    assert line["at"][0].endswith(":test_what_exceptions_say_is_not_told")
    assert "<content>" not in stream.getvalue()


def test_messages_of_libraries_are_not_told(stream):
    configure_logging(LoggingConfig(), stream)
    logging.getLogger("asyncio").error(
        "Task exception was never retrieved\nexception=%r", KeyError("<content>")
    )
    logging.getLogger("alembic").info("<content>")
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"]) == ("message of a library", "asyncio", "error")
    assert "<content>" not in stream.getvalue()


def test_an_event_is_one_line_whatever_is_in_it(stream):
    configure_logging(LoggingConfig(), stream)
    logging.getLogger("gooseguard").warning("two\nlines", extra={"item": "a\r\nb\u2028c"})
    assert len(stream.getvalue().splitlines()) == 1
    assert lines(stream)[0]["item"] == "a\r\nb\u2028c"


def test_people_get_text(stream):
    configure_logging(LoggingConfig(format="text"), stream)
    logging.getLogger("gooseguard").warning("two\nlines", extra={"rows": 3, "why": "a b"})
    (line,) = stream.getvalue().splitlines()
    assert line[8:] == ' warning two\\nlines  rows=3 why="a b"'


def test_a_record_that_cannot_be_written_is_not_printed(stream, capsys):
    configure_logging(LoggingConfig(), stream)
    logging.getLogger("gooseguard").warning("%d rows", "<content>")
    assert "<content>" not in stream.getvalue() + capsys.readouterr().err
