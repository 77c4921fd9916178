"""Where a run stands, on stderr, while it goes on."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Iterator

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
def open_display() -> Iterator[Display]:
    """Show where a run stands for the block."""
    console = Console(file=sys.stderr, soft_wrap=True)
    if not console.is_terminal:
        yield Display(console, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total}"),
        TextColumn("{task.fields[facts]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        yield Display(console, bar)
