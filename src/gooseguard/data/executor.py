"""Where the pieces of a build run: a function over many items, results in the order of the items.

A function that is handed to an executor is importable, takes one item, and gives what can be sent between
processes.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import TYPE_CHECKING, Any, Protocol

from gooseguard.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class Executor(Protocol):
    """Runs a function over items, somewhere."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Give the result of each item, in the order of the items."""
        ...


class SerialExecutor:
    """Runs everything in this process."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Give the result of each item, in the order of the items."""
        return map(function, items)


def _n_cores() -> int:
    # A container may be held to fewer cores than the machine has; macOS and Windows do not say.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _end_with_parent() -> None:
    """Let this worker end when the process that leads does, however that ends: the pool itself would wait."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_and_end, args=(parent.sentinel,), daemon=True).start()


def _wait_and_end(sentinel: int) -> None:
    connection.wait([sentinel])
    # At once: what is half written is never taken for whole, and a build that goes on must not meet it.
    os._exit(1)


class LocalExecutor:
    """Runs items in processes of this machine; takes items as they come, a few ahead of the results."""

    def __init__(self, n_workers: int | None = None) -> None:
        self.n_workers = n_workers or _n_cores()

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Give the result of each item, in the order of the items.

        Raises:
            DataError: a worker was killed, as happens when memory is short.
        """
        context = multiprocessing.get_context("forkserver")
        pool = ProcessPoolExecutor(self.n_workers, mp_context=context, initializer=_end_with_parent)
        waiting: deque[Any] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                # Bounded: what is read ahead lies on disk, what is done and not yet taken in memory.
                if len(waiting) > 2 * self.n_workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise DataError(
                "a worker process ended without a word, as when memory runs out; run again with fewer "
                "--workers: the build goes on where it was"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
