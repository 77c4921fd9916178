"""The ASGI application: which path is answered by what, and what happens at start, swap and stop."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

from gooseguard.core.errors import ConfigError
from gooseguard.serving.calls import Service, endpoint, json_response, problem_response
from gooseguard.serving.deployment import make_deployment
from gooseguard.serving.hooks import Hooks
from gooseguard.serving.problem import Kind, Problem
from gooseguard.serving.scheduler import Scheduler
from gooseguard.serving.score_api import ScoreApi, check_policy, score

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from gooseguard.core.scorer import Scorer
    from gooseguard.serving.calls import Api, Call
    from gooseguard.serving.config import ServeConfig


@dataclass(frozen=True, slots=True)
class _Path:
    """What answers a path."""

    path: str
    api: Api
    handler: Callable[[Call], Awaitable[Response]]
    method: str = "POST"


def paths() -> list[_Path]:
    """List what the server answers, health and pages aside."""
    ours = ScoreApi()
    return [_Path("/v1/score", ours, score), _Path("/v1/policies:check", ours, check_policy)]


def create_app(
    config: ServeConfig,
    scorer: Scorer,
    hooks: Hooks | None = None,
    *,
    reload: Callable[[], tuple[ServeConfig, Scorer]] | None = None,
    n_workers: int = 1,
) -> Starlette:
    """Put the server together; `app.state.service` is its `Service`, `app.state.swap()` loads anew.

    Args:
        config: what the operator wants.
        scorer: the model.
        hooks: keys, limits, log, observers and further pages.
        reload: reads config and model anew, for `swap`; called on a thread.
        n_workers: batches scored at once, where the config leaves it open.

    Raises:
        PolicyError: a policy does not fit the scorer.
    """
    hooks = hooks or Hooks()
    deployment = make_deployment(config, scorer)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        def watch(n_items: int, n_bytes: int) -> None:
            for observer in hooks.observers:
                observer.queued(n_items, n_bytes)

        scheduler = Scheduler(config.scheduler, config.scheduler.workers or n_workers, watch)
        service = Service(config, hooks, deployment, scheduler)
        app.state.service = service
        _mount(app, service)
        _tell(service)
        try:
            yield
        finally:
            service.is_ready = False
            await scheduler.close()
            await hooks.log.close()

    app = Starlette(lifespan=lifespan, exception_handlers={404: _refuse, 405: _refuse})
    for name, value in hooks.state.items():
        setattr(app.state, name, value)

    async def swap() -> None:
        """Load model and policies beside those that answer, then let them answer.

        Raises:
            GooseguardError: the new ones are wrong; the old ones stay.
        """
        if reload is None:
            raise ConfigError("this server was started without a way to load its config again")
        service: Service = app.state.service
        service.deployment = await asyncio.to_thread(lambda: make_deployment(*reload()))
        _tell(service)

    app.state.swap = swap
    return app


def _tell(service: Service) -> None:
    for observer in service.hooks.observers:
        observer.deployed(service.deployment.scorer.name, service.deployment.policy.name)


def _mount(app: Starlette, service: Service) -> None:
    """Add the routes; those of one path with several methods stay apart, the first that fits answers."""
    for entry in paths():
        answer = endpoint(service, entry.api, entry.path, entry.handler)
        app.router.routes.append(Route(entry.path, answer, methods=[entry.method]))
    app.router.routes += [Route("/healthz", _healthz), Route("/readyz", _readyz), *service.hooks.routes]


async def _refuse(request: Request, error: Exception) -> Response:
    """Answer a path that is not there, or not for that method."""
    assert isinstance(error, HTTPException)
    kind = Kind.WRONG_METHOD if error.status_code == Kind.WRONG_METHOD.status else Kind.NOT_FOUND
    what = "is not answered" if kind is Kind.NOT_FOUND else f"does not take {request.method}"
    response = problem_response(ScoreApi(), Problem(kind, f"this path {what}; see /openapi.json"))
    response.headers.update(error.headers or {})
    return response


async def _healthz(request: Request) -> Response:
    """Say that the process lives."""
    return json_response({"status": "ok"})


async def _readyz(request: Request) -> Response:
    """Say whether new requests are welcome."""
    service: Service = request.app.state.service
    facts = {"model": service.deployment.scorer.name, "policy": service.deployment.policy.name}
    is_ready = service.is_ready and service.hooks.is_healthy()
    return json_response({"ready": is_ready, **facts}, 200 if is_ready else 503)
