"""Smoothing, by hand."""

import math
import time

import pytest

from gooseguard.training.pace import Pace


def test_the_first_step_is_taken_as_it_is_and_later_ones_count_a_fiftieth():
    pace = Pace(math.nan)
    pace.tick(3.0, 10)
    assert pace.loss == 3.0
    pace.tick(1.0, 10)
    assert pace.loss == pytest.approx(0.98 * 3 + 0.02 * 1)


def test_a_resumed_run_goes_on_with_its_loss():
    pace = Pace(2.0)
    pace.tick(1.0, 10)
    assert pace.loss == pytest.approx(1.98)


def test_tokens_a_second_are_those_of_the_clock():
    pace = Pace(math.nan)
    begin = time.monotonic()
    time.sleep(0.05)
    pace.tick(1.0, 100)
    seconds = time.monotonic() - begin
    assert 0.05 <= pace.per_step <= seconds
    assert pace.rate == pytest.approx(100 / pace.per_step)
