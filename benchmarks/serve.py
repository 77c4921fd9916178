"""The server beside its own engine, in one run: throughput, latency, soak, sessions, memory.

Usage: python benchmarks/serve.py FILE.jsonl.gz [--texts 2000] [--seconds 20] [--soak-seconds 60]
                                  [--sessions 1000]

FILE has a JSON object with "text" a line. The server is a process of its own with its defaults (verdict log
included) and a temporary database; this process makes the load, on the same cores, over loopback. The engine
is measured before the server starts, on as many threads as the server has workers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from websockets.asyncio.client import connect

import gooseguard
from gooseguard.backends import count_processors
from gooseguard.core.content import Content

SHORT = "you are a moron, and everybody here knows it"
CONNECTIONS = 64


def read_texts(path: Path, n_texts: int) -> list[str]:
    """Take the first texts of a gzipped JSON Lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line, _ in zip(lines, range(n_texts), strict=False)]


def measure_engine(texts: list[str], seconds: float) -> tuple[float, float, int]:
    """Give texts a second on all processors, the median seconds of a short comment, and a state's bytes."""
    scorer = gooseguard.load()
    contents = [Content.from_text(text) for text in texts]
    scorer.score(contents[:64])
    begin, n_scored = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        scorer.score(contents)
        n_scored += len(contents)
    rate = n_scored / (time.perf_counter() - begin)
    alone = gooseguard.load(threads=1)
    times = []
    for _ in range(300):
        begin = time.perf_counter()
        alone.score([Content.from_text(SHORT)])
        times.append(time.perf_counter() - begin)
    state = alone.open()
    alone.append(state, "a text of some words ")
    return rate, statistics.median(times), len(alone.dump(state))


class Server:
    """`gooseguard serve` in a process of its own."""

    def __init__(self, *settings: str) -> None:
        """Start it and wait until it answers."""
        self._folder = tempfile.TemporaryDirectory(prefix="gooseguard-")
        environment = os.environ | {"GOOSEGUARD_DATABASE": f"{self._folder.name}/gooseguard.db"}
        command = [sys.executable, "-m", "gooseguard", "serve"]
        for setting in ("port=0", "logging.level=error", *settings):
            command += ["--set", setting]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if " serves http" in line:
                self.port = int(line.rpartition(":")[2])
                break
        else:
            raise SystemExit("error: the server did not start")

    def rss_kb(self) -> int:
        """Give its resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(60)
        self._folder.cleanup()


def encode(text: str) -> bytes:
    """Give a request as bytes."""
    body = json.dumps({"input": text}).encode()
    head = f"POST /v1/moderations HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Client:
    """One connection that asks one thing at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection."""
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, port: int) -> Client:
        """Open one."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: bytes) -> bool:
        """Give whether the answer was 200."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
        )
        await self._reader.readexactly(length)
        return head.startswith(b"HTTP/1.1 200 ")

    def close(self) -> None:
        """Close it."""
        self._writer.close()


async def closed_loop(port: int, requests: list[bytes], seconds: float, n_clients: int) -> tuple[float, int]:
    """Ask as fast as answers come; gives answers a second and errors."""
    counts = [0, 0]
    until = time.perf_counter() + seconds

    async def work(number: int) -> None:
        client = await Client.connect(port)
        place = number * 37
        while time.perf_counter() < until:
            counts[not await client.ask(requests[place % len(requests)])] += 1
            place += 1
        client.close()

    begin = time.perf_counter()
    await asyncio.gather(*(work(number) for number in range(n_clients)))
    return counts[0] / (time.perf_counter() - begin), counts[1]


async def open_loop(port: int, requests: list[bytes], rate: float, seconds: float) -> tuple[list[float], int]:
    """Ask at a fixed rate whatever the answers do; gives seconds from when each was due, and errors."""
    idle: asyncio.Queue[Client] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        idle.put_nowait(await Client.connect(port))
    times: list[float] = []
    errors = 0

    async def ask(due: float, request: bytes) -> None:
        nonlocal errors
        client = await idle.get()
        errors += not await client.ask(request)
        times.append(time.perf_counter() - due)
        idle.put_nowait(client)

    begin = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            due = begin + number / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            group.create_task(ask(due, requests[number % len(requests)]))
    for _ in range(CONNECTIONS):
        (await idle.get()).close()
    return times, errors


async def one_by_one(port: int, n_requests: int) -> float:
    """Give the median seconds of a short comment on an idle server."""
    client = await Client.connect(port)
    request, times = encode(SHORT), []
    for _ in range(n_requests):
        begin = time.perf_counter()
        assert await client.ask(request)
        times.append(time.perf_counter() - begin)
    client.close()
    return statistics.median(times[n_requests // 10 :])


async def open_sessions(port: int, n_sessions: int, stack: contextlib.AsyncExitStack) -> None:
    """Open sessions over a WebSocket each, and read a piece in each."""
    for _ in range(n_sessions):
        socket = await stack.enter_async_context(
            connect(f"ws://127.0.0.1:{port}/v1/stream", compression=None, open_timeout=60)
        )
        await socket.send('{"type": "open"}')
        await socket.recv()
        await socket.send('{"type": "append", "text": "a text of some words "}')
        assert '"scores"' in str(await socket.recv())


async def measure_sessions(n_sessions: int, state_bytes: int) -> None:
    """Print what open sessions take in memory, and what is left of it when they idle."""
    limits = ("in_memory", "max_open", "max_a_key")
    server = Server(*(f"sessions.{name}={n_sessions + 9}" for name in limits), "sessions.idle_s=20")
    async with contextlib.AsyncExitStack() as warm:
        await open_sessions(server.port, 8, warm)
    before = server.rss_kb()
    async with contextlib.AsyncExitStack() as stack:
        await open_sessions(server.port, n_sessions, stack)
        each = (server.rss_kb() - before) * 1024 / n_sessions
        most = 1.25 * state_bytes + 40960
        state_kb, most_kb = state_bytes / 1024, most / 1024
        print(
            f"{n_sessions} sessions: {each / 1024:.0f} KB each, target {most_kb:.0f} (state {state_kb:.0f})"
        )
        await asyncio.sleep(25)
        each = (server.rss_kb() - before) * 1024 / n_sessions
        print(f"  after 25 idle seconds, states on disk: {each / 1024:.0f} KB each")
    server.stop()


async def measure(texts: list[str], arguments: argparse.Namespace) -> None:
    """Measure the server and print."""
    engine_rate, engine_s, state_bytes = measure_engine(texts, arguments.seconds)
    threads = count_processors()
    print(f"engine: {engine_rate:.0f} texts/s on {threads} threads, short comment {engine_s * 1e3:.2f} ms")
    server = Server()
    await asyncio.sleep(2)
    print(f"idle server: {server.rss_kb() / 1000:.1f} MB")
    alone_s = await one_by_one(server.port, 300)
    print(
        f"short comment, idle: {alone_s * 1e3:.2f} ms, {(alone_s - engine_s) * 1e3:+.2f} ms over the engine"
    )
    requests = [encode(text) for text in texts]
    await closed_loop(server.port, requests, 2, CONNECTIONS)
    rate, errors = await closed_loop(server.port, requests, arguments.seconds, CONNECTIONS)
    share = rate / engine_rate
    print(f"{CONNECTIONS} connections: {rate:.0f} texts/s, {share:.0%} of the engine, {errors} errors")
    times, errors = await open_loop(server.port, requests, rate / 2, arguments.seconds)
    cuts = statistics.quantiles(times, n=100)
    p50, p99 = cuts[49], cuts[98]
    times_ms = f"p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms"
    print(f"half of that: {times_ms}, ratio {p99 / p50:.1f}, {errors} errors")
    if arguments.soak_seconds:
        await open_loop(server.port, requests, 0.8 * rate, 10)
        before = server.rss_kb()
        times, errors = await open_loop(server.port, requests, 0.8 * rate, arguments.soak_seconds)
        after = server.rss_kb()
        print(
            f"80 % for {arguments.soak_seconds:.0f} s: {len(times)} answers, {errors} errors, "
            f"memory {before / 1000:.1f} to {after / 1000:.1f} MB ({after / before - 1:+.1%})"
        )
    server.stop()
    if arguments.sessions:
        await measure_sessions(arguments.sessions, state_bytes)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--soak-seconds", type=float, default=60)
    parser.add_argument("--sessions", type=int, default=1000)
    arguments = parser.parse_args()
    texts = read_texts(arguments.file, arguments.texts)
    print(f"{len(texts)} texts of {sum(map(len, texts)) / len(texts):.0f} characters on average")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure(texts, arguments))


if __name__ == "__main__":
    main()
