"""The application: health, unknown paths, swap, stop."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from serving_fakes import FakeScorer
from starlette.routing import Route

from gooseguard.core.errors import ConfigError, PolicyError
from gooseguard.serving.calls import json_response
from gooseguard.serving.config import ServeConfig
from gooseguard.serving.hooks import Hooks


def test_health_and_readiness(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"ready": True, "model": "fake@0123456789ab", "policy": "mine@1"}
    client.app.state.service.is_ready = False
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200


def test_unknown_paths_and_methods_are_json_errors(client):
    response = client.get("/v1/nothing")
    assert (response.status_code, response.json()["error"]["type"]) == (404, "NOT_FOUND")
    response = client.get("/v1/score")
    assert (response.status_code, response.json()["error"]["type"]) == (405, "WRONG_METHOD")
    assert response.headers["allow"] == "POST"


def test_pages_of_the_operator_find_the_service(make_client):
    async def page(request):
        return json_response({"seen": request.app.state.service.deployment.scorer.name})

    client = make_client(Hooks(routes=(Route("/page", page),)))
    assert client.get("/page").json() == {"seen": "fake@0123456789ab"}


def test_a_second_model_is_swapped_in(make_client, policy_path):
    made = []

    def reload():
        made.append(1)
        return ServeConfig(policy=policy_path), FakeScorer("new@fedcba987654")

    client = make_client(reload=reload)
    assert client.post("/v1/score", json={"items": []}).json()["model"] == "fake@0123456789ab"
    client.portal.call(client.app.state.swap)
    assert client.post("/v1/score", json={"items": []}).json()["model"] == "new@fedcba987654"
    assert made == [1]


def test_the_old_model_answers_while_the_new_one_loads(make_client, policy_path):
    is_loading, may_load = threading.Event(), threading.Event()

    def reload():
        is_loading.set()
        assert may_load.wait(10)
        return ServeConfig(policy=policy_path), FakeScorer("new@fedcba987654")

    client = make_client(reload=reload)

    def model():
        return client.post("/v1/score", json={"items": [{"text": "hello"}]}).json()["model"]

    with ThreadPoolExecutor(1) as loader:
        swap = loader.submit(client.portal.call, client.app.state.swap)
        assert is_loading.wait(10)
        assert {model() for _ in range(10)} == {"fake@0123456789ab"}
        may_load.set()
        swap.result(10)
    assert model() == "new@fedcba987654"


def test_a_request_under_way_keeps_the_model_it_began_with(make_client, policy_path):
    client = make_client(reload=lambda: (ServeConfig(policy=policy_path), FakeScorer("new@fedcba987654")))
    with ThreadPoolExecutor(1) as caller:
        slow = caller.submit(client.post, "/v1/score", json={"items": [{"text": "<slow>"}]})
        time.sleep(0.1)
        client.portal.call(client.app.state.swap)
        assert client.get("/readyz").json()["model"] == "new@fedcba987654"
        assert slow.result(10).json()["model"] == "fake@0123456789ab"


def test_a_swap_that_fails_leaves_the_old_one(make_client, scorer):
    client = make_client(reload=lambda: (ServeConfig(policy="no-such-policy"), scorer))
    with pytest.raises(PolicyError, match="no-such-policy"):
        client.portal.call(client.app.state.swap)
    assert client.get("/readyz").json()["policy"] == "mine@1"


def test_without_a_way_to_reload_it_says_so(client):
    with pytest.raises(ConfigError, match="without a way"):
        asyncio.run(client.app.state.swap())
