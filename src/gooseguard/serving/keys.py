"""API keys: made once and shown once, kept as digests, checked in memory, revoked while a server runs.

A key is `gg_ID_SECRET`: the id is public and names the key in lists and logs, the secret is 256 random bits.
Since nobody can guess those, one SHA-256 protects them as well as a slow hash would, in a microsecond.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from gooseguard.core.errors import ConfigError, StorageError
from gooseguard.serving.config import RateLimits
from gooseguard.serving.database import translated
from gooseguard.serving.hooks import Key, LoopbackOnly
from gooseguard.serving.problem import Kind, Problem
from gooseguard.serving.tables import api_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Engine

logger = logging.getLogger(__name__)

PREFIX = "gg"
ID_BYTES = 6
SECRET_BYTES = 32

NAME_CHARACTERS = 200
"""The longest name of a key."""

REFRESH_S = 1.0
"""How often a server reads the keys again: how long a revoked key may go on working."""

STALE_S = 60.0
"""How long a server trusts what it read last when the database cannot be read; then no key opens anything."""

# Compared with where there is no key of the id, so that an unknown id takes as long as a wrong secret.
_NO_DIGEST = "0" * 64


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key, without its secret."""

    id: str
    """Its public half."""
    name: str
    """What its owner calls it."""
    digest: str
    """SHA-256 of the whole key, hex."""
    created: float
    """Seconds since 1970."""
    revoked: float | None
    """Seconds since 1970; `None` while it is good."""
    limits: RateLimits
    """Its own limits; what is `None` in them is the server's."""


def create_key(
    engine: Engine, name: str, limits: RateLimits, *, clock: Callable[[], float] = time.time
) -> tuple[ApiKey, str]:
    """Make a key. Gives it, and the key as its owner has to show it: it cannot be had again.

    Raises:
        ConfigError: the name is empty, too long, or not printable.
        StorageError: the database cannot be written.
    """
    if not name.strip() or len(name) > NAME_CHARACTERS or not name.isprintable():
        raise ConfigError(f"key name: expected 1 to {NAME_CHARACTERS} printable characters")
    identifier = secrets.token_hex(ID_BYTES)
    token = f"{PREFIX}_{identifier}_{secrets.token_urlsafe(SECRET_BYTES)}"
    key = ApiKey(identifier, name, _digest(token), clock(), None, limits)
    row = {
        "id": key.id,
        "name": key.name,
        "digest": key.digest,
        "created": key.created,
        "requests_per_minute": limits.requests_per_minute,
        "items_per_minute": limits.items_per_minute,
        "bytes_per_minute": limits.bytes_per_minute,
    }
    with translated("store the key"), engine.begin() as connection:
        connection.execute(api_keys.insert(), [row])
    return key, token


def list_keys(engine: Engine) -> list[ApiKey]:
    """Give all keys, oldest first, revoked ones included.

    Raises:
        StorageError: the database cannot be read.
    """
    query = sa.select(api_keys).order_by(api_keys.c.created, api_keys.c.id)
    with translated("read the keys"), engine.connect() as connection:
        return [_from_row(row._asdict()) for row in connection.execute(query)]


def revoke_key(engine: Engine, identifier: str, *, clock: Callable[[], float] = time.time) -> ApiKey:
    """Revoke a key, now and for good; one that is revoked already stays as it is.

    Raises:
        ConfigError: there is no such key.
        StorageError: the database cannot be written.
    """
    change = api_keys.update().where(api_keys.c.id == identifier, api_keys.c.revoked.is_(None))
    query = sa.select(api_keys).where(api_keys.c.id == identifier)
    with translated("revoke the key"), engine.begin() as connection:
        connection.execute(change.values(revoked=clock()))
        row = connection.execute(query).one_or_none()
    if row is None:
        raise ConfigError("no key has this id; expected one that `gooseguard keys list` shows")
    return _from_row(row._asdict())


class KeyRing:
    """A `hooks.Keys`: the keys in memory, read anew every `REFRESH_S` by a thread."""

    def __init__(self, engine: Engine, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the keys.

        Raises:
            StorageError: the database cannot be read.
        """
        self._engine = engine
        self._clock = clock
        self._keys: Mapping[str, ApiKey] = {}
        self._read_at = 0.0
        self._without = LoopbackOnly()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="key-ring", daemon=True)
        self.refresh()

    def start(self) -> None:
        """Start reading anew."""
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(REFRESH_S)

    def refresh(self) -> None:
        """Read the keys now.

        Raises:
            StorageError: the database cannot be read; what was read before stays good for `STALE_S`.
        """
        keys = {key.id: key for key in list_keys(self._engine)}
        self._keys, self._read_at = keys, self._clock()

    def authenticate(self, secret: str | None, client: str) -> Key:
        """Give the key that a request shows. Before the first key is made, this machine needs none.

        Raises:
            Problem: NO_KEY: it shows none, or one that is wrong or revoked. FORBIDDEN: there is no key yet,
                and the client is another machine. LOG: the keys could not be read for too long.
        """
        if self._clock() - self._read_at > STALE_S:
            raise Problem(Kind.LOG, "API keys cannot be checked; try again later", retry_after_s=REFRESH_S)
        # Revoked ones count: revoking the last key must not open the server again.
        if not self._keys:
            return self._without.authenticate(secret, client)
        if not secret:
            raise Problem(Kind.NO_KEY, "no API key; expected one as a bearer token, or as the parameter key")
        key = self._keys.get(_identifier(secret))
        is_right = hmac.compare_digest(_digest(secret), _NO_DIGEST if key is None else key.digest)
        if key is None or not is_right:
            raise Problem(Kind.NO_KEY, "unknown API key; ask the operator of this server for one")
        if key.revoked is not None:
            raise Problem(Kind.NO_KEY, f"API key {key.id} is revoked; ask the operator for another")
        return Key(key.id, key.limits.as_mapping())

    def _run(self) -> None:
        is_failing = False
        while not self._closing.wait(REFRESH_S):
            try:
                self.refresh()
            except StorageError as error:
                if not is_failing:
                    logger.warning("API keys not refreshed", extra={"error": str(error)})
                is_failing = True
            else:
                is_failing = False


def _identifier(token: str) -> str:
    prefix, _, rest = token.partition("_")
    return rest.partition("_")[0] if prefix == PREFIX else ""


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _from_row(row: Mapping[str, Any]) -> ApiKey:
    limits = RateLimits(row["requests_per_minute"], row["items_per_minute"], row["bytes_per_minute"])
    return ApiKey(row["id"], row["name"], row["digest"], row["created"], row["revoked"], limits)
