"""How fast a run is: smoothed loss, tokens a second, and seconds a step."""

from __future__ import annotations

import math
import time

KEPT = 0.98
"""Share of the last value that a step keeps: an average over about 50 steps."""


class Pace:
    """Takes in one step after another."""

    def __init__(self, loss: float) -> None:
        """Begin with the loss of a resumed run, or NaN."""
        self.loss, self.rate, self.per_step, self._last = loss, math.nan, math.nan, time.monotonic()

    def tick(self, loss: float, n_tokens: int) -> None:
        """Take in a step of so many tokens that ends now."""
        now = time.monotonic()
        seconds, self._last = now - self._last, now
        self.loss = _smooth(self.loss, loss)
        self.rate = _smooth(self.rate, n_tokens / max(seconds, 1e-9))
        self.per_step = _smooth(self.per_step, seconds)


def _smooth(before: float, value: float) -> float:
    return value if math.isnan(before) else KEPT * before + (1 - KEPT) * value
