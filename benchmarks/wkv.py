"""The recurrence of training: by chunks (`models/wkv.py`, `wkv6.py`) against token by token, both in torch.

Usage: python benchmarks/wkv.py [--version x070] [--sequences 8] [--tokens 512] [--heads 4] [--size 64]
[--threads 1] [--runs 5]

Prints tokens a second of forward and backward together, medians over interleaved runs with their spread, and
the ratio of the two, by the clock and by processor time, which other programs disturb less. Checks first that
they give the same outputs and gradients.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gooseguard.models.wkv import wkv7
from gooseguard.models.wkv6 import wkv6

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Recurrence = Callable[..., tuple[Tensor, Tensor]]

TOLERANCE = 1e-4
"""Largest difference allowed, relative to the largest value; float32."""


def by_token6(
    r: Tensor, log_w: Tensor, k: Tensor, v: Tensor, u: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Run the definition of RWKV-6, as `by_token` that of RWKV-7."""
    w, y = log_w.exp(), []
    for t in range(r.shape[1]):
        bonus = (r[:, t] * u * k[:, t]).sum(-1, keepdim=True) * v[:, t]
        y.append((state @ r[:, t, :, :, None]).squeeze(-1) + bonus)
        state = state * w[:, t, :, None] + v[:, t, :, :, None] @ k[:, t, :, None]
    return torch.stack(y, 1), state


def by_token(
    r: Tensor, log_w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Run the definition, one token after another; autograd keeps what the backward pass needs."""
    w, y = log_w.exp(), []
    for t in range(r.shape[1]):
        removed = state @ a[:, t, :, :, None]
        written = removed @ b[:, t, :, None] + v[:, t, :, :, None] @ k[:, t, :, None]
        state = state * w[:, t, :, None] + written
        y.append((state @ r[:, t, :, :, None]).squeeze(-1))
    return torch.stack(y, 1), state


def make_inputs(version: str, n_sequence: int, n_token: int, n_head: int, size: int) -> list[Tensor]:
    """Draw inputs as a model makes them, float32: removal keys of length 1, rates in (0, 1)."""
    generator = torch.Generator().manual_seed(0)
    shape = (n_sequence, n_token, n_head, size)
    r, k, v, kk = (torch.randn(shape, generator=generator) for _ in range(4))
    rate, decay = (torch.rand(shape, generator=generator) for _ in range(2))
    kk = torch.nn.functional.normalize(kk, dim=-1)
    state = torch.zeros(n_sequence, n_head, size, size)
    if version == "x060":
        bonus = torch.randn(n_head, size, generator=generator)
        return [x.requires_grad_() for x in (r, -torch.exp(6 * decay - 5), k, v, bonus, state)]
    return [x.requires_grad_() for x in (r, -0.6065 * decay, k, v, -kk, kk * rate, state)]


def run_once(recurrence: Recurrence, inputs: Sequence[Tensor]) -> tuple[float, float, list[Tensor]]:
    """Run forward and backward; give seconds by the clock and of the processor, outputs and gradients."""
    begin, begin_processor = time.perf_counter(), time.process_time()
    y, state = recurrence(*inputs)
    gradients = torch.autograd.grad(y.sum() + state.sum(), inputs)
    seconds = time.perf_counter() - begin, time.process_time() - begin_processor
    return *seconds, [y.detach(), state.detach(), *gradients]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", choices=["x060", "x070"], default="x070")
    for name, value in {
        "sequences": 8,
        "tokens": 512,
        "heads": 4,
        "size": 64,
        "threads": 1,
        "runs": 5,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    inputs = make_inputs(given.version, given.sequences, given.tokens, given.heads, given.size)
    pair = (wkv7, by_token) if given.version == "x070" else (wkv6, by_token6)
    recurrences: dict[str, Recurrence] = dict(zip(("by chunks", "by token"), pair, strict=True))
    # Warms up, too.
    found, expected = (run_once(recurrence, inputs)[2] for recurrence in recurrences.values())
    for one, other in zip(found, expected, strict=True):
        difference = ((one - other).abs().max() / other.abs().max()).item()
        if difference > TOLERANCE:
            raise SystemExit(f"error: they differ by {difference:.1e}, expected at most {TOLERANCE:.0e}")
    seconds: dict[str, list[float]] = {name: [] for name in recurrences}
    processor: dict[str, list[float]] = {name: [] for name in recurrences}
    for _ in range(given.runs):
        for name, recurrence in recurrences.items():
            clock, worked, _ = run_once(recurrence, inputs)
            seconds[name].append(clock)
            processor[name].append(worked)
    n_tokens = given.sequences * given.tokens
    print(
        f"{given.version}: {given.sequences} sequences of {given.tokens} tokens, "
        f"{given.heads} heads of {given.size}, float32, {given.threads} threads, "
        f"{given.runs} runs, torch {torch.__version__}"
    )
    for name, times in seconds.items():
        middle, slow, fast = (n_tokens / x for x in (statistics.median(times), max(times), min(times)))
        print(f"{name}: {middle:,.0f} tokens/s ({slow:,.0f} to {fast:,.0f})")
    by_clock, by_processor = (
        statistics.median(table["by token"]) / statistics.median(table["by chunks"])
        for table in (seconds, processor)
    )
    print(f"ratio: {by_clock:.1f} by the clock, {by_processor:.1f} of processor time")


if __name__ == "__main__":
    main()
