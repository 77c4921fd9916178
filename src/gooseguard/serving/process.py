"""The server as a process: sockets, signals, uvicorn; nothing of what is answered."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import resource
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gooseguard.core.errors import ConfigError, GooseguardError
from gooseguard.serving.app import create_app
from gooseguard.serving.bodies import WHOLE_BODY

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from starlette.applications import Starlette

    from gooseguard.core.scorer import Scorer
    from gooseguard.serving.calls import Service
    from gooseguard.serving.config import ServeConfig
    from gooseguard.serving.deployment import Deployment
    from gooseguard.serving.hooks import Hooks

logger = logging.getLogger(__name__)

MAX_FILES = 65536
"""Open files to ask the system for; each connection is one."""

SWITCH_S = 0.0001
"""How long a thread may keep the interpreter while others wait: the event loop must not wait for scoring."""

M_ARENA_MAX = -8
"""Of glibc's malloc.h."""

ARENAS = 2
"""Heaps of the C library: one for the event loop, one for all other threads."""

GARBAGE = 20_000
"""Objects that are made before cycles are looked for."""

BACKLOG = 4096
"""Connections that the system keeps until they are accepted."""


def run(
    read: Callable[[], tuple[ServeConfig, Scorer]],
    make_hooks: Callable[[ServeConfig], Hooks],
    n_workers: int,
) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP loads config and model anew.

    Args:
        read: gives config and scorer, at the start and for each SIGHUP.
        make_hooks: gives keys, limits, log and observers.
        n_workers: batches scored at once, where the config leaves it open.

    Raises:
        ConfigError: the address is taken, or not ours.
        GooseguardError: config, model or policy is wrong.
    """
    config, scorer = read()
    listener = _listen(config)
    app = create_app(config, scorer, make_hooks(config), reload=read, n_workers=n_workers)
    _raise_file_limit()
    _share_arenas()
    sys.setswitchinterval(SWITCH_S)
    # What was loaded so far lives as long as the process; requests make hundreds of objects and no cycles.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(app, config, listener))


async def _serve(app: Starlette, config: ServeConfig, listener: socket.socket) -> None:
    settings = uvicorn.Config(
        app,
        host=config.host,
        port=config.port,
        http=protocol_with_timeout(config.limits.header_s),
        ws="websockets-sansio",
        # Compression keeps hundreds of kilobytes a connection; pieces of text are short.
        ws_per_message_deflate=False,
        ws_max_size=config.limits.body_bytes,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=list(config.proxies),
        date_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=int(config.limits.keep_alive_s),
        timeout_graceful_shutdown=int(config.drain_s),
    )
    server = _Server(settings)
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        try:
            await app.state.swap()
        except GooseguardError as error:
            logger.error("not reloaded", extra={"error": str(error)})
        else:
            logger.info("reloaded", extra=_about(app.state.service.deployment))

    def on_hangup() -> None:
        task = loop.create_task(reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, on_hangup)
    server.on_ready = lambda: _greet(app, listener)
    server.on_stop = lambda: _stop_admitting(app)
    await server.serve([listener])


def _listen(config: ServeConfig) -> socket.socket:
    """Open the socket here, since uvicorn ends the process where it cannot."""
    try:
        family = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((config.host, config.port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no port from 0 to 65535"
        raise ConfigError(
            f"cannot listen on {config.host}:{config.port} ({reason}); try --set host=… or --set port=…"
        ) from None
    listener.setblocking(False)  # noqa: FBT003  (the only form it has)
    return listener


class _Server(uvicorn.Server):
    """Says when it is ready and when it is told to stop."""

    on_ready: Callable[[], None]
    on_stop: Callable[[], None]

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; a second Ctrl-C does not wait. Being told to is no failure, so no signal is raised again."""
        self.on_stop()
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


class JoinedWrites:
    """What a response writes to its transport: the head waits for the body, at most for the loop's next turn.

    A write is a system call at once, and wakes who waits for it: a client would be woken for each half.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Take the transport of a connection."""
        self._transport = transport
        self._loop = loop
        self._held = b""

    def write(self, data: bytes) -> None:
        """Write what is held and this together; hold this where nothing is held."""
        if self._held:
            self._transport.write(self._held + data)
            self._held = b""
        else:
            self._held = data
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what is held."""
        if self._held:
            self._transport.write(self._held)
            self._held = b""

    def close(self) -> None:
        """Write what is held, and close the transport."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Tell whether the transport is closing."""
        return self._transport.is_closing()


def protocol_with_timeout(header_s: float) -> type[HttpToolsProtocol]:
    """Give uvicorn's HTTP protocol, with joined writes, and without who sends no whole request head in time.

    uvicorn closes connections that idle after an answer, and none before their first request.
    """

    class Protocol(HttpToolsProtocol):
        _joined: JoinedWrites
        _head_timer: asyncio.TimerHandle | None = None
        _has_head = False
        _is_one_piece = False

        # Narrower than asyncio's, as uvicorn has it.
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._joined = JoinedWrites(transport, self.loop)
            self._head_timer = self.loop.call_later(header_s, transport.close)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._is_one_piece = False
            is_answered = self.cycle is not None and self.cycle.response_complete
            if self._has_head and not is_answered:
                self._stop_timer()
            elif self._head_timer is None:
                # A further request on the connection, of which a part is here, or nothing but line ends.
                self._head_timer = self.loop.call_later(header_s, self.transport.close)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._has_head = False

        def on_headers_complete(self) -> None:
            self._has_head = self._is_one_piece = True
            before = self.cycle
            super().on_headers_complete()
            if self.cycle is not before:
                # Its task has not begun yet. An upgrade to WebSockets makes none.
                self.cycle.transport = self._joined  # type: ignore[assignment]

        def on_message_complete(self) -> None:
            super().on_message_complete()
            if self._is_one_piece and self.cycle is not None:
                # A key of ours, which uvicorn's type of a scope does not know.
                self.scope[WHOLE_BODY] = bytes(self.cycle.body)  # type: ignore[literal-required]

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def _stop_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

    return Protocol


def _greet(app: Starlette, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    logger.info("serving", extra={"url": f"http://{where}", **_about(app.state.service.deployment)})


def _about(deployment: Deployment) -> dict[str, Any]:
    """Give what an operator should know of a model and a policy."""
    return {
        "model": deployment.scorer.name,
        "policy": deployment.policy.name,
        "openai_always_0": deployment.openai.unscored,
        "perspective_refused": deployment.perspective.unscored,
    }


def _stop_admitting(app: Starlette) -> None:
    service: Service = app.state.service
    service.is_ready = False


def _share_arenas() -> None:
    """Have the C library's threads share their memory, where it can be asked to: each keeps what it frees."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, ARENAS)


def _raise_file_limit() -> None:
    """Take as many open files as the system gives, `MAX_FILES` at most."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
