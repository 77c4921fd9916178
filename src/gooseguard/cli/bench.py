"""The verb `bench`: a model, or random weights of a known size, to what moderation costs on this machine."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from gooseguard.cli import options  # noqa: TC001  (typer reads the annotations)
from gooseguard.cli.output import open_output
from gooseguard.cli.render import to_text
from gooseguard.core.errors import ConfigError
from gooseguard.core.extras import needing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gooseguard.cli.score import LoadScorer
    from gooseguard.experiment.cost import Cell, Plan, Work

HELP = """Measure latency, throughput, memory, energy and cost of a model, by text length and batch.

Ctrl-C keeps what was measured. Exit status: 0 done; 2 wrong use or input; 130 interrupted."""

EPILOG = """[bold]Examples[/bold]

[cyan]gooseguard bench[/cyan]

[cyan]gooseguard bench mine.safetensors --price-per-hour 0.17 --figure cost.svg[/cyan]

[cyan]gooseguard bench --random 1.5B --lengths 16,256 --batches 1 --json[/cyan]

[cyan]gooseguard bench --random 0.4B --answer-tokens 32[/cyan]"""

EXIT_INTERRUPTED = 130
"""Ctrl-C."""


class Size(StrEnum):
    """Of random weights; the keys of `experiment.work.SHAPES`."""

    TINY = "0.1B"
    SMALL = "0.4B"
    MIDDLE = "1.5B"
    LARGE = "2.9B"


class Version(StrEnum):
    """Of random weights."""

    EAGLE = "x052"
    FINCH = "x060"
    GOOSE = "x070"


class Dtype(StrEnum):
    """Of random weights; the keys of `experiment.work.DTYPES`."""

    F32 = "f32"
    BF16 = "bf16"


_Model = Annotated[
    str | None,
    typer.Argument(metavar="MODEL", help="Engine file, checkpoint, or official RWKV file; else the starter."),
]
_Random = Annotated[
    Size | None, typer.Option("--random", help="Measure random weights of this size instead of MODEL.")
]
_Version = Annotated[Version, typer.Option("--version", help="Of --random.")]
_Dtype = Annotated[Dtype, typer.Option("--dtype", help="Of the matrices of --random.")]
_Answer = Annotated[
    int | None,
    typer.Option("--answer-tokens", min=1, help="Measure answers in words of this many tokens, not scores."),
]
_Lengths = Annotated[str, typer.Option("--lengths", metavar="N,N,…", help="Tokens of a text.")]
_Batches = Annotated[str, typer.Option("--batches", metavar="N,N,…", help="Texts handed over at once.")]
_Repeats = Annotated[int, typer.Option("--repeats", min=1, help="Most calls for one length and batch.")]
_Seconds = Annotated[
    float, typer.Option("--seconds", help="No further call for one length and batch after this.")
]
_Price = Annotated[float | None, typer.Option("--price-per-hour", help="Of this machine, in your currency.")]
_Figure = Annotated[Path | None, typer.Option("--figure", metavar="FILE", help="Draw it too: .png or .svg.")]
_Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the texts, and of random weights.")]


def register(app: typer.Typer, load: LoadScorer) -> None:
    """Add the verb."""

    @app.command("bench", help=HELP, epilog=EPILOG)
    def bench(  # noqa: PLR0913  (one parameter an option)
        model: _Model = None,
        random: _Random = None,
        version: _Version = Version.GOOSE,
        dtype: _Dtype = Dtype.BF16,
        answer_tokens: _Answer = None,
        lengths: _Lengths = "16,64,256,1024",
        batches: _Batches = "1,8",
        repeats: _Repeats = 20,
        seconds: _Seconds = 10.0,
        price: _Price = None,
        figure: _Figure = None,
        threads: options.Threads = None,
        vocabulary: options.Vocabulary = None,
        seed: _Seed = 0,
        json: options.Json = False,
    ) -> None:
        if model is not None and random is not None:
            raise ConfigError("bench: got both MODEL and --random; pass one of them")
        if figure is not None and figure.suffix.lower() not in (".png", ".svg"):
            raise ConfigError(f"--figure {figure}: expected a name that ends in .png or .svg")
        # Late, so that --help needs no NumPy.
        from gooseguard.experiment.cost import Plan  # noqa: PLC0415

        plan = Plan(
            _numbers("--lengths", lengths), _numbers("--batches", batches), repeats, seconds, price, seed
        )
        begin = time.perf_counter()
        if random is not None:
            work = _random_work(random, version, dtype, answer_tokens, seed, threads)
        else:
            work = _work(model, load, answer_tokens, threads, vocabulary)
        facts = _facts(work, plan, threads, time.perf_counter() - begin)
        cells, is_interrupted = _measure(work, plan)
        if figure is not None and cells:
            from gooseguard.experiment.cost_figure import draw_cost  # noqa: PLC0415

            lines = {
                f"batch {batch}": [cell for cell in cells if cell.batch == batch]
                for batch in sorted({cell.batch for cell in cells})
            }
            draw_cost(lines, figure, f"{facts['model']} on {facts['cpu']}")
        with open_output(None) as output:
            if json:
                output.write_json(facts | {"interrupted": is_interrupted, "cells": list(map(asdict, cells))})
            else:
                output.write(to_text(_page(facts, cells), is_terminal=output.is_terminal))
        if is_interrupted:
            raise typer.Exit(EXIT_INTERRUPTED)


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise ConfigError(
            f"{option} {text!r}: expected whole numbers with commas between, such as 16,64"
        ) from None


def _work(
    model: str | None,
    load: LoadScorer,
    answer_tokens: int | None,
    threads: int | None,
    vocabulary: Path | None,
) -> Work:
    given = {} if vocabulary is None else {"vocabulary": vocabulary}
    if answer_tokens is None:
        from gooseguard.experiment.cost import CountingScorer, ScoreWork  # noqa: PLC0415

        scorer = load(model, threads=threads, spans=False, **given)
        if not isinstance(scorer, CountingScorer):
            raise ConfigError(f"bench: {scorer.name} does not tell how many tokens a text is")
        return ScoreWork(scorer)
    if model is None:
        raise ConfigError(
            "--answer-tokens: the starter has no language head; pass an official MODEL, or --random"
        )
    from gooseguard import backends  # noqa: PLC0415

    language = backends.load_language(model, threads=threads, vocabulary=vocabulary)
    from gooseguard.experiment.work import AnswerWork  # noqa: PLC0415

    return AnswerWork(language, f"{language.name}, answers", answer_tokens)


def _random_work(
    size: Size, version: Version, dtype: Dtype, answer_tokens: int | None, seed: int, threads: int | None
) -> Work:
    with needing("--random needs"):
        import torch  # noqa: PLC0415  (an extra)
    from gooseguard import backends  # noqa: PLC0415
    from gooseguard.experiment.work import RandomModel  # noqa: PLC0415

    torch.set_num_threads(threads or backends.count_processors())
    print(f"drawing {size} random weights", file=sys.stderr)
    model = RandomModel(size.value, version.value, dtype.value, seed)
    return model.with_heads() if answer_tokens is None else model.with_language_head(answer_tokens)


def _facts(work: Work, plan: Plan, threads: int | None, load_s: float) -> dict[str, Any]:
    from gooseguard.experiment.machine import describe_cpu, read_memory  # noqa: PLC0415

    return {
        "model": work.name,
        "cpu": describe_cpu(),
        "threads": threads or len(os.sched_getaffinity(0)),
        "load_s": load_s,
        "loaded_memory_bytes": read_memory(),
        "price_per_hour": plan.price_per_hour,
    }


def _measure(work: Work, plan: Plan) -> tuple[list[Cell], bool]:
    """Measure all cells, or until Ctrl-C; tell whether that came."""
    from gooseguard.experiment.cost import measure  # noqa: PLC0415

    n_cell = len(set(plan.lengths)) * len(set(plan.batches))
    cells: list[Cell] = []

    def announce(length: int, batch: int) -> None:
        where = f"{len(cells) + 1}/{n_cell}"
        print(f"measuring {where}: {length} tokens, {batch} at once", file=sys.stderr, flush=True)

    try:
        cells.extend(measure(work, plan, announce))
    except KeyboardInterrupt:
        print("interrupted: what follows was measured before", file=sys.stderr)
        return cells, True
    return cells, False


def _page(facts: Mapping[str, Any], cells: Sequence[Cell]) -> Group:
    memory, price = facts["loaded_memory_bytes"], facts["price_per_hour"]
    loaded = "unknown memory" if memory is None else f"{memory / 1e6:,.0f} MB"
    has_energy = any(cell.joules_per_text is not None for cell in cells)
    lines = [
        Text(facts["model"], style="bold"),
        Text(f"{facts['cpu']}, {facts['threads']} threads; loaded in {facts['load_s']:.1f} s, {loaded}"),
        Text(f"energy: {'of all processors, idle share included' if has_energy else 'not reported'}"),
    ]
    columns: dict[str, Callable[[Cell], str]] = {
        "tokens": lambda cell: f"{cell.n_token:.0f}",
        "batch": lambda cell: str(cell.batch),
        "calls": lambda cell: str(cell.n_call),
        "p50 ms": lambda cell: f"{1000 * cell.p50_s:,.1f}",
        "p95 ms": lambda cell: f"{1000 * cell.p95_s:,.1f}",
        "p99 ms": lambda cell: f"{1000 * cell.p99_s:,.1f}",
        "texts/s": lambda cell: f"{cell.texts_per_s:,.2f}",
        "tokens/s": lambda cell: f"{cell.tokens_per_s:,.0f}",
        "MB": lambda cell: "?" if cell.memory_bytes is None else f"{cell.memory_bytes / 1e6:,.0f}",
    }
    if has_energy:
        columns["J a text"] = lambda cell: _number(cell.joules_per_text)
    if price is not None:
        columns["a million"] = lambda cell: _number(cell.cost_per_million)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for cell in cells:
        table.add_row(*(show(cell) for show in columns.values()))
    return Group(*lines, table)


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:,.3g}" if value < 100 else f"{value:,.0f}"
