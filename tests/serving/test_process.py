"""The server as a process: start, drain, reload, slow and idle connections."""

import asyncio
import json
import resource
import signal
import socket
import threading
import time
import urllib.request

import pytest
from live import LiveServer

from gooseguard.serving.process import JoinedWrites


def post(server, path, body):
    request = urllib.request.Request(
        server.url + path, json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.status, json.load(response)


def test_it_starts_reloads_and_answers_what_is_under_way_before_it_stops(tmp_path):
    config = tmp_path / "serve.toml"
    config.write_text('policy = "default"\n[limits]\nheader_s = 0.5\nbody_s = 1.0\n', "utf-8")
    server = LiveServer(config=config)
    try:
        assert server.serving["policy"].startswith("default@")
        assert "violence/graphic" in server.serving["openai_always_0"]
        assert "SEVERE_TOXICITY" in server.serving["perspective_refused"]
        _check_idle_connection_is_closed(server)
        _check_slow_body(server)
        config.write_text('policy = "strict"\n', "utf-8")
        server.process.send_signal(signal.SIGHUP)
        assert server.wait_for("reloaded")["policy"].startswith("strict@")
        assert post(server, "/v1/score", {"items": [{"text": "hello"}]})[1]["policy"].startswith("strict@")
        config.write_text('policy = "absent"\n', "utf-8")
        server.process.send_signal(signal.SIGHUP)
        assert "absent" in server.wait_for("not reloaded")["error"]
        _check_drain(server)
    finally:
        status = server.stop()
    assert status == 0


def _check_idle_connection_is_closed(server):
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(5)
        connection.sendall(b"POST /v1/score HT")
        begin = time.monotonic()
        assert connection.recv(100) == b""
        assert time.monotonic() - begin < 3
    # The same after an answer, and of line ends before a request that never comes.
    for rest in (b"POST /v1/score HT", b"\r\n"):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.settimeout(5)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
            connection.sendall(rest)
            begin = time.monotonic()
            assert connection.recv(100) == b""
            assert time.monotonic() - begin < 3


def _check_slow_body(server):
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(5)
        connection.sendall(b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")


def _check_drain(server):
    """Hand it seconds of work, tell it to stop in the middle, and get every answer."""
    answers = []
    items = [{"text": f"sentence number {i} of a long request. " * 20} for i in range(300)]
    thread = threading.Thread(target=lambda: answers.append(post(server, "/v1/score", {"items": items})))
    thread.start()
    time.sleep(0.3)
    server.process.send_signal(signal.SIGTERM)
    thread.join(30)
    ((status, body),) = answers
    assert status == 200
    assert len(body["results"]) == 300
    assert _refuses_soon(server)


def _refuses_soon(server):
    """Tell whether nobody listens any more, now or within ten seconds."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
        except OSError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
def test_thousands_of_connections_that_say_nothing_do_not_keep_others_out():
    """As many as this process may open, 10,000 at most, are left open; requests are answered meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    n_idle = min(10_000, hard - 200)
    server, idle = LiveServer("limits.header_s=60"), []
    try:
        for number in range(n_idle):
            idle.append(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            if number % 2000 == 0:
                assert post(server, "/v1/score", {"items": [{"text": "hello"}]})[0] == 200
        assert post(server, "/v1/score", {"items": [{"text": "hello"}]})[0] == 200
    finally:
        for connection in idle:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert server.stop() == 0
    assert n_idle >= 1000


def test_a_port_that_is_taken_is_a_plain_error(live_server):
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "gooseguard", "serve", "--set", f"port={live_server.port}"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("error: ") == 1
    assert f"cannot listen on 127.0.0.1:{live_server.port}" in done.stderr


class Recording:
    """A transport that keeps each write."""

    def __init__(self):
        self.writes = []

    def write(self, data):
        self.writes.append(data)

    def close(self):
        self.writes.append("closed")

    def is_closing(self):
        return "closed" in self.writes


def test_a_head_is_written_with_its_body_and_never_waits_for_long():
    async def main():
        transport = Recording()
        joined = JoinedWrites(transport, asyncio.get_running_loop())
        joined.write(b"head ")
        joined.write(b"body")
        assert transport.writes == [b"head body"]
        # Of events the body may come much later.
        joined.write(b"head")
        assert len(transport.writes) == 1
        await asyncio.sleep(0)
        joined.write(b"event")
        await asyncio.sleep(0)
        assert transport.writes[1:] == [b"head", b"event"]
        joined.write(b"last")
        assert not joined.is_closing()
        joined.close()
        await asyncio.sleep(0)
        assert transport.writes[3:] == [b"last", "closed"]
        assert joined.is_closing()

    asyncio.run(main())


def _request(body, *headers):
    data = json.dumps(body).encode()
    lines = ["POST /v1/moderations HTTP/1.1", "host: x", f"content-length: {len(data)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n", data


def test_requests_one_after_the_other_on_a_connection(live_server):
    """Sent together, with a body that waits to be asked for, and the last of all: each gets its answer."""
    with socket.create_connection(("127.0.0.1", live_server.port), timeout=30) as connection:
        reader = connection.makefile("rb")

        def answer():
            status = reader.readline()
            if status.startswith(b"HTTP/1.1 100 "):
                assert reader.readline() == b"\r\n"
                return 100, None
            headers = {}
            while line := reader.readline().strip():
                name, _, value = line.partition(b": ")
                headers[name] = value
            return int(status.split()[1]), json.loads(reader.read(int(headers[b"content-length"])))

        (first, one), (second, two) = (_request({"input": [text] * n}) for text, n in (("a", 1), ("b", 2)))
        connection.sendall(first + one + second + two)
        assert [len(answer()[1]["results"]) for _ in range(2)] == [1, 2]
        head, body = _request({"input": "c"}, "expect: 100-continue", "connection: close")
        connection.sendall(head)
        assert answer() == (100, None)
        connection.sendall(body)
        assert answer()[0] == 200
        assert reader.read() == b""


def test_events_leave_as_they_come(live_server):
    request = urllib.request.Request(
        f"{live_server.url}/v1/stream",
        json.dumps({"pieces": ["you are ", "a moron"], "finish": True}).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        events = [line[7:].strip() for line in response if line.startswith(b"event: ")]
    assert events == [b"opened", b"scores", b"scores", b"finished"]
