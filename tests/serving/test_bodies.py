"""Bodies from outside: each kind of wrong has its answer, and nothing of it is repeated."""

import msgspec
import pytest

from gooseguard.serving.bodies import convert, parse_json
from gooseguard.serving.config import LimitsConfig
from gooseguard.serving.problem import Kind, Problem


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b'{"secret": 1,}', "no JSON"),
        (b'{"a": "\xff secret"}', "not UTF-8 at byte 7"),
        (b'\xef\xbb\xbf{"a": 1}', "no JSON"),
        (b'{"a": 1, "a": 1}', "a key twice"),
        (b'{"x": [{"a": 1, "b": 2, "a": 3}]}', "a key twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"a": "\\ud83e secret"}', "lone surrogate"),
        (b'{"\\udca2": 1}', "lone surrogate"),
        (b"1" * 5000, "number that is too long"),
        (b'"two" "values"', "no JSON"),
    ],
)
def test_what_is_no_json_is_refused_without_repeating_it(body, message):
    with pytest.raises(Problem, match=message) as caught:
        parse_json(body)
    assert caught.value.kind is Kind.INVALID
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": "\\ud83e\\udda2"}', {"a": "🦢"}),
        (b' [1, 2.5, null, true, "\\n"] ', [1, 2.5, None, True, "\n"]),
        (b"[" * 50 + b"]" * 50, None),
    ],
)
def test_what_is_json_is_taken(body, value):
    parsed = parse_json(body)
    assert value is None or parsed == value


class _Shape(msgspec.Struct):
    a: int
    b: list[str] = []


@pytest.mark.parametrize(
    ("value", "param"),
    [({"a": "1"}, "a"), ({"a": 1, "b": ["x", 2]}, "b[1]"), ({}, None), ([], None), ({"a": True}, "a")],
)
def test_wrong_types_say_where(value, param):
    with pytest.raises(Problem) as caught:
        convert(value, _Shape)
    assert caught.value.kind is Kind.INVALID
    assert caught.value.param == param


def test_a_body_may_be_too_large_by_its_header_or_by_its_length(make_client):
    client = make_client(limits=LimitsConfig(body_bytes=100))
    assert client.post("/v1/score", content=b"x" * 101).status_code == 413

    def chunks():
        yield b'{"items": ['
        yield b" " * 100
        yield b"]}"

    assert client.post("/v1/score", content=chunks()).status_code == 413
    assert client.post("/v1/score", content=b'{"items": []}').status_code == 200
