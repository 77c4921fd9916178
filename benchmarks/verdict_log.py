"""What the verdict log costs: rows a second and milliseconds a request, by how sure it is. No model, no HTTP.

    python benchmarks/verdict_log.py [--database postgresql://…]

Callers hand over one row a request and wait for it, as the server does; the modes take turns, five rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import statistics
import tempfile
import time

from gooseguard.core.content import Content
from gooseguard.core.scorer import Scores
from gooseguard.core.taxonomy import load_taxonomy
from gooseguard.core.verdict import Action, Verdict
from gooseguard.serving.config import LogConfig
from gooseguard.serving.database import open_database
from gooseguard.serving.hooks import LogEntry
from gooseguard.serving.verdict_log import VerdictLog

SECONDS = 2.0
ROUNDS = 5
CALLERS = (1, 64)


def make_entry(number: int) -> LogEntry:
    """A row as the starter model gives it: nine scores."""
    scores = Scores(dict.fromkeys(list(load_taxonomy())[:9], 0.1234567890123), "starter-text@a4ac14baeca1")
    verdict = Verdict(Action.ALLOW, dict.fromkeys(scores.values, False), scores, "default@1")
    return LogEntry(
        request=f"req_{number:032x}",
        place=0,
        api="score",
        key="5f1c0a9be2d4",
        content=Content.from_text("a comment of the usual length, of some sixty characters or so"),
        outcome=verdict,
        model=scores.model,
        policy=verdict.policy,
    )


async def measure(url: str, n_callers: int, *, flush: bool) -> tuple[float, float]:
    """Give rows a second, and the median milliseconds that a caller waits."""
    log = VerdictLog(open_database(url, flush=flush), LogConfig(keep_days=0))
    log.start()
    waits = []
    end = time.perf_counter() + SECONDS

    async def call(caller: int) -> None:
        number = caller << 32
        while time.perf_counter() < end:
            begin = time.perf_counter()
            await log.append([make_entry(number)], is_alone=n_callers == 1)
            waits.append(time.perf_counter() - begin)
            number += 1

    await asyncio.gather(*map(call, range(n_callers)))
    await log.close()
    return len(waits) / SECONDS, statistics.median(waits) * 1000


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", help="PostgreSQL URL, measured beside SQLite")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        modes = {"SQLite, kill": (f"{folder}/a.db", False), "SQLite, power-cut": (f"{folder}/b.db", True)}
        if arguments.database:
            modes["PostgreSQL"] = (arguments.database, True)
        results: dict[tuple[str, int], list[tuple[float, float]]] = {}
        for _ in range(ROUNDS):
            for name, (url, flush) in modes.items():
                for n_callers in CALLERS:
                    found = asyncio.run(measure(url, n_callers, flush=flush))
                    results.setdefault((name, n_callers), []).append(found)
    print(f"{platform.machine()}, Python {platform.python_version()}, {ROUNDS} rounds of {SECONDS:.0f} s")
    print("| log | callers | rows/s, median (spread) | ms a row, median |")
    print("|---|---:|---:|---:|")
    for (name, n_callers), found in results.items():
        rates, waits = zip(*found, strict=True)
        spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
        rate, wait = statistics.median(rates), statistics.median(waits)
        print(f"| {name} | {n_callers} | {rate:,.0f} ({spread}) | {wait:.2f} |")


if __name__ == "__main__":
    main()
