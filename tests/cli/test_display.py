"""Where training stands: lines where stderr is no terminal, a bar where it is."""

import io

import pytest

pytest.importorskip("torch")

from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import TextColumn

from gooseguard.cli.display import Display
from gooseguard.training.loop import Progress


def standing(step, validation_loss=None):
    return Progress(step, 10, 0.123456, 5432.1, 90.0, validation_loss)


def test_lines_where_stderr_is_no_terminal():
    stream = io.StringIO()
    display = Display(Console(file=stream, width=200), None)
    display.say("tokenise")
    display.count("read", 1, 2)
    display.count("read", 2, 2)
    display.step(standing(1))
    # Within the half minute: only the last step is told.
    display.step(standing(2))
    display.step(standing(10, 0.25))
    assert stream.getvalue() == (
        "tokenise\n"
        "read\n"
        "fit 1/10  loss 0.1235  5,432 tokens/s  2 min left\n"
        "fit 10/10  loss 0.1235  5,432 tokens/s  validation 0.2500  2 min left\n"
    )


def test_a_bar_in_a_terminal():
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    bar = Bar(
        TextColumn("{task.description}|{task.completed:.0f}/{task.total}|{task.fields[facts]}"),
        console=console,
    )
    display = Display(console, bar)
    display.say("tokenise")
    (task,) = bar.tasks
    assert (task.description, task.total) == ("tokenise", None)
    display.count("read", 1, 2)
    assert (task.description, task.completed, task.total) == ("read", 1, 2)
    display.step(standing(3, 0.25))
    assert (task.description, task.completed, task.total) == ("fit", 3, 10)
    assert task.fields["facts"] == "loss 0.1235  5,432 tokens/s  validation 0.2500"
