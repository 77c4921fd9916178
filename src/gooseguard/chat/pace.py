"""Starts of requests, evenly apart, however many threads send them. Knows nothing of HTTP."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Pace:
    """Lets so many requests a minute begin; safe to use from several threads."""

    def __init__(
        self,
        per_minute: float,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set the pace.

        Args:
            per_minute: most requests that begin in a minute; 0 sets no bound.
            sleep: waits so many seconds.
            clock: gives seconds.
        """
        self._gap_s = 60.0 / per_minute if per_minute else 0.0
        self._sleep, self._clock = sleep, clock
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Wait for the next start."""
        if not self._gap_s:
            return
        with self._lock:
            now = self._clock()
            start = max(self._next, now)
            self._next = start + self._gap_s
        if start > now:
            self._sleep(start - now)
