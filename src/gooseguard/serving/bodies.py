"""Bytes from outside to checked values: size, time, UTF-8, JSON, types. Knows no API."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gooseguard.serving.problem import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import HTTPConnection, Request

    from gooseguard.serving.config import LimitsConfig

T = TypeVar("T")

WHOLE_BODY = "gooseguard.body"
"""Where a scope has a body that was there with its head: nothing needs to be waited for."""

MOST_DEPTH = 64
"""Of lists and objects in each other; no request of any API comes near."""


async def read_body(request: Request, limits: LimitsConfig) -> bytes:
    """Read a body that is neither too large nor too slow.

    Raises:
        Problem: TOO_LARGE or TOO_SLOW; INVALID where the client hung up.
    """
    whole: bytes | None = request.scope.get(WHOLE_BODY)
    if whole is not None:
        if len(whole) > limits.body_bytes:
            raise _too_large(limits)
        return whole
    announced = header_of(request, b"content-length")
    if announced.isdecimal() and int(announced) > limits.body_bytes:
        raise _too_large(limits)
    chunks: list[bytes] = []
    n_bytes = 0
    try:
        async with asyncio.timeout(limits.body_s):
            while True:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise Problem(Kind.INVALID, "the client closed the connection before the body was whole")
                chunks.append(message.get("body", b""))
                n_bytes += len(chunks[-1])
                if n_bytes > limits.body_bytes:
                    raise _too_large(limits)
                if not message.get("more_body", False):
                    return b"".join(chunks)
    except TimeoutError:
        raise Problem(
            Kind.TOO_SLOW, f"the body did not arrive within {limits.body_s:g} s; send it again, or less of it"
        ) from None


def header_of(connection: HTTPConnection, name: bytes) -> str:
    """Give a header by its name in lower case; "" where there is none. Starlette's own way takes long."""
    for key, value in connection.scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return ""


def parse_json(body: bytes) -> Any:  # noqa: ANN401  (JSON is of any type until it is converted)
    """Give what a JSON body says.

    Raises:
        Problem: INVALID: not UTF-8, not JSON, a key twice, NaN or infinity, nested too deeply, or a
            lone surrogate.
    """
    try:
        value = _decode(body.decode("utf-8"))
        if b"\\u" in body:
            # Escapes can spell half a surrogate pair, which nothing can encode.
            msgspec.json.encode(value)
    except UnicodeDecodeError as error:
        raise Problem(
            Kind.INVALID, f"the body is not UTF-8 at byte {error.start}; expected JSON in UTF-8"
        ) from None
    except UnicodeEncodeError:
        raise Problem(
            Kind.INVALID, "the body has a lone surrogate in a \\u escape; expected valid Unicode"
        ) from None
    except json.JSONDecodeError as error:
        raise Problem(
            Kind.INVALID, f"the body is no JSON: {error.msg}, line {error.lineno} column {error.colno}"
        ) from None
    except RecursionError:
        raise Problem(Kind.INVALID, "the body is nested too deeply; expected a few levels") from None
    except ValueError:
        # An integer of thousands of digits.
        raise Problem(Kind.INVALID, "the body has a number that is too long") from None
    if body.count(b"[") + body.count(b"{") > MOST_DEPTH and _depth(value) > MOST_DEPTH:
        raise Problem(Kind.INVALID, "the body is nested too deeply; expected a few levels")
    return value


def convert(value: Any, kind: type[T]) -> T:  # noqa: ANN401  (as above)
    """Give a JSON value as a `kind`, without coercion.

    Raises:
        Problem: INVALID, with the path of the field in `param`.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        raise Problem(
            Kind.INVALID,
            f"{message}{f' at {place[:-1].lstrip(chr(46))}' if place else ''}",
            param=place[:-1].lstrip(".") or None,
        ) from None


def _depth(value: Any) -> int:  # noqa: ANN401  (as above)
    """Give how many lists and objects lie in each other, without recursion."""
    depth, level = 0, [value]
    while level:
        level = [
            inner
            for outer in level
            if isinstance(outer, list | dict)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        depth += 1
    return depth


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        # Which value counts differs between programs, so that one could check one and act on the other.
        raise Problem(Kind.INVALID, "the body has a key twice in one object; expected each key once")
    return table


def _refuse_constant(name: str) -> None:
    raise Problem(Kind.INVALID, f"the body has {name}, which is no JSON; expected a number")


_decode = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant).decode


def _too_large(limits: LimitsConfig) -> Problem:
    return Problem(
        Kind.TOO_LARGE,
        f"the body is larger than {limits.body_bytes} bytes; send fewer or shorter texts at once",
    )
