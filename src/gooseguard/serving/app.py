"""The ASGI application: which path is answered by what, and what happens at start, swap and stop."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import asynccontextmanager, contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route, WebSocketRoute

from gooseguard.core.errors import ConfigError
from gooseguard.serving.calls import Endpoint, Service, json_response, problem_response
from gooseguard.serving.deployment import make_deployment
from gooseguard.serving.discovery import VERSION, discover
from gooseguard.serving.hooks import Hooks
from gooseguard.serving.images import check_remote
from gooseguard.serving.openai import (
    ModelInfo,
    ModelList,
    ModerationRequest,
    ModerationResponse,
    OpenAiApi,
    OpenAiError,
    list_models,
    moderate,
    show_model,
)
from gooseguard.serving.openapi import Operation, make_document
from gooseguard.serving.perspective import analyze, suggest
from gooseguard.serving.perspective_wire import AnalyzeRequest, GoogleError, PerspectiveApi, SuggestRequest
from gooseguard.serving.problem import Kind, Problem
from gooseguard.serving.scheduler import Scheduler
from gooseguard.serving.score_api import (
    ErrorResponse,
    PolicyCheckRequest,
    PolicyCheckResponse,
    ScoreApi,
    ScoreRequest,
    ScoreResponse,
    check_policy,
    score,
)
from gooseguard.serving.sessions import Sessions
from gooseguard.serving.stream import PATH as STREAM_PATH
from gooseguard.serving.stream import StreamEvent, StreamRequest, post_stream, websocket_stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from gooseguard.core.scorer import Scorer
    from gooseguard.serving.calls import Api
    from gooseguard.serving.config import ServeConfig


GOOGLE_QUERY: Mapping[str, Mapping[str, Any]] = {
    "key": {"type": "string"},
    "fields": {"type": "string"},
    "alt": {"type": "string", "enum": ["json"]},
    "prettyPrint": {"type": "boolean"},
}
"""Parameters that every method of Google's APIs takes."""


def operations() -> list[Operation]:
    """List what the server answers, health and pages aside."""
    ours, openai, perspective = ScoreApi(), OpenAiApi(), PerspectiveApi()
    own, theirs, google = ErrorResponse, OpenAiError, GoogleError
    models = "/v1/models"
    analyze_path, suggest_path = "/v1alpha1/comments:analyze", "/v1alpha1/comments:suggestscore"
    return [
        Operation("/v1/score", ours, score, "Judge contents.", ScoreRequest, ScoreResponse, own),
        Operation(
            "/v1/policies:check", ours, check_policy, "Check a policy against the model.",
            PolicyCheckRequest, PolicyCheckResponse, own,
        ),
        Operation(
            STREAM_PATH, ours, post_stream, "Judge a text piece by piece.", StreamRequest, StreamEvent, own,
            is_stream=True,
        ),
        Operation(
            "/v1/moderations", openai, moderate, "OpenAI's moderation.",
            ModerationRequest, ModerationResponse, theirs,
        ),
        Operation(models, openai, list_models, "List models.", None, ModelList, theirs, "GET"),
        Operation(models + "/{model}", openai, show_model, "Show a model.", None, ModelInfo, theirs, "GET"),
        Operation(
            analyze_path, perspective, analyze, "Perspective's AnalyzeComment.", AnalyzeRequest, None, google,
            query=GOOGLE_QUERY,
        ),
        Operation(
            suggest_path, perspective, suggest, "Perspective's SuggestCommentScore.", SuggestRequest, None,
            google, query=GOOGLE_QUERY,
        ),
        Operation(
            "/$discovery/rest", perspective, discover, "Google's discovery document.", None, None, google,
            "GET", query={"version": {"type": "string", "enum": [VERSION]}},
        ),
    ]  # fmt: skip


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
        ConfigError: images are to be fetched, and what fetches them is not installed.
    """
    hooks = hooks or Hooks()
    check_remote(config.images)
    deployment = make_deployment(config, scorer)

    @asynccontextmanager
    async def lifespan(app: _App) -> AsyncIterator[None]:
        scheduler = Scheduler(config.scheduler, config.scheduler.workers or n_workers)
        with _session_folder(config) as folder:
            sessions = Sessions(config.sessions, folder, scheduler, lambda: app.state.service.deployment)
            service = Service(config, hooks, deployment, scheduler, sessions)
            app.state.service = service
            _mount(app, service)
            _tell(service)
            sweeper = asyncio.create_task(sessions.sweep())
            try:
                yield
            finally:
                service.is_ready = False
                sweeper.cancel()
                await scheduler.close()
                sessions.close()
                await hooks.log.close()

    app = _App(lifespan=lifespan, exception_handlers={404: _refuse, 405: _refuse})

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


class _App(Starlette):
    """Starlette, which is gone round for what is asked thousands of times a second.

    Routing and error handling cost as much as an endpoint's own work; an `Endpoint` handles its errors.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  (Starlette's own)
        super().__init__(**options)
        self.endpoints: dict[tuple[str, str], Endpoint] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self.endpoints.get((scope["path"], scope["method"])) if scope["type"] == "http" else None
        await (super().__call__ if endpoint is None else endpoint)(scope, receive, send)


@contextmanager
def _session_folder(config: ServeConfig) -> Iterator[Path]:
    """Give the operator's folder, or one that ends with the process."""
    if config.sessions.folder:
        yield Path(config.sessions.folder)
    else:
        with tempfile.TemporaryDirectory(prefix="gooseguard-") as folder:
            yield Path(folder)


def _tell(service: Service) -> None:
    for observer in service.hooks.observers:
        observer.deployed(service.deployment.scorer.name, service.deployment.policy.name)


def _mount(app: _App, service: Service) -> None:
    """Add the routes; those of one path with several methods stay apart, the first that fits answers."""
    for operation in operations():
        answer = Endpoint(service, operation.api, operation.path, operation.handler)
        if operation.method == "POST":
            app.endpoints[operation.path, operation.method] = answer
        app.router.routes.append(Route(operation.path, answer, methods=[operation.method]))
    app.router.routes += [
        Route("/healthz", _healthz),
        Route("/readyz", _readyz),
        Route("/openapi.json", _openapi),
        WebSocketRoute(STREAM_PATH, websocket_stream),
        *service.hooks.routes,
    ]


async def _refuse(request: Request, error: Exception) -> Response:
    """Answer a path that is not there, or not for that method."""
    assert isinstance(error, HTTPException)
    kind = Kind.WRONG_METHOD if error.status_code == Kind.WRONG_METHOD.status else Kind.NOT_FOUND
    what = "is not answered" if kind is Kind.NOT_FOUND else f"does not take {request.method}"
    response = problem_response(
        _api_of(request.url.path), Problem(kind, f"this path {what}; see /openapi.json"), request
    )
    response.headers.update(error.headers or {})
    return response


def _api_of(path: str) -> Api:
    """Give whose words to use on a path that is not there."""
    if path.startswith(("/v1alpha1", "/$discovery")):
        return PerspectiveApi()
    return OpenAiApi() if path.startswith("/v1/mod") else ScoreApi()


async def _healthz(request: Request) -> Response:
    """Say that the process lives."""
    return json_response({"status": "ok"})


async def _openapi(request: Request) -> Response:
    """Give the OpenAPI document."""
    return json_response(make_document(operations(), metadata.version("gooseguard")))


async def _readyz(request: Request) -> Response:
    """Say whether new requests are welcome."""
    service: Service = request.app.state.service
    facts = {"model": service.deployment.scorer.name, "policy": service.deployment.policy.name}
    is_ready = service.is_ready and service.hooks.is_healthy()
    return json_response({"ready": is_ready, **facts}, 200 if is_ready else 503)
