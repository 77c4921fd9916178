import hashlib
import threading
import time

import pytest
import sqlalchemy as sa

from gooseguard.core.errors import ConfigError, StorageError
from gooseguard.serving import keys
from gooseguard.serving.config import RateLimits
from gooseguard.serving.keys import KeyRing, create_key, list_keys, revoke_key
from gooseguard.serving.problem import Kind, Problem
from gooseguard.serving.tables import api_keys


def refusal(ring, secret, client="192.0.2.1"):
    with pytest.raises(Problem) as caught:
        ring.authenticate(secret, client)
    return caught.value


def test_a_key_is_shown_once_and_kept_as_a_digest(engine):
    key, token = create_key(engine, "forum", RateLimits(items_per_minute=5), clock=lambda: 12.5)
    prefix, identifier, secret = token.split("_", 2)
    assert (prefix, identifier) == ("gg", key.id)
    # 256 bits in base64url: 43 characters.
    assert len(secret) == 43
    with engine.connect() as connection:
        row = connection.execute(sa.select(api_keys)).one()
    assert row.digest == hashlib.sha256(token.encode()).hexdigest()
    assert not any(secret in str(value) for value in row)
    assert list_keys(engine) == [key]
    assert (key.created, key.revoked, key.limits) == (12.5, None, RateLimits(None, 5, None))


def test_keys_differ(engine):
    tokens = {create_key(engine, "x", RateLimits())[1] for _ in range(20)}
    assert len(tokens) == 20


def test_a_key_opens_with_its_limits(engine):
    key, token = create_key(engine, "forum", RateLimits(items_per_minute=5))
    found = KeyRing(engine).authenticate(token, "192.0.2.1")
    assert (found.id, found.limits) == (key.id, {"items_per_minute": 5})


def test_wrong_keys_open_nothing_and_are_not_repeated(engine):
    key, token = create_key(engine, "forum", RateLimits())
    ring = KeyRing(engine)
    wrong = [None, "", "sk-local", token[:-1], token + "x", f"gg_{key.id}_", token.upper(), "gg_", "\ud800"]
    for secret in wrong:
        problem = refusal(ring, secret, "127.0.0.1")
        assert problem.kind is Kind.NO_KEY
        assert not secret or secret not in problem.message


def test_without_any_key_only_this_machine_may_ask(engine):
    ring = KeyRing(engine)
    assert ring.authenticate("whatever a client insists on", "127.0.0.1").id == "local"
    assert ring.authenticate(None, "::1").id == "local"
    assert refusal(ring, None).kind is Kind.FORBIDDEN


def test_revoking_the_last_key_does_not_open_the_server(engine):
    key, token = create_key(engine, "forum", RateLimits())
    revoke_key(engine, key.id)
    ring = KeyRing(engine)
    assert refusal(ring, None, "127.0.0.1").kind is Kind.NO_KEY
    problem = refusal(ring, token)
    assert problem.kind is Kind.NO_KEY
    assert "is revoked" in problem.message


def test_a_key_stops_opening_while_the_server_runs(engine, monkeypatch):
    monkeypatch.setattr(keys, "REFRESH_S", 0.02)
    ring = KeyRing(engine)
    ring.start()
    try:
        key, token = create_key(engine, "forum", RateLimits())
        wait_until(lambda: opens(ring, token))
        revoke_key(engine, key.id)
        wait_until(lambda: not opens(ring, token))
    finally:
        ring.close()
    assert not any(thread.name == "key-ring" for thread in threading.enumerate())


def opens(ring, token):
    try:
        return ring.authenticate(token, "192.0.2.1").id != "local"
    except Problem:
        return False


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_revoking_is_once_and_for_all(engine):
    key, _ = create_key(engine, "forum", RateLimits())
    assert revoke_key(engine, key.id, clock=lambda: 7.0).revoked == 7.0
    assert revoke_key(engine, key.id, clock=lambda: 8.0).revoked == 7.0
    with pytest.raises(ConfigError, match="no key has this id"):
        revoke_key(engine, "0" * 12)


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "two\nlines", "nul\0"])
def test_wrong_names(engine, name):
    with pytest.raises(ConfigError, match="printable"):
        create_key(engine, name, RateLimits())


def test_keys_that_cannot_be_read_open_for_a_minute_and_then_nothing(tmp_path):
    from gooseguard.serving.database import open_database

    engine = open_database(str(tmp_path / "x.db"))
    _, token = create_key(engine, "forum", RateLimits())
    now = 0.0
    ring = KeyRing(engine, clock=lambda: now)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE api_keys")
    with pytest.raises(StorageError, match="cannot read the keys"):
        ring.refresh()
    now = 59.0
    assert ring.authenticate(token, "192.0.2.1")
    now = 61.0
    assert refusal(ring, token).kind is Kind.LOG
    engine.dispose()
