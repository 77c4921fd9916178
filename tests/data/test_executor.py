"""Where pieces run: results in the order of the items, items taken as they are needed."""

import os
import signal

import pytest

from gooseguard.core.errors import DataError
from gooseguard.data.executor import LocalExecutor, SerialExecutor


def test_processes_give_what_one_process_gives():
    items = list(range(-20, 20))
    assert list(LocalExecutor(2).map(abs, items)) == list(SerialExecutor().map(abs, items))


def test_items_are_taken_a_few_ahead():
    taken = []

    def items():
        for item in range(100):
            taken.append(item)
            yield item

    results = LocalExecutor(2).map(abs, items())
    assert next(results) == 0
    assert len(taken) <= 6
    results.close()


def test_a_killed_worker_is_told():
    with pytest.raises(DataError, match="--workers"):
        list(LocalExecutor(1).map(_kill, [0]))


def _kill(_):
    os.kill(os.getpid(), signal.SIGKILL)
