"""Workers that do not fight over cores: BLAS is held to one thread while any of them runs.

Several threads inside one matrix product wait for each other at every product; several workers, each with
its own unit, never wait.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

import numpy as np  # noqa: F401  its BLAS is loaded with it, and only a loaded one is found

# typed nowhere: threadpoolctl ships no annotations.
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Callable


class _Limit(Protocol):
    def restore_original_limits(self) -> None: ...


class _SingleThreadedBlas:
    """A context that many threads may be in at once: the first in sets the limit, the last out lifts it.

    BLAS keeps one limit for the whole process, so contexts that each restore what they found would leave it
    wrong. And threadpoolctl (3.8) lets only the thread that first set a limit change it, as long as that
    thread lives; the first in and the last out may be different ones, so each sends a short-lived thread.
    Where BLAS has one thread already, as a server may see to when it starts, none of that is spent.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_inside = 0
        self._controller: ThreadpoolController | None = None
        self._limit: _Limit | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._n_inside == 0:
                if self._controller is None:
                    self._controller = ThreadpoolController().select(user_api="blas")
                if any(library["num_threads"] != 1 for library in self._controller.info()):
                    _in_short_lived_thread(self._set)
            self._n_inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0 and self._limit is not None:
                _in_short_lived_thread(self._limit.restore_original_limits)
                self._limit = None

    def _set(self) -> None:
        if self._controller is not None:
            self._limit = self._controller.limit(limits=1)


def _in_short_lived_thread(action: Callable[[], None]) -> None:
    thread = threading.Thread(target=action, name="gooseguard-blas")
    thread.start()
    thread.join()


SINGLE_THREADED_BLAS = _SingleThreadedBlas()
"""Hold NumPy's matrix products to one thread each, in the whole process, until the block ends."""
