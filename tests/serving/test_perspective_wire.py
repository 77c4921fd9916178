"""Keys and errors as Google's front end has them."""

import pytest
from starlette.requests import Request

from gooseguard.serving.perspective_wire import AnalyzeRequest, PerspectiveApi, read_request
from gooseguard.serving.problem import Kind, Problem


def make_request(query=b"", headers=()):
    return Request({"type": "http", "query_string": query, "headers": list(headers)})


@pytest.mark.parametrize(
    ("query", "headers", "secret"),
    [
        (b"key=a&access_token=b", (), "a"),
        (b"", [(b"x-goog-api-key", b"a")], "a"),
        (b"", [(b"authorization", b"Bearer a")], "a"),
        (b"access_token=a", (), "a"),
        (b"oauth_token=a", (), "a"),
        (b"", (), None),
    ],
)
def test_where_a_key_may_be(query, headers, secret):
    assert PerspectiveApi().secret(make_request(query, headers)) == secret


def test_a_wrong_key_and_no_key():
    problem = Problem(Kind.NO_KEY, "unknown")
    status, body = PerspectiveApi().refuse(problem, make_request(b"key=a"))
    assert (status, body["error"]["message"]) == (400, "API key not valid. Please pass a valid API key.")
    assert body["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    status, body = PerspectiveApi().refuse(problem, make_request())
    assert (status, body["error"]["status"]) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (Kind.RATE_LIMITED, "RESOURCE_EXHAUSTED"),
        (Kind.OVERLOADED, "RESOURCE_EXHAUSTED"),
        (Kind.ENGINE, "INTERNAL"),
        (Kind.LOG, "UNAVAILABLE"),
        (Kind.DEADLINE, "DEADLINE_EXCEEDED"),
    ],
)
def test_statuses_are_google_s_codes(kind, status):
    code, body = PerspectiveApi().refuse(Problem(kind, "…"), make_request())
    assert (code, body["error"]["code"], body["error"]["status"]) == (kind.status, kind.status, status)
    if status == "RESOURCE_EXHAUSTED":
        assert body["error"]["details"][0]["reason"] == "RATE_LIMIT_EXCEEDED"


def test_both_spellings_are_read_and_attributes_are_left_alone():
    table = {
        "requested_attributes": {"score_type": {"score_type": "RAW"}},
        "context": {"article_and_parent_comment": {"parent_comment": {"text": "a"}}},
        "do_not_store": True,
    }
    read = read_request(table, AnalyzeRequest)
    assert read.doNotStore is True
    assert read.context.articleAndParentComment.parentComment.text == "a"
