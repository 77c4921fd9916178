"""Texts that arrive in pieces: `WS /v1/stream`, and `POST /v1/stream` with server-sent events.

Client to server over a WebSocket, JSON each: `open` or `resume`, then `append` as often as wanted, then
`finish`. Server to client: `opened`, `scores` after each piece, `finished`, or `error`. A POST does all of it
for the pieces in its body, and its events are the same messages.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import msgspec
from starlette.responses import StreamingResponse
from starlette.websockets import WebSocketDisconnect

from gooseguard.core.content import Content
from gooseguard.core.verdict import decide
from gooseguard.serving.bodies import convert, parse_json
from gooseguard.serving.calls import Call, as_problem, json_response, observe
from gooseguard.serving.hooks import LogEntry
from gooseguard.serving.problem import Kind, Problem
from gooseguard.serving.score_api import ScoreApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.responses import Response
    from starlette.websockets import WebSocket

    from gooseguard.core.scorer import Scores
    from gooseguard.serving.calls import Service
    from gooseguard.serving.sessions import Session

PATH = "/v1/stream"

CLOSE_POLICY = 1008
"""WebSocket close code for a client that does what it may not."""


class OpenMessage(msgspec.Struct, frozen=True, tag="open", forbid_unknown_fields=True):
    """Begin a text."""

    policy: str | None = None
    """Id of a policy; the server's default if absent."""


class ResumeMessage(msgspec.Struct, frozen=True, tag="resume", forbid_unknown_fields=True):
    """Go on with a text."""

    handle: str
    """The newest of the session."""


class AppendMessage(msgspec.Struct, frozen=True, tag="append", forbid_unknown_fields=True):
    """The next piece."""

    text: str
    """Pieces may end anywhere, within words too."""


class FinishMessage(msgspec.Struct, frozen=True, tag="finish", forbid_unknown_fields=True):
    """The text is whole."""


Message = OpenMessage | ResumeMessage | AppendMessage | FinishMessage


class StreamRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `POST /v1/stream` takes."""

    pieces: list[str] = []
    """The next pieces."""
    handle: str | None = None
    """The newest of a session; without, a new one is opened."""
    policy: str | None = None
    """Id of a policy for a new session; the server's default if absent."""
    finish: bool = False
    """Whether the text is whole after the pieces."""


class StreamEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the server says."""

    type: Literal["opened", "scores", "finished", "error"]
    """What it is."""
    session: str = ""
    """Id of the session."""
    position: int | msgspec.UnsetType = msgspec.UNSET
    """Code points read so far."""
    model: str = ""
    """"name@digest"."""
    policy: str = ""
    """"id@version"."""
    handle: str = ""
    """Finds the session again; not with `finished`."""
    action: Literal["allow", "review", "block"] | msgspec.UnsetType = msgspec.UNSET
    """What to do with all that came so far."""
    flagged: bool | msgspec.UnsetType = msgspec.UNSET
    """Whether any category is at or above its review threshold."""
    categories: list[str] | msgspec.UnsetType = msgspec.UNSET
    """Those that are."""
    scores: dict[str, float | None] | msgspec.UnsetType = msgspec.UNSET
    """Category to score of all that came so far; null as long as nothing visible came."""
    error: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    """{"type", "message"}."""


class _Stream:
    """One connection or request that works on one session at a time."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.service = call.service
        self.session: Session | None = None
        self._n_pieces = 0

    async def take(self, message: Message) -> StreamEvent:
        """Do what a message says; gives the answer.

        Raises:
            Problem: it cannot be done; the session goes on, where there is one.
        """
        assert self.call.key is not None
        key = self.call.key.id
        sessions = self.service.sessions
        if isinstance(message, OpenMessage | ResumeMessage):
            if self.session is not None:
                raise Problem(Kind.INVALID, "a session is open on this connection; finish it first")
            if isinstance(message, OpenMessage):
                policy = self.service.deployment.find_policy(message.policy)
                self.session = sessions.open(key, policy.id)
            else:
                self.session = sessions.resume(message.handle, key)
            return self._event("opened", None)
        session = self.session
        if session is None:
            raise Problem(Kind.INVALID, "no session is open on this connection; send open or resume first")
        if isinstance(message, AppendMessage):
            n_bytes = len(message.text.encode())
            if n_bytes > self.service.config.limits.item_bytes:
                raise Problem(Kind.TOO_LARGE, "the piece is too long; send it in several")
            self.call.n_bytes += n_bytes
            self.call.admit(1)
            scores = await sessions.append(session, message.text)
            return await self._judge("scores", scores, message.text)
        self.session = None
        return await self._judge("finished", await sessions.finish(session), "", session)

    async def _judge(
        self, kind: Literal["scores", "finished"], scores: Scores, text: str, session: Session | None = None
    ) -> StreamEvent:
        session = session or self.session
        assert session is not None
        assert self.call.key is not None
        policy = session.deployment.find_policy(session.policy)
        verdict = decide(scores, policy)
        self._n_pieces += 1
        entry = LogEntry(
            request=self.call.id,
            place=self._n_pieces - 1,
            api="stream",
            key=self.call.key.id,
            content=Content.from_text(text),
            outcome=verdict,
            model=scores.model,
            policy=policy.name,
            id=session.id,
        )
        await self.service.hooks.log.append([entry], is_alone=self.service.is_alone)
        for observer in self.service.hooks.observers:
            observer.judged(verdict, policy.name)
        event = self._event(kind, session)
        return msgspec.structs.replace(
            event,
            action=verdict.action.value,
            flagged=verdict.is_flagged,
            categories=[category for category, is_flagged in verdict.flagged.items() if is_flagged],
            scores=dict(scores.values),
        )

    def _event(self, kind: Literal["opened", "scores", "finished"], session: Session | None) -> StreamEvent:
        session = session or self.session
        assert session is not None
        return StreamEvent(
            type=kind,
            session=session.id,
            position=session.position,
            model=session.deployment.scorer.name,
            policy=session.deployment.find_policy(session.policy).name,
            handle="" if kind == "finished" else self.service.sessions.handle(session),
        )


async def post_stream(call: Call) -> Response:
    """Answer `POST /v1/stream`."""
    request = convert(await call.read(), StreamRequest)
    if request.handle is not None and request.policy is not None:
        raise Problem(Kind.INVALID, "a session keeps its policy; leave policy out", param="policy")
    stream = _Stream(call)
    begin: Message = OpenMessage(request.policy) if request.handle is None else ResumeMessage(request.handle)
    # Before the answer begins, so that a refusal has its status.
    opened = await stream.take(begin)

    async def events() -> AsyncIterator[bytes]:
        with _counted(call.service):
            yield _sse(opened)
            messages: list[Message] = [AppendMessage(text) for text in request.pieces]
            for message in [*messages, *([FinishMessage()] if request.finish else [])]:
                try:
                    yield _sse(await stream.take(message))
                except Exception as error:  # noqa: BLE001  (the last resort: the client must hear of it)
                    yield _sse(error_event(as_problem(error)))
                    return

    return StreamingResponse(events(), media_type="text/event-stream", headers={"cache-control": "no-store"})


async def websocket_stream(websocket: WebSocket) -> None:
    """Answer `WS /v1/stream`."""
    service: Service = websocket.app.state.service
    call = Call(service, ScoreApi(), websocket, next(service.ids), service.deployment)
    call.policy = call.deployment.policy.name
    begin = time.perf_counter()
    kind, status = "", 101
    try:
        call.authenticate()
        if not service.is_ready:
            raise Problem(Kind.DRAINING, "the server is stopping; connect again", retry_after_s=1)
        await websocket.accept()
        with _counted(service):
            await _converse(_Stream(call), websocket)
    except Problem as problem:
        kind, status = problem.kind.name, problem.kind.status
        body = ScoreApi().refuse(problem, websocket)[1]
        await websocket.send_denial_response(json_response(body, status))
    except WebSocketDisconnect:
        # The session stays, for its handle.
        pass
    call.stages["total"] = time.perf_counter() - begin
    observe(call, PATH, status, kind)


@contextmanager
def _counted(service: Service) -> Iterator[None]:
    service.n_streams += 1
    try:
        yield
    finally:
        service.n_streams -= 1


async def _converse(stream: _Stream, websocket: WebSocket) -> None:
    """Take messages until the client leaves, or has said nothing for as long as a session lives."""
    expiry_s = stream.service.config.sessions.expiry_s
    while True:
        try:
            async with asyncio.timeout(expiry_s):
                text = await websocket.receive_text()
        except TimeoutError:
            await websocket.close(CLOSE_POLICY, "idle")
            return
        except KeyError:
            # A frame of bytes.
            await websocket.close(CLOSE_POLICY, "expected text frames")
            return
        try:
            event = await stream.take(_read_message(text))
        except Exception as error:  # noqa: BLE001  (the last resort: every message gets an answer)
            event = error_event(as_problem(error))
        await websocket.send_text(msgspec.json.encode(event).decode())


def _read_message(text: str) -> Message:
    value = parse_json(text.encode("utf-8", "surrogatepass"))
    # A union is no type to mypy.
    message: Message = convert(value, Message)  # type: ignore[arg-type]
    return message


def error_event(problem: Problem) -> StreamEvent:
    """Give a problem as an event."""
    return StreamEvent(type="error", error={"type": problem.kind.name, "message": problem.message})


def _sse(event: StreamEvent) -> bytes:
    return b"event: " + event.type.encode() + b"\ndata: " + msgspec.json.encode(event) + b"\n\n"
