import threading

import pytest
from threadpoolctl import threadpool_info

from gooseguard.engine.threads import run_jobs


def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


@pytest.mark.parametrize("n_threads", [1, 3])
def test_keeps_order(n_threads):
    assert run_jobs(lambda x: x * x, range(20), n_threads) == [x * x for x in range(20)]
    assert run_jobs(lambda x: x, [], n_threads) == []


def test_works_side_by_side():
    barrier = threading.Barrier(2, timeout=10)
    # Passes only if both jobs wait at the same time.
    assert sorted(run_jobs(lambda _: barrier.wait(), range(2), 2)) == [0, 1]


@pytest.mark.parametrize("n_threads", [1, 2])
def test_holds_blas_to_one_thread_and_lets_go(n_threads):
    before = blas_threads()
    for found in run_jobs(lambda _: blas_threads(), range(4), n_threads):
        assert found == [1] * len(before)
    assert blas_threads() == before


def test_overlapping_calls_leave_the_limit_as_it_was():
    before = blas_threads()
    first_is_in, second_is_in, first_is_out = threading.Event(), threading.Event(), threading.Event()
    found = {}

    def first(_):
        first_is_in.set()
        assert second_is_in.wait(10)

    def second(_):
        second_is_in.set()
        assert first_is_out.wait(10)
        found["while the second runs"] = blas_threads()

    def call_first():
        run_jobs(first, [0], 1)
        first_is_out.set()

    threads = [threading.Thread(target=call_first), threading.Thread(target=lambda: run_jobs(second, [0], 1))]
    threads[0].start()
    assert first_is_in.wait(10)
    threads[1].start()
    for thread in threads:
        thread.join(10)
    assert found == {"while the second runs": [1] * len(before)}
    assert blas_threads() == before


def test_raises_what_a_job_raises():
    def fail(job):
        if job == 1:
            raise ValueError("job 1")

    for n_threads in (1, 2):
        with pytest.raises(ValueError, match="job 1"):
            run_jobs(fail, range(3), n_threads)
