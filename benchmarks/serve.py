"""The server beside its own engine, in one run: throughput, latency, soak, sessions, memory.

Usage: python benchmarks/serve.py FILE.jsonl.gz [--texts 2000] [--seconds 5] [--rounds 5] [--soak-seconds 0]
                                  [--sessions 1000] [--set KEY=VALUE]

FILE has a JSON object with "text" a line. The server is a process of its own with its defaults (verdict log
and a line a request included; its log goes to a file) and a temporary database; this process makes the load,
on the same cores, over loopback, and in the closed loop yields to it. The engine is measured in each round
before the server, in this process, on as many threads as the server has workers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
from websockets.asyncio.client import connect

import gooseguard
from gooseguard.backends import count_processors
from gooseguard.core.content import Content

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gooseguard.core.scorer import Scorer

SHORT = "you are a moron, and everybody here knows it"
CONNECTIONS = 64
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


def read_texts(path: Path, n_texts: int) -> list[str]:
    """Take the first texts of a gzipped JSON Lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line, _ in zip(lines, range(n_texts), strict=False)]


def measure_engine(scorer: Scorer, contents: list[Content], seconds: float) -> float:
    """Give texts a second."""
    begin, n_scored = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        scorer.score(contents)
        n_scored += len(contents)
    return n_scored / (time.perf_counter() - begin)


def measure_short() -> tuple[float, int]:
    """Give the median seconds of a short comment on one thread, and the bytes of a state."""
    scorer = gooseguard.load(threads=1)
    times = []
    for _ in range(300):
        begin = time.perf_counter()
        scorer.score([Content.from_text(SHORT)])
        times.append(time.perf_counter() - begin)
    state = scorer.open()
    scorer.append(state, "a text of some words ")
    return statistics.median(times), len(scorer.dump(state))


class Server:
    """`gooseguard serve` in a process of its own."""

    def __init__(self, *settings: str) -> None:
        """Start it and wait until it answers."""
        self._folder = tempfile.TemporaryDirectory(prefix="gooseguard-")
        environment = os.environ | {"GOOSEGUARD_DATABASE": f"{self._folder.name}/gooseguard.db"}
        command = [sys.executable, "-m", "gooseguard", "serve"]
        for setting in ("port=0", *settings):
            command += ["--set", setting]
        log = Path(self._folder.name, "log")
        with log.open("wb") as stream:
            self.process = subprocess.Popen(command, stderr=stream, env=environment)
        while not (found := re.search(r'"url":"http://[^"]*:(\d+)"', log.read_text("utf-8"))):
            if self.process.poll() is not None:
                raise SystemExit(f"error: the server did not start: {log.read_text('utf-8')}")
            time.sleep(0.05)
        self.port = int(found[1])

    def memory_kb(self, name: str = "VmRSS") -> int:
        """Give its resident memory, or a part of it."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith(name)))

    def processor_s(self) -> float:
        """Give the processor time it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

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


class Client(asyncio.Protocol):
    """One connection that asks one thing at a time, and takes little of the processors: they are shared."""

    _transport: asyncio.Transport
    _answer: asyncio.Future[bool] | None = None
    _received = b""

    @classmethod
    async def connect(cls, port: int) -> Client:
        """Open one."""
        _, client = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return client

    # Narrower than asyncio's: uvloop's transports are of a kind of their own.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep what is written to."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer; the last one ends `ask`."""
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        length = LENGTH.search(self._received, 0, end + 2)
        if length is None:
            raise SystemExit("error: an answer without a length")
        if len(self._received) >= end + 4 + int(length[1]) and self._answer is not None:
            is_good, self._received = self._received.startswith(b"HTTP/1.1 200 "), b""
            self._answer.set_result(is_good)

    def connection_lost(self, error: Exception | None) -> None:
        """Fail who waits: a lost connection is an error of the server."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the server closed the connection"))

    async def ask(self, request: bytes) -> bool:
        """Give whether the answer was 200."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Close it."""
        self._transport.close()


@contextlib.contextmanager
def yielding() -> Iterator[None]:
    """Make this thread one that does not push others off a core when it is woken, as Linux lets it be.

    A write wakes who waits for it, who may take the writer's core at once, and the server then stands still
    in the middle of its work. No client on another machine can do that.
    """
    is_linux = sys.platform == "linux"
    if is_linux:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        if is_linux:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


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
    with yielding():
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


async def measure_sessions(settings: list[str], n_sessions: int, state_bytes: int) -> None:
    """Print what open sessions take in memory, and what is left of it when they idle."""
    limits = ("in_memory", "max_open", "max_a_key")
    many = (f"sessions.{name}={n_sessions + 9}" for name in limits)
    server = Server(*settings, *many, "sessions.idle_s=20")
    async with contextlib.AsyncExitStack() as warm:
        await open_sessions(server.port, 8, warm)
    before = server.memory_kb()
    async with contextlib.AsyncExitStack() as stack:
        await open_sessions(server.port, n_sessions, stack)
        each = (server.memory_kb() - before) / n_sessions
        state_kb = state_bytes / 1024
        print(
            f"{n_sessions} sessions, all in memory: {each:.0f} KB each, "
            f"target {1.25 * state_kb + 40:.0f} (state {state_kb:.0f})"
        )
        await asyncio.sleep(30)
        each = (server.memory_kb() - before) / n_sessions
        print(f"  after 30 idle seconds, states on disk: {each:.0f} KB each")
    server.stop()


async def measure_load(server: Server, texts: list[str], arguments: argparse.Namespace) -> float:
    """Print throughput and latency beside the engine's, in rounds; gives the median texts a second."""
    scorer, contents = gooseguard.load(), [Content.from_text(text) for text in texts]
    requests = [encode(text) for text in texts]
    await closed_loop(server.port, requests, 2, CONNECTIONS)
    rates, shares, ratios = [], [], []
    for _ in range(arguments.rounds):
        engine_rate = measure_engine(scorer, contents, arguments.seconds)
        used_s, own_s = server.processor_s(), time.process_time()
        rate, n_errors = await closed_loop(server.port, requests, arguments.seconds, CONNECTIONS)
        n_answers = rate * arguments.seconds
        used_us = (server.processor_s() - used_s) / n_answers * 1e6
        own_us = (time.process_time() - own_s) / n_answers * 1e6
        times, n_late = await open_loop(server.port, requests, rate / 2, arguments.seconds)
        cuts = statistics.quantiles(times, n=100)
        rates.append(rate)
        shares.append(rate / engine_rate)
        ratios.append(cuts[98] / cuts[49])
        print(
            f"engine {engine_rate:.0f} texts/s; server {rate:.0f} ({shares[-1]:.0%}), {used_us:.0f} us of "
            f"processor a text and {own_us:.0f} of the load; at half of it p50 {cuts[49] * 1e3:.1f} ms, "
            f"p99 {cuts[98] * 1e3:.1f} ms, ratio {ratios[-1]:.1f}; {n_errors + n_late} errors"
        )
    print(
        f"medians: {statistics.median(shares):.0%} of the engine ({min(shares):.0%} to {max(shares):.0%}), "
        f"p99 / p50 {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
    )
    return statistics.median(rates)


async def soak(server: Server, requests: list[bytes], rate: float, seconds: float) -> None:
    """Print how memory goes at a steady load, a line every tenth of the time."""
    before = server.memory_kb()
    print(f"{rate:.0f} texts/s for {seconds:.0f} s, {before / 1000:.1f} MB before", flush=True)
    n_answers = n_errors = 0
    for part in range(1, 11):
        times, n_wrong = await open_loop(server.port, requests, rate, seconds / 10)
        n_answers += len(times)
        n_errors += n_wrong
        after = server.memory_kb()
        anonymous, file = server.memory_kb("RssAnon"), server.memory_kb("RssFile")
        print(
            f"  {part * 10} %: {n_answers} answers, {n_errors} errors, {after / 1000:.1f} MB "
            f"({after / before - 1:+.1%}; {anonymous / 1000:.1f} own, {file / 1000:.1f} of files)",
            flush=True,
        )


async def measure(texts: list[str], arguments: argparse.Namespace) -> None:
    """Measure the server and print."""
    short_s, state_bytes = measure_short()
    if arguments.rounds or arguments.soak_seconds:
        server = Server(*arguments.settings)
        await asyncio.sleep(2)
        print(f"idle server: {server.memory_kb() / 1000:.1f} MB")
        alone_s = await one_by_one(server.port, 300)
        print(
            f"short comment, idle: {alone_s * 1e3:.2f} ms, engine {short_s * 1e3:.2f} ms, "
            f"{(alone_s - short_s) * 1e3:+.2f} ms; {server.memory_kb() / 1000:.1f} MB after"
        )
        rate = await measure_load(server, texts, arguments) if arguments.rounds else 0.0
        if arguments.soak_seconds:
            rate = arguments.soak_rate or 0.8 * rate
            await soak(server, [encode(text) for text in texts], rate, arguments.soak_seconds)
        server.stop()
    if arguments.sessions:
        await measure_sessions(arguments.settings, arguments.sessions, state_bytes)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--soak-seconds", type=float, default=0)
    parser.add_argument("--soak-rate", type=float, default=0, help="texts a second; 0: 80 %% of the median")
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--set", dest="settings", action="append", default=[], help="as for gooseguard serve")
    arguments = parser.parse_args()
    texts = read_texts(arguments.file, arguments.texts)
    print(f"{len(texts)} texts of {sum(map(len, texts)) / len(texts):.0f} characters on average")
    print(f"{count_processors()} processors")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure(texts, arguments))


if __name__ == "__main__":
    main()
