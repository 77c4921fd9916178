"""Memory and time of `gooseguard score` and `ask` over long inputs, each in a process of its own.

Usage: python benchmarks/long_text.py [--size 0.1B] [--version x070] [--tokens 1000 10000 100000]

Writes random weights of a published shape as an official .pth file, and texts of the given lengths in tokens
of the World vocabulary; prints the peak of resident memory of each process. The weights, mapped from the
file, are part of it. The policy acts on one category.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from gooseguard.codec.world import WorldTokenizer
from gooseguard.experiment.cost import make_text
from gooseguard.experiment.work import RandomModel
from gooseguard.models.official import write_official

POLICY = 'id = "one"\nversion = "1"\n[thresholds]\ninsult = {review = 0.5, block = 0.9}\n'


def run(command: list[str], output: Path) -> tuple[float, float]:
    """Run a command to its end; give seconds, and its peak resident memory in MB."""
    begin = time.perf_counter()
    with output.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"error: {' '.join(command[:4])} ended with {process.returncode}")
    # Of Linux, in KiB.
    return time.perf_counter() - begin, usage.ru_maxrss * 1024 / 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="0.1B")
    parser.add_argument("--version", default="x070")
    parser.add_argument("--tokens", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    tokenizer = WorldTokenizer.from_package()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = RandomModel(arguments.size, arguments.version).language_backbone()
        write_official(model, folder / "model.pth", torch.bfloat16)
        del model
        (folder / "one.toml").write_text(POLICY, "utf-8")
        print(f"random {arguments.version} {arguments.size}, bf16, {arguments.threads} threads")
        print("| tokens | score, peak MB | score, s | ask, peak MB | ask, s |\n|---|---|---|---|---|")
        for n_token in arguments.tokens:
            text = make_text(n_token, lambda text: len(tokenizer.encode(text)), np.random.default_rng(0))
            rows, output = folder / "rows.jsonl", folder / "out"
            rows.write_text(json.dumps({"text": text}) + "\n", "utf-8")
            start = [sys.executable, "-m", "gooseguard"]
            options = ["--model", f"{folder}/model.pth", "--threads", str(arguments.threads), "--json"]
            options += ["--input", str(rows)]
            score_s, score_mb = run([*start, "score", *options, "--policy", f"{folder}/one.toml"], output)
            words = ["--instruction", "Is it rude?", "--max-tokens", "8"]
            ask_s, ask_mb = run([*start, "ask", *options, *words], output)
            n_found = len(tokenizer.encode(text))
            print(
                f"| {n_found:,} | {score_mb:,.0f} | {score_s:.1f} | {ask_mb:,.0f} | {ask_s:.1f} |", flush=True
            )


if __name__ == "__main__":
    main()
