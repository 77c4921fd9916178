"""The defaults: this machine only, and nothing kept."""

import asyncio

import pytest

from gooseguard.core.content import Content
from gooseguard.core.scorer import ScoreError
from gooseguard.serving.hooks import Key, LogEntry, LoopbackOnly, NoLog
from gooseguard.serving.problem import Kind, Problem


@pytest.mark.parametrize("client", ["127.0.0.1", "127.8.9.1", "::1", "", "unix"])
def test_this_machine_may_ask_with_any_secret(client):
    assert LoopbackOnly().authenticate("sk-anything", client) == Key("local")


@pytest.mark.parametrize("client", ["192.0.2.1", "2001:db8::1"])
def test_others_may_not(client):
    with pytest.raises(Problem, match="gooseguard keys create") as caught:
        LoopbackOnly().authenticate(None, client)
    assert caught.value.kind is Kind.FORBIDDEN


def entry(**changes):
    outcome = ScoreError("ContentError", "…")
    return LogEntry("r", 0, "score", "k", Content.from_text("x"), outcome, "m@1", "p@1", **changes)


def test_without_a_log_a_suggestion_is_refused_and_a_verdict_is_not():
    log = NoLog()
    asyncio.run(log.append([entry()]))
    with pytest.raises(Problem, match="keeps no suggestions"):
        asyncio.run(log.append([entry(suggested={"insult": 1.0})]))
