"""Why a request is refused, in terms that no wire format owns; each API turns a problem into its own body."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from gooseguard.core.errors import GooseguardError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Kind(Enum):
    """What went wrong, each with the HTTP status that every API gives it."""

    INVALID = 400
    """The body or a parameter is wrong."""
    NO_KEY = 401
    """No API key, or one that is unknown or revoked."""
    FORBIDDEN = 403
    """The key may not do this."""
    NOT_FOUND = 404
    """Nothing is there."""
    WRONG_METHOD = 405
    """Something is there, for another method."""
    TOO_SLOW = 408
    """The body did not come in time."""
    CONFLICT = 409
    """The handle is of another position."""
    TOO_LARGE = 413
    """The body is larger than the server takes."""
    WRONG_TYPE = 415
    """The body is no JSON."""
    RATE_LIMITED = 429
    """The key has used up its share."""
    ENGINE = 500
    """The engine failed, or a bug."""
    LOG = 503
    """The verdict log cannot be written."""
    DEADLINE = 504
    """The answer was not ready in time."""
    # Members of one value would be aliases of each other, so these two say it apart.
    OVERLOADED = "429 queue"
    """The queue is full."""
    DRAINING = "503 draining"
    """The server is about to stop."""

    @property
    def status(self) -> int:
        """Give the HTTP status."""
        return self.value if isinstance(self.value, int) else int(self.value[:3])


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit that a key has used up."""

    limit: str
    """Its name, as in the config: "requests_per_minute"."""
    value: int
    """What it allows."""
    key: str
    """`Key.id`."""


# The word of RFC 9457, Problem Details for HTTP APIs.
class Problem(GooseguardError):  # noqa: N818
    """A request that gets no answer but this. Its message goes to the client and never holds content."""

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
        details: Mapping[str, Any] | None = None,
        quota: Quota | None = None,
    ) -> None:
        """Say what is wrong.

        Args:
            kind: gives the status.
            message: what was found, where, what was expected, what to do.
            param: the field of the request it is about.
            code: the API's own word for it, where it has one.
            retry_after_s: seconds after which another attempt may succeed.
            details: what an API wants to add to its body.
            quota: the limit that refuses it, where it is RATE_LIMITED.
        """
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s
        self.details = details
        self.quota = quota
