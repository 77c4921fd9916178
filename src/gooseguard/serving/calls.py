"""One request from its arrival to its answer, the same for every API: key, body, limits, timing, problems."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gooseguard.core.errors import GooseguardError
from gooseguard.serving.bodies import header_of, parse_json, read_body
from gooseguard.serving.hooks import Answered, Key
from gooseguard.serving.problem import Kind, Problem
from gooseguard.serving.scheduler import Timing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from starlette.requests import HTTPConnection
    from starlette.types import Receive, Scope, Send
    from starlette.websockets import WebSocket

    from gooseguard.serving.config import ServeConfig
    from gooseguard.serving.deployment import Deployment
    from gooseguard.serving.hooks import Hooks
    from gooseguard.serving.scheduler import Scheduler
    from gooseguard.serving.sessions import Sessions


def _request_ids() -> Iterator[str]:
    """Give ids that no process gives twice, each after the last: rows of them are found at an index's end."""
    process = secrets.token_hex(4)
    for number in count():
        yield f"req_{time.time_ns():016x}{process}{number & 0xFFFFFFFF:08x}"


@dataclass(slots=True, eq=False)
class Service:
    """What all requests share."""

    config: ServeConfig
    """As read at the start."""
    hooks: Hooks
    """The operator's."""
    deployment: Deployment
    """What answers now; swapped as a whole, so a request takes it once."""
    scheduler: Scheduler
    """Runs the engine."""
    sessions: Sessions
    """Texts that arrive in pieces."""
    is_ready: bool = True
    """Whether new requests are welcome; false while draining."""
    n_streams: int = 0
    """WebSockets and answers by events that are open now."""
    n_calls: int = 0
    """Requests under way."""
    ids: Iterator[str] = field(default_factory=_request_ids)
    """Of requests, each once."""

    @property
    def is_alone(self) -> bool:
        """Tell whoever asks within a request, or a stream, whether no other request is under way."""
        return self.n_calls <= 1


class Api(Protocol):
    """How one API speaks."""

    name: ClassVar[str]
    """As in `Answered.api`."""

    def secret(self, request: HTTPConnection) -> str | None:
        """Give the API key that a request carries."""

    def refuse(self, problem: Problem, request: HTTPConnection) -> tuple[int, Mapping[str, Any]]:
        """Give status and body of a problem."""


@dataclass(slots=True, eq=False)
class Call:
    """One request under way."""

    service: Service
    """What all share."""
    api: Api
    """Whose wire format it speaks."""
    request: Request | WebSocket
    """As it came."""
    id: str
    """Goes into the answer's header and every log."""
    deployment: Deployment
    """What answers this one, whatever is swapped in meanwhile."""
    policy: str = ""
    """"id@version" of the policy that decided."""
    key: Key | None = None
    """Who asks, once known."""
    n_items: int = 0
    """Contents."""
    n_bytes: int = 0
    """Bytes of the body."""
    headers: dict[str, str] = field(default_factory=dict)
    """To add to the answer's."""
    timing: Timing = field(default_factory=Timing)
    """Filled by the scheduler."""
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds by stage."""

    def authenticate(self) -> Key:
        """Find out who asks.

        Raises:
            Problem: NO_KEY or FORBIDDEN.
        """
        self.key = self.service.hooks.keys.authenticate(
            self.api.secret(self.request), client_of(self.request)
        )
        return self.key

    async def read(self) -> Any:  # noqa: ANN401  (JSON)
        """Authenticate, read the body, and give its JSON.

        Raises:
            Problem: what `authenticate`, `read_body` and `parse_json` raise.
        """
        self.authenticate()
        begin = time.perf_counter()
        # A WebSocket has no body, and nothing asks for it.
        body = await read_body(cast("Request", self.request), self.service.config.limits)
        self.n_bytes = len(body)
        value = parse_json(body)
        self.stages["read"] = time.perf_counter() - begin
        return value

    def admit(self, n_items: int) -> Key:
        """Count the request against its key's limits.

        Raises:
            Problem: RATE_LIMITED, or INVALID with more contents than a request may hold.
        """
        assert self.key is not None
        most = self.service.config.limits.items
        if n_items > most:
            raise Problem(
                Kind.INVALID,
                f"the request has {n_items} contents, expected at most {most}; send several requests",
            )
        self.n_items = n_items
        self.headers |= self.service.hooks.limits.admit(self.key, n_items, self.n_bytes)
        return self.key


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What ASGI calls for a path: its handler, with problems in the API's own words, and all observed."""

    service: Service
    """What all share."""
    api: Api
    """Whose wire format the path speaks."""
    path: str
    """The route."""
    handler: Callable[[Call], Awaitable[Response]]
    """Answers, or raises a problem."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        begin = time.perf_counter()
        request = Request(scope, receive, send)
        call = Call(self.service, self.api, request, next(self.service.ids), self.service.deployment)
        call.policy = call.deployment.policy.name
        kind = ""
        self.service.n_calls += 1
        try:
            response = await self.handler(call)
        except Exception as error:  # noqa: BLE001  (the last resort: every request gets an answer)
            problem = as_problem(error)
            kind = problem.kind.name
            response = problem_response(self.api, problem, request)
        finally:
            self.service.n_calls -= 1
        call.headers["x-request-id"] = call.id
        call.headers["gooseguard-model"] = call.deployment.scorer.name
        call.headers["gooseguard-policy"] = call.policy
        response.raw_headers += [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in call.headers.items()
        ]
        call.stages |= {"queue": call.timing.queue_s, "score": call.timing.score_s}
        call.stages["total"] = time.perf_counter() - begin
        observe(call, self.path, response.status_code, kind)
        await response(scope, receive, send)


def observe(call: Call, path: str, status: int, kind: str) -> None:
    """Tell the observers of an answered request."""
    record = Answered(
        request=call.id,
        api=call.api.name,
        path=path,
        status=status,
        problem=kind,
        key=call.key.id if call.key else "",
        n_items=call.n_items,
        n_bytes=call.n_bytes,
        model=call.deployment.scorer.name,
        policy=call.policy,
        stages=call.stages,
    )
    for observer in call.service.hooks.observers:
        observer.answered(record)


def as_problem(error: Exception) -> Problem:
    """Give any exception as a problem; one that nobody raised on purpose says its class and no more."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, GooseguardError):
        return Problem(Kind.ENGINE, str(error))
    return Problem(Kind.ENGINE, f"internal error ({type(error).__name__}); this is a bug, please report it")


def problem_response(api: Api, problem: Problem, request: HTTPConnection) -> Response:
    """Give a problem as the API says it."""
    status, body = api.refuse(problem, request)
    response = json_response(body, status)
    if problem.retry_after_s is not None:
        response.headers["retry-after"] = str(max(1, round(problem.retry_after_s)))
    return response


def json_response(body: Any, status: int = 200) -> Response:  # noqa: ANN401  (whatever msgspec can write)
    """Give a value as compact JSON."""
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def client_of(connection: HTTPConnection) -> str:
    """Give the client's IP address, "" where there is none."""
    client = connection.scope.get("client")
    return str(client[0]) if client else ""


def bearer(connection: HTTPConnection) -> str | None:
    """Give the token of an `Authorization: Bearer` header."""
    scheme, _, token = header_of(connection, b"authorization").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
