import threading

import pytest
from threadpoolctl import threadpool_info

from gooseguard.engine.blas import SINGLE_THREADED_BLAS
from gooseguard.engine.threads import run_jobs


def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


@pytest.mark.parametrize("n_threads", [1, 2])
def test_holds_blas_to_one_thread_and_lets_go(n_threads):
    before = blas_threads()
    assert before

    def look(_):
        with SINGLE_THREADED_BLAS:
            return blas_threads()

    for found in run_jobs(look, range(4), n_threads):
        assert found == [1] * len(before)
    assert blas_threads() == before


def test_overlapping_calls_leave_the_limit_as_it_was():
    before = blas_threads()
    first_is_in, second_is_in, first_is_out = threading.Event(), threading.Event(), threading.Event()
    found = {}

    def first():
        with SINGLE_THREADED_BLAS:
            first_is_in.set()
            assert second_is_in.wait(10)
        first_is_out.set()

    def second():
        with SINGLE_THREADED_BLAS:
            second_is_in.set()
            assert first_is_out.wait(10)
            found["while the second runs"] = blas_threads()

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert first_is_in.wait(10)
    threads[1].start()
    for thread in threads:
        thread.join(10)
    assert found == {"while the second runs": [1] * len(before)}
    assert blas_threads() == before
