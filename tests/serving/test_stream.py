"""Streams over WebSockets and server-sent events, on the packaged model."""

import json
import time

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

import gooseguard
from gooseguard.core.content import Content
from gooseguard.serving.app import create_app
from gooseguard.serving.config import LimitsConfig, ServeConfig, SessionsConfig
from gooseguard.serving.hooks import Hooks, Key, LoopbackOnly
from gooseguard.serving.metrics import Metrics
from gooseguard.serving.problem import Kind, Problem

PIECES = ["you are a ", "mo", "ron, and everybody ", "knows it"]
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def starter():
    return gooseguard.load(threads=1)


@pytest.fixture
def stream_client(starter):
    opened = []

    def make(hooks=None, **changes):
        app = create_app(ServeConfig(**changes), starter, hooks)
        client = TestClient(app, client=("127.0.0.1", 5))
        opened.append(client)
        return client.__enter__()

    yield make
    for client in opened:
        client.__exit__(None, None, None)


def whole(starter):
    (scores,) = starter.score([Content.from_text("".join(PIECES))])
    return dict(scores.values)


def ask(socket, **message):
    socket.send_text(json.dumps(message))
    return socket.receive_json()


def close_to(scores, expected):
    assert scores.keys() == expected.keys()
    assert all(abs(scores[name] - value) <= TOLERANCE for name, value in expected.items())


def events_of(response):
    events = []
    for block in response.text.strip().split("\n\n"):
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


def test_each_piece_is_answered_and_the_end_equals_the_whole(stream_client, starter):
    with stream_client().websocket_connect("/v1/stream") as socket:
        opened = ask(socket, type="open")
        assert (opened["type"], opened["position"], opened["model"]) == ("opened", 0, starter.name)
        position = 0
        for piece in PIECES:
            event = ask(socket, type="append", text=piece)
            position += len(piece)
            assert (event["type"], event["position"]) == ("scores", position)
            assert event["action"] in {"allow", "review", "block"}
        done = ask(socket, type="finish")
        assert done["type"] == "finished"
        close_to(done["scores"], whole(starter))
        assert "insult" in done["categories"]
        assert "handle" not in done


def test_metrics_tell_of_streams_and_sessions(stream_client):
    client = stream_client(Hooks(routes=(Metrics().route(LoopbackOnly()),)))

    def told():
        lines = client.get("/metrics").text.splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        names = ("streams", 'sessions{place="memory"}', 'sessions{place="disk"}')
        return [float(values[f"gooseguard_{name}"]) for name in names]

    assert told() == [0, 0, 0]
    with client.websocket_connect("/v1/stream") as one, client.websocket_connect("/v1/stream"):
        ask(one, type="open")
        assert told() == [2, 1, 0]
        ask(one, type="finish")
        assert told() == [2, 0, 0]
    client.post("/v1/stream", json={"pieces": ["text"]})
    client.portal.call(client.app.state.service.sessions.sweep_once, time.time() + 61)
    assert told() == [0, 0, 1]


def test_a_session_goes_on_over_connections_and_kinds_of_connections(stream_client, starter):
    client = stream_client()
    with client.websocket_connect("/v1/stream") as socket:
        ask(socket, type="open", policy="strict")
        handle = ask(socket, type="append", text=PIECES[0])["handle"]
    with client.websocket_connect("/v1/stream") as socket:
        resumed = ask(socket, type="resume", handle=handle)
        assert (resumed["type"], resumed["position"]) == ("opened", len(PIECES[0]))
        assert resumed["policy"].startswith("strict@")
        handle = ask(socket, type="append", text=PIECES[1])["handle"]
    response = client.post("/v1/stream", json={"handle": handle, "pieces": PIECES[2:], "finish": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    events = events_of(response)
    assert [event["type"] for event in events] == ["opened", "scores", "scores", "finished"]
    close_to(events[-1]["scores"], whole(starter))
    assert client.post("/v1/stream", json={"handle": events[-2]["handle"]}).status_code == 404


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"type": "append", "text": "a"}, "INVALID"),
        ({"type": "finish"}, "INVALID"),
        ({"type": "nothing"}, "INVALID"),
        ({"type": "open", "policy": "absent"}, "NOT_FOUND"),
        ({"type": "resume", "handle": "x"}, "INVALID"),
        ({"type": "append", "text": 3}, "INVALID"),
        ([], "INVALID"),
    ],
)
def test_a_wrong_message_is_answered_and_the_connection_stays(stream_client, message, kind):
    with stream_client().websocket_connect("/v1/stream") as socket:
        socket.send_text(json.dumps(message))
        event = socket.receive_json()
        assert (event["type"], event["error"]["type"]) == ("error", kind)
        assert ask(socket, type="open")["type"] == "opened"


def test_broken_frames(stream_client):
    client = stream_client()
    with client.websocket_connect("/v1/stream") as socket:
        for text in (
            "{",
            '{"type": "open", "type": "open"}',
            "[" * 1000,
            '{"type": "append", "text": "\\ud83e"}',
        ):
            socket.send_text(text)
            assert socket.receive_json()["error"]["type"] == "INVALID"
        socket.send_bytes(b"\x00")
        with pytest.raises(WebSocketDisconnect) as caught:
            socket.receive_text()
        assert caught.value.code == 1008


def test_a_piece_has_a_limit_and_so_has_idleness(stream_client):
    client = stream_client(limits=LimitsConfig(item_bytes=10), sessions=SessionsConfig(expiry_s=0.2))
    with client.websocket_connect("/v1/stream") as socket:
        ask(socket, type="open")
        assert ask(socket, type="append", text="x" * 11)["error"]["type"] == "TOO_LARGE"
        assert ask(socket, type="append", text="x" * 10)["type"] == "scores"
        with pytest.raises(WebSocketDisconnect):
            socket.receive_text()


class OneKey:
    def authenticate(self, secret, client):
        if secret != "right":
            raise Problem(Kind.NO_KEY, "unknown key")
        return Key("k")


def test_a_connection_without_a_key_is_refused(stream_client):
    client = stream_client(Hooks(keys=OneKey()))
    with pytest.raises(Exception) as caught, client.websocket_connect("/v1/stream"):
        pass
    assert caught.value.status_code == 401
    headers = {"authorization": "Bearer right"}
    with client.websocket_connect("/v1/stream", headers=headers) as socket:
        assert ask(socket, type="open")["type"] == "opened"


def test_a_scorer_that_cannot_stream_says_so(client):
    response = client.post("/v1/stream", json={"pieces": ["a"]})
    assert response.status_code == 400
    assert "reads whole texts only" in response.json()["error"]["message"]


def test_a_policy_is_chosen_when_a_session_is_opened(stream_client):
    response = stream_client().post("/v1/stream", json={"handle": "x", "policy": "strict"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "policy")
