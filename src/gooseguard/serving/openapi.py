"""The OpenAPI document, made of the very types that requests are read as and answers are written from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from gooseguard.serving.problem import Kind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from starlette.responses import Response

    from gooseguard.serving.calls import Api, Call

REFERENCE = "#/components/schemas/{name}"

EVENTS = "text/event-stream"
"""Content type of server-sent events."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What answers a path, and what it takes and gives."""

    path: str
    """With parameters in braces."""
    api: Api
    """Whose wire format it speaks."""
    handler: Callable[[Call], Awaitable[Response]]
    """Answers it."""
    summary: str
    """What it is for."""
    request: type | None = None
    """Type of the body; None: there is none."""
    response: Any = None
    """Type of the answer; None: any object."""
    error: type | None = None
    """Type of a refusal."""
    method: str = "POST"
    """HTTP method."""
    query: Mapping[str, Mapping[str, Any]] | None = None
    """Parameters of the query: name to schema."""
    is_stream: bool = False
    """Whether the answer is server-sent events, each a `response`."""


def make_document(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """Give the OpenAPI 3.1 document of a server that answers `operations`."""
    types = {
        kind
        for operation in operations
        for kind in (operation.request, operation.response, operation.error)
        if kind is not None
    }
    ordered = sorted(types, key=lambda kind: kind.__name__)
    schemas, components = msgspec.json.schema_components(ordered, ref_template=REFERENCE)
    by_type = dict(zip(ordered, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gooseguard",
            "version": version,
            "description": "Moderation: OpenAI's API, Perspective's, and our own.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "query", "name": "key"},
            },
        },
        "security": [{"bearer": []}, {"key": []}],
    }


def _describe(operation: Operation, by_type: Mapping[Any, Any]) -> dict[str, Any]:
    content = EVENTS if operation.is_stream else "application/json"
    schema = by_type.get(operation.response, {"type": "object"})
    if operation.is_stream:
        data = {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}
        properties = {"event": {"type": "string"}, "data": data}
        schema = {"type": "object", "properties": properties, "required": ["event", "data"]}
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": operation.handler.__name__,
        "tags": [operation.api.name],
        "responses": {
            "200": {"description": "The answer.", "content": {content: {"schema": schema}}},
            **{
                str(status): _refusal(status, by_type.get(operation.error)) for status in _statuses(operation)
            },
        },
    }
    parameters = [
        {"name": name, "in": "query", "required": False, "schema": dict(kind)}
        for name, kind in (operation.query or {}).items()
    ]
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    parameters += [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
    ]
    if parameters:
        described["parameters"] = parameters
    if operation.request is not None:
        body = {"application/json": {"schema": by_type[operation.request]}}
        described["requestBody"] = {"required": True, "content": body}
    return described


def _statuses(operation: Operation) -> list[int]:
    statuses = {kind.status for kind in Kind} - {200}
    if operation.request is None:
        statuses -= {Kind.TOO_SLOW.status, Kind.CONFLICT.status, Kind.WRONG_TYPE.status}
    return sorted(statuses)


def _refusal(status: int, schema: Any) -> dict[str, Any]:  # noqa: ANN401  (a JSON schema)
    described: dict[str, Any] = {
        "description": ", ".join(kind.name for kind in Kind if kind.status == status),
        "content": {"application/json": {"schema": schema or {"type": "object"}}},
    }
    if status in {Kind.RATE_LIMITED.status, Kind.LOG.status, Kind.DEADLINE.status}:
        described["headers"] = {
            "retry-after": {
                "description": "Seconds after which another attempt may succeed.",
                "schema": {"type": "integer", "minimum": 1},
            }
        }
    return described
