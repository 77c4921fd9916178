"""How much a caller may ask over time, each key on its own. The sizes of one request are in `bodies.py`.

Rates are token buckets: a key that has been quiet for a minute may spend a whole minute's worth at once, and
then as fast as the bucket refills. Nothing here knows an API's error bodies: a `Problem` says which limit it
was, and when to come again.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gooseguard.serving.problem import Kind, Problem, Quota

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gooseguard.serving.config import RateLimits
    from gooseguard.serving.hooks import Key

MINUTE_S = 60.0

MAX_KEYS = 10_000
"""Keys whose buckets are remembered; beyond, those that are full again are forgotten."""


@dataclass(frozen=True, slots=True)
class Remaining:
    """What a caller has left of one limit."""

    limit: int
    """A minute's worth."""
    remaining: int
    """What could be spent at once now."""
    reset_s: float
    """Seconds until a whole minute's worth could be spent at once."""


class Bucket:
    """A token bucket that holds and refills a minute's worth."""

    __slots__ = ("_at", "_left", "per_minute")

    def __init__(self, per_minute: int, now: float) -> None:
        """Begin full; `now` in seconds of any clock that only goes forward."""
        self.per_minute = per_minute
        self._left = float(per_minute)
        self._at = now

    def left(self, now: float) -> float:
        """Give what can be spent now."""
        self._left = min(self.per_minute, self._left + (now - self._at) * self.per_minute / MINUTE_S)
        self._at = now
        return self._left

    def wait_s(self, amount: int, now: float) -> float:
        """Give the seconds until `amount` can be spent; infinite if the bucket never holds so much."""
        if amount > self.per_minute:
            return math.inf
        return max(0.0, amount - self.left(now)) * MINUTE_S / self.per_minute

    def spend(self, amount: int, now: float) -> None:
        """Take `amount`, which must be there."""
        self._left = self.left(now) - amount


class RateLimiter:
    """Counts what each key asks, a `hooks.Limits`. Belongs to one thread; nothing in it waits."""

    def __init__(self, default: RateLimits, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the limits of keys without their own, and of all that a key's own leave open."""
        self._default = default.as_mapping()
        self._clock = clock
        self._buckets: dict[str, dict[str, Bucket]] = {}

    def admit(self, key: Key, n_items: int, n_bytes: int) -> Mapping[str, str]:
        """Take what a request costs from its key's buckets, or nothing. Gives `x-ratelimit-…` headers.

        Raises:
            Problem: RATE_LIMITED; `retry_after_s` says when it will do, and is `None` where it never will.
        """
        if not (self._default or key.limits or self._buckets):
            return {}
        now = self._clock()
        costs = {"requests_per_minute": 1, "items_per_minute": n_items, "bytes_per_minute": n_bytes}
        buckets = self._of(key, now)
        for name, bucket in buckets.items():
            wait_s = bucket.wait_s(costs[name], now)
            if wait_s > 0:
                raise _refusal(Quota(name, bucket.per_minute, key.id), costs[name], wait_s)
        for name, bucket in buckets.items():
            bucket.spend(costs[name], now)
        return headers(self.remaining(key))

    def remaining(self, key: Key) -> dict[str, Remaining]:
        """Give what a key has left, by the names of the limits that it has."""
        now = self._clock()
        return {
            name: Remaining(bucket.per_minute, int(bucket.left(now)), bucket.wait_s(bucket.per_minute, now))
            for name, bucket in self._of(key, now).items()
        }

    def _of(self, key: Key, now: float) -> dict[str, Bucket]:
        wanted = {**self._default, **key.limits}
        buckets = self._buckets.get(key.id)
        if buckets is None:
            if len(self._buckets) >= MAX_KEYS:
                self._forget(now)
            buckets = self._buckets[key.id] = {}
        for name, per_minute in wanted.items():
            bucket = buckets.get(name)
            # Also where the operator changed the limit while the server runs.
            if bucket is None or bucket.per_minute != per_minute:
                buckets[name] = Bucket(int(per_minute), now)
        for name in buckets.keys() - wanted.keys():
            del buckets[name]
        return buckets

    def _forget(self, now: float) -> None:
        """Forget keys that new buckets would serve alike."""
        self._buckets = {
            key: buckets
            for key, buckets in self._buckets.items()
            if any(bucket.left(now) < bucket.per_minute for bucket in buckets.values())
        }


def _refusal(quota: Quota, asked: int, wait_s: float) -> Problem:
    what = f"rate limit {quota.limit}: asked for {asked}, allowed {quota.value} a minute"
    if math.isinf(wait_s):
        return Problem(Kind.RATE_LIMITED, f"{what}; send less at once", quota=quota)
    message = f"{what}; try again in {math.ceil(wait_s)} s"
    return Problem(Kind.RATE_LIMITED, message, retry_after_s=wait_s, quota=quota)


def headers(remaining: Mapping[str, Remaining]) -> dict[str, str]:
    """Give the headers that tell a caller what is left: OpenAI's names, which its users already read.

    `requests` are requests, `items` contents and `bytes` bodies: `x-ratelimit-limit-requests`,
    `x-ratelimit-remaining-requests`, `x-ratelimit-reset-requests` (such as "1.5s") and so on.
    """
    found = {}
    for name, left in remaining.items():
        what = name.removesuffix("_per_minute")
        found[f"x-ratelimit-limit-{what}"] = str(left.limit)
        found[f"x-ratelimit-remaining-{what}"] = str(left.remaining)
        found[f"x-ratelimit-reset-{what}"] = f"{left.reset_s:.3f}s"
    return found
