"""Starts of requests are evenly apart."""

import threading

import pytest

from gooseguard.chat.pace import Pace


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self):
        self.now, self.waits = 100.0, []

    def sleep(self, seconds):
        self.waits.append(seconds)
        self.now += seconds


def test_starts_are_evenly_apart_and_a_pause_is_not_made_up_for():
    clock = Clock()
    pace = Pace(120, clock.sleep, lambda: clock.now)
    for _ in range(3):
        pace.wait()
    # 120 a minute: one each half second, the first at once.
    assert clock.waits == pytest.approx([0.5, 0.5])
    clock.now += 60
    pace.wait()
    pace.wait()
    assert clock.waits == pytest.approx([0.5, 0.5, 0.5])


def test_no_bound_waits_for_nothing():
    clock = Clock()
    pace = Pace(0, clock.sleep, lambda: clock.now)
    for _ in range(100):
        pace.wait()
    assert clock.waits == []


def test_threads_share_one_pace():
    waits = []
    pace = Pace(60, waits.append, lambda: 0.0)
    threads = [threading.Thread(target=pace.wait) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Each its own start: 1 to 19 seconds away.
    assert sorted(waits) == [float(second) for second in range(1, 20)]
