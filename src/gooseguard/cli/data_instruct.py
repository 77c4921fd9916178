"""The verb `data instruct`: a dataset to instruction pairs, answered by its labels or by a teacher."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gooseguard.cli import options  # noqa: TC001  (typer reads the annotations)
from gooseguard.cli.display import LINE_EVERY_S, Display, open_display
from gooseguard.cli.output import Output, open_output
from gooseguard.core.config import read_config
from gooseguard.core.extras import needing

if TYPE_CHECKING:
    from collections.abc import Callable

    from gooseguard.chat.client import ChatClient
    from gooseguard.data.instruct import InstructConfig, Made
    from gooseguard.data.teacher import Estimate, TeacherConfig

HELP = """Make instruction pairs of a dataset: questions about its rows, answered by their labels and marked
words alone, or by a teacher, an OpenAI-compatible endpoint that is told the labels and asked why.

The endpoint's key is read from the environment variable GOOSEGUARD_TEACHER_KEY. What it would cost is said
before anything is asked. Each answer is checked, and kept beside the output: the same command resumes a run
that was stopped, and asks nothing twice."""

EPILOG = """[bold]Examples[/bold]

[cyan]gooseguard data instruct recipes/instruct.toml --set data=datasets/mine[/cyan]

[cyan]gooseguard data instruct recipes/instruct-teacher.toml --set data=datasets/mine --dry-run[/cyan]

[cyan]gooseguard data instruct recipes/instruct-teacher.toml --set teacher.budget=5 --output pairs[/cyan]"""

KEY_VARIABLE = "GOOSEGUARD_TEACHER_KEY"
"""Environment variable with the endpoint's key."""


def register(verbs: typer.Typer) -> None:
    """Add the verb to those of `data`."""
    verbs.command("instruct", help=HELP, epilog=EPILOG)(_instruct)


def _instruct(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="TOML file.")],
    override: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a value of the recipe."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FOLDER", help="Folder of the pairs; else instructions/NAME."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the teacher would cost, and ask nothing.")
    ] = False,
    json: options.Json = False,
) -> None:
    config = _read_recipe(recipe, override or [])
    folder = output or Path("instructions") / config.name
    if dry_run:
        show_estimate(config, folder, is_json=json)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = _run(config, folder)
    with open_output(None) as results:
        if json:
            results.write_json({"folder": str(folder), "facts": made.facts, "account": made.account})
        else:
            _write_summary(results, folder, made)


def _read_recipe(recipe: Path, overrides: list[str]) -> InstructConfig:
    with needing("instruct needs", "data"):
        from gooseguard.data.instruct import InstructConfig  # noqa: PLC0415  (needs NumPy)
    return read_config(InstructConfig, recipe, overrides)


def show_estimate(config: InstructConfig, folder: Path, *, is_json: bool) -> None:
    """Write what asking would take.

    Raises:
        ConfigError: there is no teacher.
    """
    from gooseguard.data.instruct import estimate_cost  # noqa: PLC0415  (as above)

    found = estimate_cost(config, Path(config.data), folder)
    with open_output(None) as results:
        if is_json:
            results.write_json(asdict(found))
        else:
            results.write(_estimate_line(found) + "\n")


def _run(config: InstructConfig, folder: Path) -> Made:
    from contextlib import ExitStack  # noqa: PLC0415  (only a run needs them)

    from gooseguard.data.instruct import estimate_cost, instruct  # noqa: PLC0415

    dataset = Path(config.data)
    with ExitStack() as stack:
        client = None
        display = stack.enter_context(open_display())
        if config.teacher is not None:
            display.say(_estimate_line(estimate_cost(config, dataset, folder)))
            client = stack.enter_context(open_client(config.teacher))
        return instruct(config, dataset, folder, client, _counter(display))


def _counter(display: Display) -> Callable[[str, int, int], None]:
    """Give what shows how far a run is: the bar of a terminal, or a line at each step and now and then."""
    step_of, last = "", 0.0

    def count(step: str, done: int, total: int) -> None:
        nonlocal step_of, last
        if display.bar is not None:
            display.count(step, done, total)
            return
        now = time.monotonic()
        if step != step_of or now - last > LINE_EVERY_S:
            step_of, last = step, now
            of = f" of at most {total:,}" if total else ""
            display.say(f"{step}: {done:,}{of}" if done else step)

    return count


def open_client(teacher: TeacherConfig) -> ChatClient:
    """Open a client of a teacher's endpoint, with the key of the environment."""
    from gooseguard.chat.client import ChatClient, Endpoint  # noqa: PLC0415  (only a teacher needs them)

    endpoint = Endpoint(
        teacher.url,
        teacher.model,
        timeout_s=teacher.timeout_s,
        parallel=teacher.parallel,
        retries=teacher.retries,
        longest_wait_s=teacher.longest_wait_s,
        prices=teacher.prices,
        requests_per_minute=teacher.requests_per_minute,
    )
    return ChatClient(endpoint, os.environ.get(KEY_VARIABLE, ""))


def _estimate_line(found: Estimate) -> str:
    line = (
        f"{found.questions:,} questions to ask, {found.kept:,} answered before; "
        f"about {found.about_tokens:,} tokens"
    )
    if found.most_cost:
        line += f", about {found.about_cost:,.2f}, at most {found.most_cost:,.2f}"
    return line


def _write_summary(results: Output, folder: Path, made: Made) -> None:
    facts: dict[str, Any] = made.facts
    results.write("".join(f"{split}: {n:,} pairs\n" for split, n in facts["pairs"].items()))
    for name in ("answered_by", "rejected", "dropped"):
        if facts[name]:
            found = ", ".join(f"{key} {n:,}" for key, n in facts[name].items())
            results.write(f"{name.replace('_', ' ')}: {found}\n")
    if made.account is not None:
        for name, account in made.account.items():
            results.write(
                f"{name.replace('_', ' ')}: {account['answers']:,} answers, {account['prompt_tokens']:,} + "
                f"{account['completion_tokens']:,} tokens, cost {account['cost']:,.4f}\n"
            )
    results.write(f"folder: {folder}\n")
