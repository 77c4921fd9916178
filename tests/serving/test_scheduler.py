"""Micro-batches: order, fairness, bounds, deadlines, failures, drain."""

import asyncio
import os
import sys
import threading
import time

import pytest

from gooseguard.core.content import Content
from gooseguard.core.errors import EngineError
from gooseguard.serving.config import SchedulerConfig
from gooseguard.serving.problem import Kind, Problem
from gooseguard.serving.scheduler import LEAST_BATCH, LEAST_COST, Scheduler, Timing


class Gate:
    """A scorer that waits until it is opened, and remembers what it was given."""

    name = "gate@1"

    def __init__(self, *, is_open=False):
        self.batches = []
        self.open = threading.Event()
        if is_open:
            self.open.set()

    def score(self, contents):
        assert self.open.wait(5)
        texts = [content.parts[0].text for content in contents]
        self.batches.append(texts)
        if "crash" in texts:
            raise KeyError("crash")
        if "short" in texts:
            return []
        return texts


def contents(*texts):
    return [Content.from_text(text) for text in texts]


def run(test, **config):
    """Run a test with a scheduler of one worker, for which nothing lies ready."""

    async def main():
        scheduler = Scheduler(SchedulerConfig(**config), 1, ahead=0)
        try:
            await test(scheduler)
        finally:
            await scheduler.close()
        assert (scheduler.n_items, scheduler.n_bytes) == (0, 0)

    asyncio.run(main())


def start(scheduler, scorer, texts, key="a"):
    return asyncio.ensure_future(scheduler.score(scorer, contents(*texts), key, Timing()))


async def _share_batches(scheduler):
    scorer = Gate()
    # 64 bytes is what a content counts at least, so four fit into 256.
    first = start(scheduler, scorer, ["0"])
    await asyncio.sleep(0.02)
    rest = [start(scheduler, scorer, [str(i), str(i) + "b"], key=str(i)) for i in range(1, 4)]
    await asyncio.sleep(0)
    scorer.open.set()
    assert await first == ["0"]
    assert [await task for task in rest] == [["1", "1b"], ["2", "2b"], ["3", "3b"]]
    assert scorer.batches == [["0"], ["1", "1b", "2", "2b"], ["3", "3b"]]


def test_contents_of_several_requests_share_a_batch_and_come_back_to_their_own():
    run(_share_batches, batch_bytes=4 * LEAST_COST)


def test_a_long_request_is_cut_and_comes_back_in_order():
    async def body(scheduler):
        scorer = Gate(is_open=True)
        texts = [str(i) for i in range(100)]
        timing = Timing()
        assert await scheduler.score(scorer, contents(*texts), "a", timing) == texts
        assert [len(batch) for batch in scorer.batches] == [3] * 33 + [1]
        assert timing.queue_s > 0
        assert timing.score_s > 0

    run(body, batch_bytes=3 * LEAST_COST)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux knows a thread's own priority")
def test_workers_give_way_to_the_event_loop():
    async def test(scheduler):
        def nice():
            return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

        assert await scheduler.call(nice, 1, "a") == min(19, nice() + 10)

    run(test)


def test_no_contents_are_scored_at_once():
    async def body(scheduler):
        assert await start(scheduler, Gate(), []) == []

    run(body)


def test_a_key_with_many_contents_delays_another_by_a_batch():
    async def body(scheduler):
        scorer = Gate()
        flood = start(scheduler, scorer, [f"flood {i}" for i in range(200)], key="flood")
        await asyncio.sleep(0.02)
        small = start(scheduler, scorer, ["small"], key="small")
        await asyncio.sleep(0)
        scorer.open.set()
        await small
        place = next(i for i, batch in enumerate(scorer.batches) if "small" in batch)
        # One batch was with the scorer already, one more may be the flood's turn.
        assert place <= 2
        assert len(await flood) == 200

    run(body, batch_bytes=4 * LEAST_COST)


def test_keys_get_equal_bytes_not_equal_contents():
    async def body(scheduler):
        scorer = Gate()
        blocker = start(scheduler, scorer, ["0"], key="z")
        await asyncio.sleep(0.02)
        long = start(scheduler, scorer, ["L" * 640] * 8, key="long")
        short = start(scheduler, scorer, ["s"] * 80, key="short")
        await asyncio.sleep(0)
        scorer.open.set()
        await asyncio.gather(blocker, long, short)
        order = [text[0] for batch in scorer.batches[1:] for text in batch]
        half = order[: order.index("L", order.index("L") + 3) + 1] if order.count("L") > 4 else order
        # By the time the fourth or fifth long one is taken, about as many bytes of short ones are: 10 each.
        assert abs(half.count("s") - 10 * half.count("L")) <= 20

    run(body, batch_bytes=640)


def test_a_full_queue_refuses_and_says_when_to_come_again():
    async def body(scheduler):
        scorer = Gate()
        running = start(scheduler, scorer, ["0"])
        await asyncio.sleep(0.02)
        waiting = start(scheduler, scorer, ["1", "2"])
        await asyncio.sleep(0)
        with pytest.raises(Problem) as caught:
            await scheduler.score(scorer, contents("3"), "a", Timing())
        assert caught.value.kind is Kind.OVERLOADED
        assert caught.value.kind.status == 429
        assert caught.value.retry_after_s >= 1
        # Another key has its share, however much the first one sent.
        other = start(scheduler, scorer, ["4"], key="b")
        await asyncio.sleep(0)
        # "0" is being scored.
        assert (scheduler.n_items, scheduler.n_bytes) == (3, 3 * LEAST_COST)
        scorer.open.set()
        assert await asyncio.gather(running, waiting, other) == [["0"], ["1", "2"], ["4"]]

    run(body, queue_items=2)


def test_a_request_larger_than_the_queue_is_taken_when_nothing_waits():
    async def body(scheduler):
        assert len(await start(scheduler, Gate(is_open=True), ["x"] * 10)) == 10

    run(body, queue_items=2)


def test_a_deadline_gives_up_and_what_nobody_waits_for_is_not_scored():
    async def body(scheduler):
        scorer = Gate()
        running = start(scheduler, scorer, ["0"])
        late = start(scheduler, scorer, ["1"])
        for task in (running, late):
            with pytest.raises(Problem) as caught:
                await task
            assert caught.value.kind is Kind.DEADLINE
        scorer.open.set()
        assert await start(scheduler, scorer, ["2"]) == ["2"]
        assert scorer.batches == [["0"], ["2"]]

    run(body, deadline_s=0.1, batch_bytes=1)


def test_a_cancelled_request_is_not_scored():
    async def body(scheduler):
        scorer = Gate()
        running = start(scheduler, scorer, ["0"])
        await asyncio.sleep(0.02)
        gone = start(scheduler, scorer, ["1"])
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        scorer.open.set()
        assert await running == ["0"]
        assert await start(scheduler, scorer, ["2"]) == ["2"]
        assert scorer.batches == [["0"], ["2"]]

    run(body)


def test_a_failure_fails_its_own_request_only():
    async def body(scheduler):
        scorer = Gate()
        blocker = start(scheduler, scorer, ["0"])
        await asyncio.sleep(0.02)
        tasks = [start(scheduler, scorer, [text]) for text in ("1", "crash", "2")]
        await asyncio.sleep(0)
        scorer.open.set()
        await blocker
        one, crash, two = await asyncio.gather(*tasks, return_exceptions=True)
        assert (one, two) == (["1"], ["2"])
        assert isinstance(crash, KeyError)

    run(body)


def test_a_scorer_that_gives_too_few_scores_is_broken():
    async def body(scheduler):
        with pytest.raises(EngineError, match="gave 0 scores for 1 contents"):
            await start(scheduler, Gate(is_open=True), ["short"])

    run(body)


def test_contents_of_two_scorers_are_never_in_one_batch():
    async def body(scheduler):
        old, new = Gate(), Gate()
        blocker = start(scheduler, old, ["0"])
        await asyncio.sleep(0.02)
        tasks = [start(scheduler, scorer, [text]) for scorer, text in ((old, "1"), (new, "2"), (old, "3"))]
        await asyncio.sleep(0)
        old.open.set()
        new.open.set()
        assert await asyncio.gather(blocker, *tasks) == [["0"], ["1"], ["2"], ["3"]]
        assert old.batches == [["0"], ["1"], ["3"]]
        assert new.batches == [["2"]]

    run(body)


def test_a_batch_lies_ready_for_a_worker_while_the_event_loop_is_busy():
    async def main():
        scheduler = Scheduler(SchedulerConfig(batch_bytes=1), 1)
        scorer = Gate()
        tasks = [start(scheduler, scorer, [text]) for text in ("0", "1", "2")]
        await asyncio.sleep(0.02)
        assert scheduler.n_items == 1
        scorer.open.set()
        # Nothing else of this loop runs meanwhile, whether the worker is done or not.
        end = time.monotonic() + 5
        while len(scorer.batches) < 2 and time.monotonic() < end:
            time.sleep(0.001)
        assert scorer.batches == [["0"], ["1"]]
        assert await asyncio.gather(*tasks) == [["0"], ["1"], ["2"]]
        await scheduler.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("n_bytes", "n_texts", "shares"),
    [(LEAST_BATCH // 2, 4, [2, 2]), (LEAST_BATCH, 8, [1, 1, 2, 4])],
)
def test_workers_share_what_waits_where_it_is_less_than_a_batch_each(n_bytes, n_texts, shares):
    async def main():
        scheduler = Scheduler(SchedulerConfig(batch_bytes=4 * LEAST_BATCH), 2, ahead=0)
        scorer = Gate()
        busy = [start(scheduler, scorer, [letter * LEAST_BATCH]) for letter in "yz"]
        await asyncio.sleep(0.02)
        rest = [start(scheduler, scorer, [letter * n_bytes]) for letter in "abcdefgh"[:n_texts]]
        await asyncio.sleep(0)
        scorer.open.set()
        await asyncio.gather(*busy, *rest)
        assert sorted(len(batch) for batch in scorer.batches if batch[0][0] not in "yz") == shares
        await scheduler.close()

    asyncio.run(main())


def test_a_call_takes_its_turn():
    async def body(scheduler):
        assert await scheduler.call(lambda: 7, 10, "a") == 7
        with pytest.raises(ZeroDivisionError):
            await scheduler.call(lambda: 1 // 0, 10, "a")

    run(body)


def test_closing_finishes_what_waits_and_takes_nothing_more():
    async def body(scheduler):
        scorer = Gate()
        tasks = [start(scheduler, scorer, [str(i)]) for i in range(20)]
        await asyncio.sleep(0.02)
        closing = asyncio.ensure_future(scheduler.close())
        await asyncio.sleep(0)
        with pytest.raises(Problem) as caught:
            await scheduler.score(scorer, contents("x"), "a", Timing())
        assert caught.value.kind is Kind.DRAINING
        scorer.open.set()
        await closing
        assert [task.result() for task in tasks] == [[str(i)] for i in range(20)]
        assert sorted(text for batch in scorer.batches for text in batch) == sorted(map(str, range(20)))

    run(body, batch_bytes=2 * LEAST_COST)
