"""The client against a real server: what is sent, retried, waited for, and refused."""

import importlib.util
import itertools
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytest.importorskip("httpx2")

from gooseguard.chat.budget import Prices
from gooseguard.chat.client import ChatClient, Endpoint, Reply, retry_after_s
from gooseguard.core.errors import ConfigError, EngineError

_path = Path(__file__).parents[1] / "contracts" / "chat_server.py"
_spec = importlib.util.spec_from_file_location("chat_server", _path)
chat = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(chat)

SECRET = "private words"
HELLO = [{"role": "user", "content": SECRET}]


def script(*answers):
    """Give one answer after another; the last for ever."""
    rest = itertools.chain(answers, itertools.repeat(answers[-1]))
    lock = threading.Lock()

    def answer(_):
        with lock:
            return next(rest)

    return answer


def refusal(status, headers=None, code="rate_limit_exceeded"):
    return status, headers or {}, {"error": {"message": f"no: {SECRET}", "type": "requests", "code": code}}


@pytest.fixture
def ask():
    """Ask once with these answers; gives reply or error, the server, and the waits."""

    def run(*answers, key="sk-secret", **options):
        waits = []
        with chat.serve(script(*answers)) as server:
            endpoint = Endpoint(server.url, "some-model", **options)
            with ChatClient(endpoint, key, waits.append) as client:
                try:
                    reply = client.ask(HELLO, longest=7, temperature=0)
                except EngineError as error:
                    reply = error
                return reply, server, waits, client.ledger

    return run


def test_the_request_is_that_of_the_protocol(ask):
    reply, server, waits, ledger = ask(chat.completion("fine", (11, 3), "length"), prices=Prices(1, 2))
    assert reply == Reply("fine", "length")
    assert server.paths == ["/v1/chat/completions"]
    assert server.bodies == [
        {"model": "some-model", "messages": HELLO, "max_tokens": 7, "temperature": 0}
    ]  # fmt: skip
    assert server.headers[0]["authorization"] == "Bearer sk-secret"
    assert server.headers[0]["content-type"] == "application/json"
    assert waits == []
    assert ledger.spent == pytest.approx(17e-6)


def test_without_a_key_none_is_sent(ask):
    _, server, *_ = ask(chat.completion("fine"), key="")
    assert "authorization" not in server.headers[0]


def test_it_waits_as_long_as_it_was_asked_to(ask):
    reply, server, waits, _ = ask(refusal(429, {"retry-after": "7"}), refusal(503), chat.completion("fine"))
    assert reply.text == "fine"
    assert len(server.bodies) == 3
    assert waits[0] == 7
    # The second retry's own wait is 1 s, spread by a quarter.
    assert 0.75 <= waits[1] <= 1.25


def test_a_connection_that_breaks_is_tried_again(ask):
    reply, server, waits, _ = ask((None, {}, b""), chat.completion("fine"))
    assert reply.text == "fine"
    assert len(server.bodies) == 2
    assert len(waits) == 1


def test_retries_end(ask):
    error, server, waits, ledger = ask(refusal(500, code="server_error"), retries=2, prices=Prices(1, 1))
    assert str(error) == "endpoint gave no answer in 3 attempts, the last: status 500 (server_error)"
    assert len(server.bodies) == 3
    assert len(waits) == 2
    assert ledger.spent == 0


def test_what_cannot_succeed_is_not_retried(ask):
    error, server, _, _ = ask(refusal(401, code="invalid_api_key"))
    assert str(error) == "endpoint refused a request: status 401 (invalid_api_key); not retried"
    assert len(server.bodies) == 1


def test_a_redirect_is_not_followed_with_the_key(ask):
    error, server, _, _ = ask((307, {"location": "/elsewhere"}, {}))
    assert "status 307" in str(error)
    assert server.paths == ["/v1/chat/completions"]


def test_an_endpoint_that_wants_hours_is_given_up_on(ask):
    error, _, waits, _ = ask(refusal(429, {"retry-after": "7200"}))
    assert "asked to wait 7200 s" in str(error)
    assert waits == []


def test_nobody_listens():
    with chat.serve(None) as server:
        url = server.url
    with (
        ChatClient(Endpoint(url, "m", retries=1), sleep=lambda _: None) as client,
        pytest.raises(EngineError, match="no answer in 2 attempts, the last: ConnectError"),
    ):
        client.ask(HELLO)


def test_a_slow_answer_times_out():
    with (
        chat.serve(chat.slow(script(chat.completion("late")), 0.4)) as server,
        ChatClient(Endpoint(server.url, "m", timeout_s=0.1, retries=0)) as client,
        pytest.raises(EngineError, match="the last: ReadTimeout"),
    ):
        client.ask(HELLO)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, {}, b"<html>"), "something else than JSON"),
        ((200, {}, {"choices": []}), r"without one text under choices\[0\]"),
        ((200, {}, [1]), r"without one text under choices\[0\]"),
        (chat.completion(None), r"without one text under choices\[0\]"),
        ((200, {}, b" " * 4_000_001), "more than 4,000,000"),
    ],
)
def test_answers_that_are_not_of_the_protocol(ask, answer, message):
    error, *_ = ask(answer)
    assert isinstance(error, EngineError)
    with pytest.raises(EngineError, match=message):
        raise error


def test_no_error_repeats_content_or_key(ask):
    for answer in (refusal(400, code=SECRET), refusal(500), (200, {}, SECRET.encode())):
        error, *_ = ask(answer, retries=0)
        assert SECRET not in str(error)
        assert "sk-secret" not in str(error)


def test_many_keep_their_order_and_run_at_once_within_the_bound():
    def echo(body):
        time.sleep(0.02)
        return chat.completion(body["messages"][0]["content"])

    with chat.serve(echo) as server, ChatClient(Endpoint(server.url, "m", parallel=3)) as client:
        replies = client.ask_all([[{"role": "user", "content": str(i)}] for i in range(12)])
        assert [reply.text for reply in replies] == [str(i) for i in range(12)]
        assert server.most_under_way == 3


def test_the_budget_ends_the_asking_before_it_is_exceeded():
    # Each may cost 1 + 16 + 3 = 20 and costs 4: the second to fourth are within 33, as 12 + 20 <= 33.
    prices = Prices(1e6, 1e6, budget=33)
    with (
        chat.serve(script(chat.completion("x", (3, 1)))) as server,
        ChatClient(Endpoint(server.url, "m", parallel=1, prices=prices)) as client,
    ):
        replies = client.ask_all([[{"role": "user", "content": "x"}]] * 6, longest=3)
        assert [isinstance(reply, Reply) for reply in replies] == [True] * 4 + [False] * 2
        assert client.ledger.spent == 16
        assert len(server.bodies) == 4


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("12", 12.0),
        ("1.5", 1.5),
        ("Tue, 24 Nov 2026 12:00:30 GMT", 30.0),
        ("Tue, 24 Nov 2026 11:59:00 GMT", 0.0),
        ("soon", None),
        ("-3", None),
    ],
)
def test_retry_after(value, expected):
    assert retry_after_s(value, datetime(2026, 11, 24, 12, tzinfo=UTC)) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "ftp://host/v1"}, r"expected http\(s\)://host/v1"),
        ({"url": "https://user:pw@host/v1"}, "without user"),
        ({"url": "https://host/v1?key=1"}, "without user, query"),
        ({"model": ""}, "endpoint model is empty"),
        ({"parallel": 0}, "endpoint parallel is 0, expected at least 1"),
        ({"retries": -1}, "endpoint retries is -1"),
        ({"timeout_s": 0.0}, "endpoint timeout_s is 0.0, expected more than 0"),
    ],
)
def test_endpoints_that_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Endpoint(**{"url": "https://host/v1", "model": "m", **options})
