"""Routes of the page: its files, with a policy that lets it load and call nothing but this server."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from gooseguard.serving.calls import bearer, client_of, json_response
from gooseguard.serving.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from gooseguard.serving.calls import Service
    from gooseguard.serving.hooks import Keys

FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""Path to file and media type."""

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # Asked again each time, so that an upgrade of the server is an upgrade of the page.
    "cache-control": "no-cache",
}
"""Of every file: nothing from elsewhere, nothing to elsewhere, no frame around it."""


def page_routes(keys: Keys) -> list[Route]:
    """Give the routes. The files are public; policies are for whoever may ask for scores."""
    folder = resources.files("gooseguard.serving.page")
    routes = [
        Route(path, _answer_with(folder.joinpath(name).read_bytes(), media_type), methods=["GET"])
        for path, (name, media_type) in FILES.items()
    ]

    async def policies(request: Request) -> Response:
        try:
            keys.authenticate(bearer(request), client_of(request))
        except Problem as problem:
            return json_response({"error": {"message": problem.message}}, problem.kind.status)
        service: Service = request.app.state.service
        deployment = service.deployment
        facts = [
            {
                "id": policy.id,
                "name": policy.name,
                "thresholds": {
                    category: {"review": threshold.review, "block": threshold.block}
                    for category, threshold in policy.thresholds.items()
                },
            }
            for policy in deployment.policies.values()
        ]
        answer = {"model": deployment.scorer.name, "default": deployment.policy.id, "policies": facts}
        return json_response(answer)

    return [*routes, Route("/page/policies", policies, methods=["GET"])]


def _answer_with(body: bytes, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_: Request) -> Response:
        return Response(body, media_type=media_type, headers=HEADERS)

    return answer
