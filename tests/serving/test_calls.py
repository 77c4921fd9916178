"""One request from arrival to answer: keys, limits, observers, failures."""

import pytest
from starlette.requests import HTTPConnection

from gooseguard.core.errors import PolicyError
from gooseguard.serving.calls import as_problem, bearer
from gooseguard.serving.hooks import Hooks, Key
from gooseguard.serving.problem import Kind, Problem


class OneKey:
    def authenticate(self, secret, client):
        if secret != "sk-right":
            raise Problem(Kind.NO_KEY, "unknown key")
        return Key("k1")


class OnePerTest:
    def __init__(self):
        self.left = 1

    def admit(self, key, n_items, n_bytes):
        if not self.left:
            raise Problem(Kind.RATE_LIMITED, f"{key.id} has used it up", retry_after_s=7.4)
        self.left -= 1
        return {"x-ratelimit-remaining-requests": str(self.left)}


def test_a_key_comes_as_bearer_token_or_x_api_key(make_client):
    client = make_client(Hooks(keys=OneKey()))
    body = {"items": []}
    for headers in ({"authorization": "Bearer sk-right"}, {"x-api-key": "sk-right"}):
        assert client.post("/v1/score", json=body, headers=headers).status_code == 200
    for headers in ({}, {"authorization": "Bearer sk-wrong"}, {"authorization": "Basic sk-right"}):
        response = client.post("/v1/score", json=body, headers=headers)
        assert response.status_code == 401
        assert "sk-" not in response.text


def test_a_limit_says_when_to_come_again(make_client):
    client = make_client(Hooks(limits=OnePerTest()))
    response = client.post("/v1/score", json={"items": []})
    assert response.headers["x-ratelimit-remaining-requests"] == "0"
    response = client.post("/v1/score", json={"items": []})
    assert response.status_code == 429
    assert response.headers["retry-after"] == "7"


def test_a_bug_is_a_500_that_repeats_nothing(client):
    response = client.post("/v1/score", json={"items": [{"text": "<crash> secret"}]})
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "KeyError" in response.json()["error"]["message"]
    assert response.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", None), ("Bearer ", None), ("", None)],
)
def test_bearer(header, token):
    scope = {"type": "http", "headers": [(b"authorization", header.encode())]}
    assert bearer(HTTPConnection(scope)) == token


def test_errors_of_ours_keep_their_words_and_others_do_not():
    assert as_problem(PolicyError("policy p: wrong")).message == "policy p: wrong"
    problem = as_problem(ValueError("secret"))
    assert problem.kind is Kind.ENGINE
    assert "secret" not in problem.message
