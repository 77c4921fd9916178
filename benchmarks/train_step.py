"""A training step with the chunked WKV against the token loop and against no recurrence at all, in one run.

Usage: python benchmarks/train_step.py [--versions x070 x060] [--shapes 6x256 12x768] [--tokens 128 512 2048]
[--batch-tokens 1024] [--threads 1 2] [--runs 5] [--loop-up-to 512] [--bfloat16] [--compile]
[--memory] [--json FILE] [--table]

For each version, shape (layers x width), length and number of threads, it runs forward, backward and AdamW of
the same model, vocabulary 8192, interleaved; float32, or with --bfloat16 matrices under autocast:

    chunks    what training uses: models/wkv.py, models/wkv6.py
    compiled  the same under torch.compile (--compile; needs a C++ compiler)
    loop      the recurrence token by token under autograd; once, and up to --loop-up-to tokens
    product   the recurrence replaced by an elementwise product of its inputs: the cost of all the rest

and prints tokens a second (medians of the runs by the clock), the ratio chunks / product by the clock, and
the same by processor time, which other programs on the machine disturb less. `--memory` prints instead the
peak memory of a step by length, each in a process of its own.

With `--json`, every line is added to FILE too, so that a long run can be cut into parts; with `--table` it
measures nothing and prints FILE as one table in Markdown, the last line of each kind.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gooseguard.codec.layout import RwkvConfig
from gooseguard.models.rwkv import Block, Rwkv

if TYPE_CHECKING:
    from collections.abc import Callable

    Recurrence = Callable[..., tuple[Tensor, Tensor]]

VOCABULARY = 8192
RATIOS = ("chunks / product", "compiled / product", "loop / product")


def product(*inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply all inputs but the state, so that a gradient still reaches each of them."""
    *factors, state = inputs
    y = factors[0]
    for factor in factors[1:]:
        y = y * factor
    return y, state


def loop7(
    r: Tensor, log_w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Run the definition of WKV-7, one token after another."""
    w, y = log_w.exp(), []
    for t in range(r.shape[1]):
        removed = state @ a[:, t, :, :, None]
        written = removed @ b[:, t, :, None] + v[:, t, :, :, None] @ k[:, t, :, None]
        state = state * w[:, t, :, None] + written
        y.append((state @ r[:, t, :, :, None]).squeeze(-1))
    return torch.stack(y, 1), state


def loop6(r: Tensor, log_w: Tensor, k: Tensor, v: Tensor, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Run the definition of WKV-6, one token after another."""
    w, y = log_w.exp(), []
    for t in range(r.shape[1]):
        bonus = (r[:, t] * u * k[:, t]).sum(-1, keepdim=True) * v[:, t]
        y.append((state @ r[:, t, :, :, None]).squeeze(-1) + bonus)
        state = state * w[:, t, :, None] + v[:, t, :, :, None] @ k[:, t, :, None]
    return torch.stack(y, 1), state


def make_model(version: str, shape: str) -> Rwkv:
    """Make a model of "LAYERSxWIDTH" in which every path carries weight."""
    n_layer, n_embd = (int(size) for size in shape.split("x"))
    model = Rwkv(RwkvConfig(n_layer, n_embd, VOCABULARY, version=version))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return model


def set_recurrence(model: Rwkv, recurrence: Recurrence) -> None:
    """Let every layer use `recurrence`."""
    for block in model.blocks:
        assert isinstance(block, Block)
        block.att.recurrence = recurrence


def step(
    model: Callable[..., tuple[Tensor, object]], tokens: Tensor, optimizer: torch.optim.Optimizer
) -> None:
    """Run forward, backward and the optimizer."""
    hidden, _ = model(tokens)
    hidden.square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def measure(given: argparse.Namespace, version: str, shape: str, n_token: int) -> None:
    """Print one line of the table."""
    model = make_model(version, shape)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    n_sequence = max(given.batch_tokens // n_token, 1)
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, VOCABULARY, (n_sequence, n_token), generator=generator)
    first = model.blocks[0]
    assert isinstance(first, Block)
    recurrences: dict[str, Recurrence] = {"chunks": first.att.recurrence, "product": product}
    runners: dict[str, Callable[..., tuple[Tensor, object]]] = {"chunks": model, "product": model}
    if given.compile:
        recurrences["compiled"] = first.att.recurrence
        runners["compiled"] = torch.compile(model)
    clock: dict[str, list[float]] = {name: [] for name in recurrences}
    processor: dict[str, list[float]] = {name: [] for name in recurrences}
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=given.bfloat16)
    for run in range(given.runs + 1):
        for name, recurrence in recurrences.items():
            set_recurrence(model, recurrence)
            begin = time.perf_counter(), time.process_time()
            step(autocast(runners[name]), tokens, optimizer)
            # The first round warms up.
            if run:
                clock[name].append(time.perf_counter() - begin[0])
                processor[name].append(time.process_time() - begin[1])
    if n_token <= given.loop_up_to:
        set_recurrence(model, loop7 if version == "x070" else loop6)
        begin = time.perf_counter(), time.process_time()
        step(autocast(model), tokens, optimizer)
        clock["loop"] = [time.perf_counter() - begin[0]]
        processor["loop"] = [time.process_time() - begin[1]]
    what = f"{version} L{shape.replace('x', ' D')}"
    print_line(f"{what} T={n_token} B={n_sequence}", tokens, clock, processor)
    if given.json is not None:
        kind = {
            "model": what,
            "dtype": "bf16" if given.bfloat16 else "f32",
            "T": n_token,
            "B": n_sequence,
            "threads": torch.get_num_threads(),
        }
        medians = {name: [statistics.median(table[name]) for table in (clock, processor)] for name in clock}
        with given.json.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"kind": kind, "runs": given.runs, "medians_s": medians}) + "\n")


def print_table(path: Path) -> None:
    """Print what `--json` gathered; ratios are by processor time, and by the clock in brackets."""
    rows = {json.dumps(row["kind"]): row for row in map(json.loads, path.read_text("utf-8").splitlines())}
    head = ["model", "dtype", "T", "B", "threads", "chunks, tokens/s", "product, tokens/s", *RATIOS]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows.values():
        kind, medians = row["kind"], row["medians_s"]
        words = [str(kind[name]) for name in ("model", "dtype", "T", "B", "threads")]
        words += [f"{kind['T'] * kind['B'] / medians[name][0]:,.0f}" for name in ("chunks", "product")]
        for name in ("chunks", "compiled", "loop"):
            ratios = [x / y for x, y in zip(medians.get(name, ()), medians["product"], strict=False)]
            words.append(f"{ratios[1]:.2f} ({ratios[0]:.2f})" if ratios else "")
        print(f"| {' | '.join(words)} |")


def print_line(
    what: str, tokens: Tensor, clock: dict[str, list[float]], processor: dict[str, list[float]]
) -> None:
    """Print tokens a second, with the range of the runs, and ratios."""
    parts = [f"{what}, {torch.get_num_threads()} threads:"]
    for name, times in clock.items():
        middle, slow, fast = (tokens.numel() / x for x in (statistics.median(times), max(times), min(times)))
        parts.append(f"{name} {middle:,.0f} tokens/s ({slow:,.0f} to {fast:,.0f});")
    for name in ("chunks", "compiled", "loop"):
        if name in clock:
            ratios = [
                statistics.median(table[name]) / statistics.median(table["product"])
                for table in (clock, processor)
            ]
            parts.append(f"{name} / product {ratios[0]:.2f} by the clock, {ratios[1]:.2f} processor time;")
    print(" ".join(parts).rstrip(";"), flush=True)


MEMORY = """
import sys, torch
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import train_step
def held(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
torch.set_num_threads(1)
model = train_step.make_model(sys.argv[2], sys.argv[3])
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
train_step.step(model, torch.zeros(1, 16, dtype=torch.long), optimizer)
before = held("VmRSS")
train_step.step(model, torch.zeros(1, int(sys.argv[4]), dtype=torch.long), optimizer)
print(held("VmHWM") - before)
"""


def measure_memory(version: str, shape: str, lengths: list[int]) -> None:
    """Print the peak memory of a step of one sequence by its length."""
    here = str(Path(__file__).parent)
    for n_token in lengths:
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, here, version, shape, str(n_token)],
            capture_output=True,
            text=True,
            check=True,
        )
        taken = int(done.stdout)
        print(
            f"{version} L{shape.replace('x', ' D')} T={n_token}: {taken / 1e6:,.0f} MB above the model, "
            f"{taken / n_token / 1e3:,.0f} KB a token",
            flush=True,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--versions", nargs="+", default=["x070", "x060"])
    parser.add_argument("--shapes", nargs="+", default=["6x256", "12x768"])
    parser.add_argument("--tokens", nargs="+", type=int, default=[128, 512, 2048])
    parser.add_argument("--batch-tokens", type=int, default=1024)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--loop-up-to", type=int, default=512)
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if given.table:
        print_table(given.json)
        return
    dtype = "bfloat16 under autocast" if given.bfloat16 else "float32"
    print(f"torch {torch.__version__}, {dtype}, {given.runs} runs", flush=True)
    for version in given.versions:
        for shape in given.shapes:
            if given.memory:
                measure_memory(version, shape, given.tokens)
                continue
            for n_token in given.tokens:
                for threads in given.threads:
                    torch.set_num_threads(threads)
                    measure(given, version, shape, n_token)


if __name__ == "__main__":
    main()
