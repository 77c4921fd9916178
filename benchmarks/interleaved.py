"""What the comparisons with peers share: runs taken in turns, and how many cores there really were."""

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

RUNS = 5
"""Runs of each side; medians are printed."""


def take_turns(
    sides: dict[str, Callable[[], object]],
    runs: int = RUNS,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Run each side once to warm up, then all of them in turns; give the seconds of each run by `clock`."""
    for work in sides.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, work in sides.items():
            begin = clock()
            work()
            seconds[name].append(clock() - begin)
    return seconds


def ratio(peer: list[float], ours: list[float]) -> str:
    """Give how many times faster we were: the median of the runs' ratios, and the extremes."""
    each = sorted(a / b for a, b in zip(peer, ours, strict=True))
    return f"{statistics.median(each):.2f} ({each[0]:.2f} to {each[-1]:.2f})"


def thread_scaling() -> float:
    """Give how many times the work of one thread two of them do: 2.0 where there are two free cores."""
    matrices = [np.ones((256, 256), np.float32) for _ in range(2)]

    def work(matrix: np.ndarray) -> None:
        for _ in range(300):
            # Not BLAS, which may have threads of its own; NumPy lets go of the interpreter's lock.
            np.multiply(matrix, matrix, out=matrix)

    def seconds(n_threads: int) -> float:
        with ThreadPoolExecutor(n_threads) as executor:
            begin = time.perf_counter()
            list(executor.map(work, matrices[:n_threads]))
            return time.perf_counter() - begin

    return statistics.median(2 * seconds(1) / seconds(2) for _ in range(9))
