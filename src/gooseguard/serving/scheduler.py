"""Contents of many connections to micro-batches for the engine: bounded, fair between keys, nothing lost.

A batch forms while those before it are being scored, and one lies ready; no content waits for company. Each
key has a queue of its own, and queues take turns by bytes (deficit round robin), so that a key with a million
texts delays another key's one by a batch or two, not by a million. Knows no HTTP and no policy.

Source: Shreedhar and Varghese, Efficient Fair Queuing using Deficit Round Robin (1995), section 3.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from gooseguard.core.errors import EngineError
from gooseguard.serving.problem import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gooseguard.core.content import Content
    from gooseguard.core.scorer import ScoreError, Scorer, Scores
    from gooseguard.serving.config import SchedulerConfig

Outcome = TypeVar("Outcome")

LEAST_BATCH = 1024
"""Bytes of a batch at least, where as many wait: below, to hand it over costs more than a worker at rest."""

LEAST_COST = 64
"""Bytes that a content counts at least: an empty one takes work too."""

MOST_OVER = 2.0
"""The queue never holds more than this many times its limit, however many keys there are."""

RATE_MEMORY = 0.1
"""Weight of the newest batch in the running estimate of bytes a second."""

AHEAD = 1
"""Batches that lie ready: a worker that is done goes on before the event loop has seen to its results."""

WORKER_NICE = 10
"""How much workers give way to the rest of the process, as `nice` counts: an answer passes the event loop
several times, for microseconds, and would wait each time for what takes milliseconds."""

DEADLINE_PARTS = 30
"""How many times in `deadline_s` it is looked for units whose deadline is past."""


@dataclass(slots=True, eq=False)
class _Unit:
    """A piece of one request that is scored in one go: contents, or one call."""

    future: asyncio.Future[Any]
    """Gets results, seconds in the queue and seconds in the engine; or an exception in place of results.
    Whoever waits may cancel it, and what is done is not scored."""
    cost: int
    """Bytes."""
    n_items: int
    """Contents."""
    queued_at: float
    """`time.perf_counter()` when it came."""
    scorer: Scorer | None = None
    """Who scores `contents`."""
    contents: Sequence[Content] = ()
    """What is scored."""
    call: Callable[[], Any] | None = None
    """What is called instead of scoring."""


@dataclass(slots=True, eq=False)
class _Queue:
    """What one key waits for."""

    units: deque[_Unit] = field(default_factory=deque)
    """In order of arrival."""
    cost: int = 0
    """Bytes of all of them."""
    n_items: int = 0
    """Contents of all of them."""
    deficit: int = 0
    """Bytes that the key may still take in this round."""


@dataclass(slots=True)
class Timing:
    """Where the time of one request went, in seconds."""

    queue_s: float = 0.0
    """Until the last of it was taken up."""
    score_s: float = 0.0
    """In the engine, its batches' other contents included."""


class Scheduler:
    """Gathers contents and hands them to scorers on worker threads. Lives in one event loop."""

    def __init__(self, config: SchedulerConfig, n_workers: int, *, ahead: int = AHEAD) -> None:
        """Take limits.

        Args:
            config: batch and queue sizes, deadline.
            n_workers: batches scored at once.
            ahead: batches that lie ready for whichever worker is done first.
        """
        self._config = config
        self._n_workers = n_workers
        self._queues: dict[str, _Queue] = {}
        self._batches: list[list[_Unit]] = []
        self._n_items = 0
        self._cost = 0
        self._bytes_a_second = 0.0
        self._is_closing = False
        self._wake = asyncio.Event()
        self._executor = ThreadPoolExecutor(n_workers, "gooseguard-score", _give_way)
        self._workers = [asyncio.ensure_future(self._work()) for _ in range(n_workers + ahead)]
        self._expirer = asyncio.ensure_future(self._expire())

    @property
    def n_items(self) -> int:
        """Contents that wait for a worker."""
        return self._n_items

    @property
    def n_bytes(self) -> int:
        """Bytes that wait for a worker."""
        return self._cost

    async def score(
        self, scorer: Scorer, contents: Sequence[Content], key: str, timing: Timing
    ) -> list[Scores | ScoreError]:
        """Score contents: same order, same length; all of one request or a problem.

        Raises:
            Problem: OVERLOADED, DRAINING or DEADLINE.
            EngineError: the scorer failed.
        """
        costs = [max(LEAST_COST, sum([len(part.data) for part in content.parts])) for content in contents]
        now = time.perf_counter()
        units = [
            _Unit(_future(), sum(costs[begin:end]), end - begin, now, scorer, contents[begin:end])
            for begin, end in self._cut(costs)
        ]
        results: list[Scores | ScoreError] = []
        for part in await self._finish(units, key, timing):
            results += part
        return results

    async def call(
        self, function: Callable[[], Outcome], cost: int, key: str, timing: Timing | None = None
    ) -> Outcome:
        """Call a function on a worker, in the turn of its key.

        Raises:
            Problem: OVERLOADED, DRAINING or DEADLINE; the function may still run after the latter.
        """
        unit = _Unit(_future(), max(LEAST_COST, cost), 1, time.perf_counter(), call=function)
        [outcome] = await self._finish([unit], key, timing or Timing())
        return outcome  # type: ignore[no-any-return]  # a queue holds units of every kind

    async def close(self) -> None:
        """Take nothing more, finish what waits, end the workers."""
        self._is_closing = True
        self._wake.set()
        await asyncio.gather(*self._workers)
        self._expirer.cancel()
        self._executor.shutdown()

    def stop_admitting(self) -> None:
        """Refuse from now on."""
        self._is_closing = True

    async def _finish(self, units: Sequence[_Unit], key: str, timing: Timing) -> list[Any]:
        """Queue units and wait for all."""
        self._admit(units, key)
        done = []
        try:
            for unit in units:
                results, queue_s, score_s = await unit.future
                timing.queue_s = max(timing.queue_s, queue_s)
                timing.score_s = max(timing.score_s, score_s)
                if isinstance(results, Exception):
                    raise results
                done.append(results)
        finally:
            # Where the wait ended early, nobody wants the rest.
            for unit in units:
                unit.future.cancel()
        return done

    async def _expire(self) -> None:
        """Give up what takes too long. To look at all now and then costs less than a timer for each."""
        while True:
            await asyncio.sleep(self._config.deadline_s / DEADLINE_PARTS)
            before = time.perf_counter() - self._config.deadline_s
            waiting = (unit for queue in self._queues.values() for unit in queue.units)
            running = (unit for batch in self._batches for unit in batch)
            for unit in [*waiting, *running]:
                if unit.queued_at <= before and not unit.future.done():
                    problem = Problem(
                        Kind.DEADLINE,
                        f"no scores within {self._config.deadline_s:g} s; "
                        "the server is too busy, send less at once",
                        retry_after_s=self._wait_s(),
                    )
                    unit.future.set_result((problem, self._config.deadline_s, 0.0))

    def _cut(self, costs: Sequence[int]) -> list[tuple[int, int]]:
        """Give runs [begin, end) of at most `batch_bytes`."""
        runs: list[tuple[int, int]] = []
        begin, total = 0, 0
        for place, cost in enumerate(costs):
            if place > begin and total + cost > self._config.batch_bytes:
                runs.append((begin, place))
                begin, total = place, 0
            total += cost
        return [*runs, (begin, len(costs))] if costs else []

    def _admit(self, units: Sequence[_Unit], key: str) -> None:
        if self._is_closing:
            raise Problem(Kind.DRAINING, "the server is stopping; send it again", retry_after_s=1)
        queue = self._queues.get(key) or _Queue()
        n_items, cost = sum(unit.n_items for unit in units), sum(unit.cost for unit in units)
        total = self._fraction(self._n_items + n_items, self._cost + cost)
        own = self._fraction(queue.n_items + n_items, queue.cost + cost)
        # A key within its share is let in even when others have filled the queue, and a request larger than
        # the whole queue when nothing else waits.
        share = 1 / (len(self._queues) + (key not in self._queues))
        if total > 1 and self._n_items and (own > share or total > MOST_OVER):
            raise Problem(
                Kind.OVERLOADED,
                f"{self._n_items} contents wait already; send it again after the time in retry-after",
                retry_after_s=self._wait_s(),
            )
        self._queues[key] = queue
        queue.units.extend(units)
        queue.cost += cost
        queue.n_items += n_items
        self._n_items += n_items
        self._cost += cost
        self._wake.set()

    def _fraction(self, n_items: int, cost: int) -> float:
        """Give how much of the queue that fills."""
        return max(n_items / self._config.queue_items, cost / self._config.queue_bytes)

    def _wait_s(self) -> float:
        """Estimate in how many seconds the queue is done."""
        return min(60.0, max(1.0, self._cost / self._bytes_a_second)) if self._bytes_a_second else 1.0

    async def _work(self) -> None:
        """Take batches until the scheduler closes and nothing waits."""
        while True:
            batch = self._take()
            if batch:
                await self._run(batch)
            elif self._is_closing:
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    def _take(self) -> list[_Unit]:
        """Take the next batch: units of one scorer, of `batch_bytes` together, keys by turns.

        Where less waits, no more than a worker's share of it: another is at rest, or soon will be.
        """
        batch: list[_Unit] = []
        room = min(self._config.batch_bytes, max(LEAST_BATCH, self._cost // self._n_workers))
        while self._queues:
            key, queue = next(iter(self._queues.items()))
            if queue.deficit <= 0:
                queue.deficit += self._config.batch_bytes
            while queue.units and queue.deficit > 0:
                unit = queue.units[0]
                if unit.future.done():
                    self._drop(queue)
                    continue
                if batch and (
                    unit.cost > room
                    or unit.call is not None
                    or batch[0].call is not None
                    or unit.scorer is not batch[0].scorer
                ):
                    # The key keeps its turn and what is left of its share.
                    return batch
                self._drop(queue)
                queue.deficit -= unit.cost
                room -= unit.cost
                batch.append(unit)
            del self._queues[key]
            if queue.units:
                # To the end of the round.
                self._queues[key] = queue
            if room <= 0:
                break
        return batch

    def _drop(self, queue: _Queue) -> None:
        unit = queue.units.popleft()
        queue.cost -= unit.cost
        queue.n_items -= unit.n_items
        self._n_items -= unit.n_items
        self._cost -= unit.cost

    async def _run(self, batch: list[_Unit]) -> None:
        """Score a batch; where a scorer fails, each unit alone, so that one request cannot fail another."""
        begin = time.perf_counter()
        loop = asyncio.get_running_loop()
        self._batches.append(batch)
        results = await loop.run_in_executor(self._executor, _score, batch)
        self._batches.remove(batch)
        seconds = time.perf_counter() - begin
        rate = sum(unit.cost for unit in batch) / max(seconds, 1e-6)
        known = self._bytes_a_second or rate
        self._bytes_a_second = known + RATE_MEMORY * (rate - known)
        for unit, result in zip(batch, results, strict=True):
            if not unit.future.done():
                unit.future.set_result((result, begin - unit.queued_at, seconds))


def _give_way() -> None:
    """Make this thread give way to the others; only Linux knows a thread's own priority."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        nice = os.getpriority(os.PRIO_PROCESS, thread) + WORKER_NICE
        os.setpriority(os.PRIO_PROCESS, thread, nice)


def _future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


def _score(batch: Sequence[_Unit]) -> list[Any]:
    """Run on a worker thread: give the results of each unit, or the exception that stands for them."""
    try:
        return _score_together(batch)
    except Exception as error:  # noqa: BLE001  (whatever a scorer raises must reach who waits for it)
        if len(batch) == 1:
            return [error]
    return [result for unit in batch for result in _score([unit])]


def _score_together(batch: Sequence[_Unit]) -> list[Any]:
    first = batch[0]
    if first.call is not None:
        return [first.call()]
    assert first.scorer is not None
    contents = [content for unit in batch for content in unit.contents]
    scored = first.scorer.score(contents)
    if len(scored) != len(contents):
        raise EngineError(
            f"{first.scorer.name} gave {len(scored)} scores for {len(contents)} contents; it is broken"
        )
    results, begin = [], 0
    for unit in batch:
        results.append(scored[begin : begin + unit.n_items])
        begin += unit.n_items
    return results
