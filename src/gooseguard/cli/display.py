"""Where a run stands, on stderr, while it goes on."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gooseguard.training.loop import Progress as Standing

LINE_EVERY_S = 30.0
"""Seconds between lines where stderr is no terminal."""


class Display:
    """Where training stands, on stderr: a bar in a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console, bar: Progress | None) -> None:
        self.console, self.bar, self.last_line = console, bar, 0.0
        self.task = bar.add_task("", total=None, facts="") if bar else None

    def say(self, phase: str) -> None:
        """Begin a phase."""
        if self.bar is not None and self.task is not None:
            self.bar.reset(self.task, total=None, description=phase, facts="")
        else:
            self.console.print(phase, highlight=False)

    def count(self, phase: str, done: int, total: int) -> None:
        """Say how far a phase is."""
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=done, total=total, description=phase, facts="")
        elif done == total:
            self.console.print(phase, highlight=False)

    def step(self, standing: Standing) -> None:
        """Say how far fitting is."""
        facts = f"loss {standing.loss:.4f}  {standing.tokens_per_s:,.0f} tokens/s"
        if standing.validation_loss is not None:
            facts += f"  validation {standing.validation_loss:.4f}"
        if self.bar is not None and self.task is not None:
            self.bar.update(
                self.task, completed=standing.step, total=standing.n_steps, description="fit", facts=facts
            )
            return
        if time.monotonic() - self.last_line > LINE_EVERY_S or standing.step == standing.n_steps:
            self.last_line = time.monotonic()
            left = f"{standing.seconds_left / 60:.0f} min left"
            self.console.print(f"fit {standing.step}/{standing.n_steps}  {facts}  {left}", highlight=False)


@contextmanager
def open_bar(*columns: ProgressColumn, is_kept: bool = True) -> Iterator[tuple[Console, Progress | None]]:
    """Give stderr, and a bar with a description and `columns` on it where that is a terminal.

    Args:
        columns: what stands right of the bar.
        is_kept: whether the bar is still there when the block has ended.
    """
    console = Console(file=sys.stderr, soft_wrap=True)
    if not console.is_terminal:
        yield console, None
        return
    begin = (TextColumn("{task.description}"), BarColumn())
    with Progress(*begin, *columns, console=console, transient=not is_kept) as bar:
        yield console, bar


@contextmanager
def open_display() -> Iterator[Display]:
    """Show where a run stands for the block."""
    columns = (
        TextColumn("{task.completed:.0f}/{task.total}"),
        TextColumn("{task.fields[facts]}"),
        TimeRemainingColumn(),
    )
    with open_bar(*columns) as (console, bar):
        yield Display(console, bar)


@contextmanager
def open_counter() -> Iterator[Callable[[str, int, int], None]]:
    """Show how far the steps of a build are: step, how much is done, of how much (0 if not known)."""
    with open_bar(TextColumn("{task.completed:,.0f}"), TimeElapsedColumn()) as (console, bar):
        if bar is None:
            yield _Lines(console).count
            return
        task = bar.add_task("", total=None)

        def count(step: str, done: int, total: int) -> None:
            bar.update(task, description=step, completed=done, total=total or None)

        yield count


class _Lines:
    """Writes a line when a step begins, and now and then while it goes on."""

    def __init__(self, console: Console) -> None:
        self.console, self.step, self.last_line = console, "", 0.0

    def count(self, step: str, done: int, total: int) -> None:
        """Say how far a step is."""
        now = time.monotonic()
        kind = step.partition(" (")[0]
        if kind != self.step or now - self.last_line > LINE_EVERY_S:
            self.step, self.last_line = kind, now
            of_total = f" of {total:,}" if total else ""
            self.console.print(f"{step}: {done:,}{of_total}" if done else step, highlight=False)
