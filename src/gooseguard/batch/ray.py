"""The pieces of a build on a Ray cluster, through Ray Data: same function, same items, same order.

Items and results are small; the rows lie in the work folder, which every machine has to see under one path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gooseguard.core.extras import import_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

NUMBER, ITEM, RESULT = "number", "item", "result"
"""Columns of the table that Ray sees."""


class RayExecutor:
    """Runs items as tasks of Ray Data: on the cluster that `RAY_ADDRESS` names, else on this machine.

    Raises:
        ConfigError: Ray is not installed.
    """

    def __init__(self, n_workers: int | None = None) -> None:
        self.n_workers = n_workers
        # Not at import: the base install has no Ray, and Ray changes what is global when it is imported.
        self.ray = import_extra("ray", "--engine ray needs", "batch")
        self.data = import_extra("ray.data", "--engine ray needs", "batch")

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Give the result of each item, in the order of the items."""
        if not self.ray.is_initialized():
            self.ray.init(include_dashboard=False, log_to_driver=False, num_cpus=self.n_workers)
        context = self.data.DataContext.get_current()
        context.enable_progress_bars = False
        rows = [{NUMBER: number, ITEM: item} for number, item in enumerate(items)]
        if not rows:
            return
        # One block an item: each is seconds of work.
        dataset = self.data.from_items(rows, override_num_blocks=len(rows)).map(_Apply(function))
        # Blocks come as they are done.
        waiting: dict[int, Any] = {}
        following = 0
        for row in dataset.iter_rows():
            waiting[row[NUMBER]] = row[RESULT]
            while following in waiting:
                yield waiting.pop(following)
                following += 1


class _Apply:
    """Applies a function to the item of a row."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {NUMBER: row[NUMBER], RESULT: self.function(row[ITEM])}
