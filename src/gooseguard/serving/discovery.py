"""`GET /$discovery/rest`: the document that Google's client libraries read before their first call.

It names this server as the root of all paths, so that pointing a client at it is enough.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from gooseguard.serving.calls import json_response
from gooseguard.serving.problem import Kind, Problem

if TYPE_CHECKING:
    from starlette.responses import Response

    from gooseguard.serving.calls import Call

VERSION = "v1alpha1"
"""The only version that there was."""


async def discover(call: Call) -> Response:
    """Answer `GET /$discovery/rest?version=v1alpha1`. Needs no key, as with Google."""
    version = call.request.query_params.get("version", VERSION)
    if version != VERSION:
        raise Problem(Kind.NOT_FOUND, "Requested entity was not found; expected version=v1alpha1")
    root = call.service.config.public_url or str(call.request.base_url)
    return json_response(document(root.rstrip("/") + "/"))


def document(root: str) -> dict[str, Any]:
    """Give the document for a server at `root`, which ends in a slash."""
    return {**_packaged(), "rootUrl": root, "baseUrl": root}


@cache
def _packaged() -> dict[str, Any]:
    text = resources.files("gooseguard.wire").joinpath("discovery.json").read_text("utf-8")
    packaged: dict[str, Any] = json.loads(text)
    return packaged
