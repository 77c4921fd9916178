"""Worker threads: jobs to outcomes, in order. Knows no model."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


def run_jobs(work: Callable[[Job], Outcome], jobs: Iterable[Job], n_threads: int) -> list[Outcome]:
    """Give `work(job)` of each job, in order, at most `n_threads` at a time."""
    listed = list(jobs)
    if n_threads == 1 or len(listed) < 2:
        return [work(job) for job in listed]
    # Late, because a process that scores one text at a time never needs it.
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    with ThreadPoolExecutor(min(n_threads, len(listed)), thread_name_prefix="gooseguard") as executor:
        return list(executor.map(work, listed))
