"""Handles: facts that anybody may carry and only this server can have written. Knows nothing of sessions."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
from typing import TYPE_CHECKING, Any

from gooseguard.core.errors import ConfigError
from gooseguard.serving.problem import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SECRET_BYTES = 32
"""Of the key that signs handles."""

SECRET_FILE = "handles.key"  # noqa: S105  (a file's name)
"""Where the key lies, beside the states it belongs to."""


class Handles:
    """Writes and reads handles: JSON and its HMAC-SHA-256, both in base64 for URLs, with a dot between."""

    def __init__(self, folder: Path) -> None:
        """Read the key that signs, made on first use, so that handles outlive the process.

        Raises:
            ConfigError: the file holds no key.
            OSError: the folder cannot be used.
        """
        self._secret = _read_secret(folder / SECRET_FILE)

    def write(self, facts: Mapping[str, Any]) -> str:
        """Give the handle that says `facts`."""
        payload = _encode(json.dumps(facts, separators=(",", ":")).encode())
        return f"{payload}.{_encode(self._sign(payload))}"

    def read(self, handle: str) -> dict[str, Any]:
        """Give what a handle says.

        Raises:
            Problem: INVALID: it is not ours.
        """
        payload, _, signature = handle.partition(".")
        invalid = Problem(
            Kind.INVALID, "this is no handle of this server; open a new session", param="handle"
        )
        try:
            is_ours = hmac.compare_digest(_decode(signature), self._sign(payload))
        except ValueError:
            raise invalid from None
        if not is_ours:
            raise invalid
        # Signed by us, so of the shape that `write` gave it.
        facts: dict[str, Any] = json.loads(_decode(payload))
        return facts

    def _sign(self, payload: str) -> bytes:
        return hmac.new(self._secret, payload.encode(), hashlib.sha256).digest()


def _read_secret(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        secret = path.read_bytes()
        if len(secret) != SECRET_BYTES:
            raise ConfigError(f"sessions: {path} is no key; delete it, and open sessions are lost") from None
        return secret
    with os.fdopen(descriptor, "wb") as file:
        secret = secrets.token_bytes(SECRET_BYTES)
        file.write(secret)
    return secret


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    """Undo `_encode`.

    Raises:
        ValueError: it is no base64.
    """
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
