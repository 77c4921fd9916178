"""What must not go wrong when things do: a killed server, a full disk, a lost database, 10,000 idlers.

Each starts `gooseguard serve` as a process of its own and puts it under load over the loopback.
"""

import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from serving_fakes import LiveServer

from gooseguard.serving.database import open_database
from gooseguard.serving.log_rows import Selection, read_rows

pytestmark = pytest.mark.slow

N_CALLERS = 8
CONTENTS = ("hello there", "you are a moron", "the weather is lovely today")


def post(url, body):
    """Give status, headers and JSON of an answer, whatever its status; `None` where none came."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, dict(answer.headers), json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), json.load(error)
    except (OSError, http.client.HTTPException):
        # The server was killed before or while it answered.
        return None


class Load:
    """Callers that ask for three contents each time, under ids of their own, until they are stopped."""

    def __init__(self, url, name="first"):
        self.url = url
        self.name = name
        self.answers = []
        self._is_stopped = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(N_CALLERS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._is_stopped.set()
        for thread in self._threads:
            thread.join(60)

    def _call(self, caller):
        number = 0
        while not self._is_stopped.is_set():
            item = f"{self.name}-{caller}-{number}"
            items = [{"id": item, "text": text} for text in CONTENTS]
            answer = post(f"{self.url}/v1/score", {"items": items})
            self.answers.append((item, answer))
            number += 1
            if answer is None:
                return

    def wait_for(self, count, status, timeout_s=60):
        deadline = time.monotonic() + timeout_s
        while self.count(status) < count:
            assert time.monotonic() < deadline, Counter(answer and answer[0] for _, answer in self.answers)
            time.sleep(0.02)

    def count(self, status):
        return sum(answer is not None and answer[0] == status for _, answer in list(self.answers))

    def items(self, status):
        return [item for item, answer in self.answers if answer is not None and answer[0] == status]


def logged(database):
    """Give how many rows the log has of each item."""
    engine = open_database(database)
    rows = Counter(row["item"] for row in read_rows(engine, "verdicts", Selection()))
    engine.dispose()
    return rows


def ready(url):
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def wait_until_ready(url):
    deadline = time.monotonic() + 30
    while ready(url) != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def start(monkeypatch):
    servers = []

    def make(database, *settings):
        monkeypatch.setenv("GOOSEGUARD_DATABASE", database)
        server = LiveServer("logging.requests=false", *settings)
        servers.append(server)
        # What it says must go somewhere, or it waits for its reader.
        threading.Thread(target=server.process.stderr.read, daemon=True).start()
        return server

    yield make
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
        server.stop()


def check_kept(load, database):
    """Check that what was answered is in the log, each content once."""
    answered, rows = load.items(200), logged(database)
    assert {item: rows[item] for item in answered} == dict.fromkeys(answered, len(CONTENTS))


def test_a_reload_under_load(monkeypatch, tmp_path):
    """Model and policies are loaded anew, again and again; each request is answered, once, by one of them."""
    database, config = str(tmp_path / "log.db"), tmp_path / "serve.toml"
    monkeypatch.setenv("GOOSEGUARD_DATABASE", database)
    config.write_text('policy = "default"\n', "utf-8")
    server = LiveServer("logging.requests=false", config=config)
    try:
        with Load(server.url) as load:
            load.wait_for(50, 200)
            for policy in ("strict", "default", "strict"):
                config.write_text(f'policy = "{policy}"\n', "utf-8")
                server.process.send_signal(signal.SIGHUP)
                assert server.wait_for("reloaded")["policy"].startswith(f"{policy}@")
                load.wait_for(load.count(200) + 50, 200)
    finally:
        assert server.stop() == 0
    assert {answer[0] for _, answer in load.answers} == {200}
    assert {answer[2]["policy"].partition("@")[0] for _, answer in load.answers} == {"default", "strict"}
    check_kept(load, database)


def test_kill_9_under_load(start, tmp_path):
    database = str(tmp_path / "log.db")
    server = start(database)
    with Load(server.url) as load:
        load.wait_for(200, 200)
        os.kill(server.process.pid, signal.SIGKILL)
    check_kept(load, database)
    # The same database serves on.
    again = start(database)
    with Load(again.url, "again") as more:
        more.wait_for(20, 200)
    check_kept(load, database)


def limit_file_size(process, n_bytes):
    """Let a process make no file larger: what a full disk is to it, without the rights to mount one."""
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))


def run_into_a_full_disk(server, database, free):
    with Load(server.url) as load:
        load.wait_for(50, 503)
        assert ready(server.url) == 503
    refused = [answer for _, answer in load.answers if answer[0] == 503]
    assert {headers["retry-after"] for _, headers, _ in refused} == {"5"}
    # No verdict in a refusal: nobody may act on what nobody can account for.
    assert not any("results" in body for _, _, body in refused)
    assert {answer[0] for _, answer in load.answers} == {200, 503}
    free()
    wait_until_ready(server.url)
    with Load(server.url, "more") as more:
        more.wait_for(20, 200)
    assert more.count(503) == 0
    check_kept(load, database)


def test_a_file_that_may_not_grow(start, tmp_path):
    database = str(tmp_path / "log.db")
    server = start(database)
    limit_file_size(server.process, 500_000)
    run_into_a_full_disk(server, database, lambda: limit_file_size(server.process, resource.RLIM_INFINITY))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    if os.getuid() != 0:
        pytest.skip("only root may mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk(start, small_disk):
    database = str(small_disk / "log.db")
    server = start(database)
    run_into_a_full_disk(
        server,
        database,
        lambda: subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True),
    )
    server.stop()


def test_a_database_that_goes_away_and_comes_back(start, postgres):
    database = postgres.new_database("away")
    server = start(database)
    with Load(server.url) as load:
        load.wait_for(50, 200)
        postgres.stop("immediate")
        load.wait_for(50, 503)
        assert ready(server.url) == 503
        postgres.start()
        wait_until_ready(server.url)
        load.wait_for(load.count(200) + 50, 200)
    assert {answer[0] for _, answer in load.answers} == {200, 503}
    check_kept(load, database)


N_IDLERS = 10_000


def resident_bytes(process):
    pages = Path(f"/proc/{process.pid}/statm").read_text("ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_connections_that_are_opened_and_left(start, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < N_IDLERS + 100:
        pytest.skip(f"this process may open {hard} files at most")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, N_IDLERS + 100), hard))
    server = start(str(tmp_path / "log.db"), "limits.header_s=20")
    body = {"items": [{"text": "hello"}]}
    assert post(f"{server.url}/v1/score", body)[0] == 200
    before = resident_bytes(server.process)
    idlers = []
    try:
        idlers += [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(N_IDLERS)]
        # Others are served meanwhile.
        for _ in range(20):
            assert post(f"{server.url}/v1/score", body)[0] == 200
        grown = resident_bytes(server.process) - before
        # Each has a transport and a parser of Python: some kilobytes, not some hundred.
        assert grown < N_IDLERS * 20_000
        # The server lets go of who says nothing.
        for idler in idlers:
            idler.settimeout(60)
            assert idler.recv(1) == b""
    finally:
        for idler in idlers:
            idler.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert post(f"{server.url}/v1/score", body)[0] == 200
