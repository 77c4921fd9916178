"""What an operator plugs into the server: keys, limits, the verdict log, observers; and safe defaults.

Each is a small protocol. The server calls them in this order for a request: `Keys.authenticate`,
`Limits.admit`, then it scores, then `VerdictLog.append`, then it answers, then `Observer.answered`.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from gooseguard.serving.problem import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.routing import BaseRoute

    from gooseguard.core.content import Content
    from gooseguard.core.scorer import ScoreError
    from gooseguard.core.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Key:
    """Who asks."""

    id: str
    """Public name of the key: goes into logs, metrics and the scheduler's queues. Never the secret."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """The key's own limits, where they differ from the server's; read by `Limits` only."""


LOCAL = Key("local")
"""Whoever asks from this machine, where there are no keys."""


# A request makes one of these and one of those: a frozen dataclass takes four times as long to make.
class LogEntry(NamedTuple):
    """One judged item, as the verdict log gets it."""

    request: str
    """Id of the request."""
    place: int
    """Place of the item in the request."""
    api: str
    """"openai", "perspective", "score", "stream" or "suggest"."""
    key: str
    """`Key.id`."""
    content: Content
    """What was judged; stored only if the operator asks and `may_store`."""
    outcome: Verdict | ScoreError
    """What came out."""
    model: str
    """"name@digest"."""
    policy: str
    """"id@version"."""
    id: str = ""
    """The client's id of the item."""
    author: str = ""
    """The client's id of whoever wrote it, for deletion by author."""
    community: str = ""
    """The client's community."""
    may_store: bool = True
    """False where the client forbade storing the content."""
    suggested: Mapping[str, float] = MappingProxyType({})
    """Category to the score that the client suggests, for later training."""


class Answered(NamedTuple):
    """One answered request, for logs and metrics; holds no content."""

    request: str
    """Id of the request, as in the answer's header."""
    api: str
    """"openai", "perspective", "score", "stream", "other"."""
    path: str
    """The route, such as "/v1/moderations"; not what the client typed."""
    status: int
    """HTTP status."""
    problem: str
    """Name of the `Kind`, or ""."""
    key: str
    """`Key.id`, or ""."""
    n_items: int
    """Contents scored."""
    n_bytes: int
    """Bytes of the body."""
    model: str
    """"name@digest"."""
    policy: str
    """"id@version"."""
    stages: Mapping[str, float]
    """Seconds spent: "read", "queue", "score", "log", "total"."""


class Keys(Protocol):
    """Who may ask."""

    def authenticate(self, secret: str | None, client: str) -> Key:
        """Give the key of a secret.

        Args:
            secret: what the client sent as its API key, if anything.
            client: IP address of the client.

        Raises:
            Problem: NO_KEY or FORBIDDEN; the message names no part of the secret.
        """


class Limits(Protocol):
    """How much a key may ask."""

    def admit(self, key: Key, n_items: int, n_bytes: int) -> Mapping[str, str]:
        """Count a request, or refuse it; gives headers that say what is left.

        Raises:
            Problem: RATE_LIMITED, with `retry_after_s`.
        """


class VerdictLog(Protocol):
    """Remembers what was decided."""

    async def append(self, entries: Sequence[LogEntry], *, is_alone: bool = False) -> None:
        """Store entries; they are on disk when this returns, and the answer goes out only then.

        Args:
            entries: of one request.
            is_alone: whether no other request is under way, so that it is of no use to wait for theirs.

        Raises:
            Problem: LOG; the request gets an error instead of an answer that nobody can account for.
        """

    async def close(self) -> None:
        """Write what is left and close."""


class Observer(Protocol):
    """Sees what happens: metrics and logs. Must not raise, and must be quick."""

    def answered(self, record: Answered) -> None:
        """See an answered request."""

    def judged(self, outcome: Verdict | ScoreError, policy: str) -> None:
        """See one judged item."""

    def deployed(self, model: str, policy: str) -> None:
        """See which model and policy answer from now on."""


@lru_cache(maxsize=1024)
def is_local(client: str) -> bool:
    """Tell whether a client's address is this machine's."""
    try:
        return not client or ipaddress.ip_address(client).is_loopback
    except ValueError:
        # A Unix socket has no address.
        return True


class LoopbackOnly:
    """`Keys` without any key: this machine may ask, others may not."""

    def authenticate(self, secret: str | None, client: str) -> Key:
        """Let this machine in, whatever secret it sends: clients insist on sending one."""
        if not is_local(client):
            raise Problem(
                Kind.FORBIDDEN,
                "this server has no API keys and answers its own machine only; "
                "create one with: gooseguard keys create",
            )
        return LOCAL


class Unlimited:
    """`Limits` that refuse nothing."""

    def admit(self, key: Key, n_items: int, n_bytes: int) -> Mapping[str, str]:
        """Let it pass."""
        return {}


class NoLog:
    """`VerdictLog` that keeps nothing."""

    async def append(self, entries: Sequence[LogEntry], *, is_alone: bool = False) -> None:
        """Forget verdicts; refuse suggestions, since keeping them is what the client asks for."""
        if any(entry.suggested for entry in entries):
            raise Problem(Kind.LOG, "this server keeps no suggestions; its operator can turn the log on")

    async def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """All of them together."""

    keys: Keys = field(default_factory=LoopbackOnly)
    """Who may ask."""
    limits: Limits = field(default_factory=Unlimited)
    """How much."""
    log: VerdictLog = field(default_factory=NoLog)
    """What is remembered."""
    observers: tuple[Observer, ...] = ()
    """Who watches."""
    routes: tuple[BaseRoute, ...] = ()
    """Further pages, such as `/` and `/metrics`; they find the `Service` in `request.app.state`."""
    is_healthy: Callable[[], bool] = lambda: True
    """Whether requests can be answered, as far as these know: `/readyz` asks."""
