"""Rows a second of `gooseguard score --json`, whole process, on real comments.

Usage: python benchmarks/score_rows.py FILE.jsonl.gz [--rows 1000] [--threads 1 2] [--runs 5]

Prints, for each thread count, the median over interleaved runs, start-up included, and a ratio.
Checks that every row comes back, in order.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def read_rows(path: Path, n_rows: int) -> list[dict[str, str]]:
    """Take the first rows with text from a gzipped JSON Lines file."""
    rows: list[dict[str, str]] = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            rows.append({"id": str(len(rows)), "text": json.loads(line)["text"]})
            if len(rows) == n_rows:
                break
    return rows


def run_once(path: Path, ids: list[str], threads: int) -> float:
    """Score a file in a process of its own; give the seconds it took."""
    command = [sys.executable, "-m", "gooseguard", "score", "--json", "--threads", str(threads)]
    begin = time.perf_counter()
    done = subprocess.run([*command, "--input", str(path)], capture_output=True, check=True)
    seconds = time.perf_counter() - begin
    answered = [json.loads(line)["id"] for line in done.stdout.splitlines()]
    if answered != ids:
        raise SystemExit("error: rows are missing or out of order")
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    rows = read_rows(arguments.file, arguments.rows)
    seconds: dict[int, list[float]] = {threads: [] for threads in arguments.threads}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        for _ in range(arguments.runs):
            for threads in arguments.threads:
                seconds[threads].append(run_once(path, [row["id"] for row in rows], threads))
    first = statistics.median(seconds[arguments.threads[0]])
    characters = sum(len(row["text"]) for row in rows) / len(rows)
    print(f"{len(rows)} rows of {characters:.0f} characters on average, {arguments.runs} runs")
    for threads, times in seconds.items():
        median = statistics.median(times)
        spread = f"{len(rows) / max(times):.0f} to {len(rows) / min(times):.0f}"
        print(f"{threads} threads: {len(rows) / median:.0f} rows/s ({spread}), x{first / median:.2f}")


if __name__ == "__main__":
    main()
