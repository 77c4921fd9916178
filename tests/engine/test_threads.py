import threading

import pytest

from gooseguard.engine.threads import run_jobs


@pytest.mark.parametrize("n_threads", [1, 3])
def test_keeps_order(n_threads):
    assert run_jobs(lambda x: x * x, range(20), n_threads) == [x * x for x in range(20)]
    assert run_jobs(lambda x: x, [], n_threads) == []


def test_works_side_by_side():
    barrier = threading.Barrier(2, timeout=10)
    # Passes only if both jobs wait at the same time.
    assert sorted(run_jobs(lambda _: barrier.wait(), range(2), 2)) == [0, 1]


def test_raises_what_a_job_raises():
    def fail(job):
        if job == 1:
            raise ValueError("job 1")

    for n_threads in (1, 2):
        with pytest.raises(ValueError, match="job 1"):
            run_jobs(fail, range(3), n_threads)
