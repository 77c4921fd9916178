"""The program `gooseguard`: puts the verbs together; every exception becomes one line and an exit status.

0    done
1    a check did not pass
2    wrong use or input
70   a bug in Gooseguard (EX_SOFTWARE of sysexits.h)
130  interrupted (128 + SIGINT)
141  nobody reads the results any more (128 + SIGPIPE)
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gooseguard.cli import (
    ask,
    bench,
    data,
    distill,
    evaluate,
    experiment,
    export,
    info,
    keys,
    log,
    merge,
    score,
    serve,
    train,
)
from gooseguard.cli.output import EXIT_BROKEN_PIPE, silence_stdout
from gooseguard.core.errors import GooseguardError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gooseguard.core.scorer import Scorer

PROGRAM = "gooseguard"

EXIT_USAGE = 2
"""Wrong use or input."""

EXIT_BUG = 70
"""An exception that nobody raised on purpose."""

EXIT_INTERRUPTED = 130
"""Ctrl-C."""

HELP = "Self-hosted content moderation: calibrated scores, your policy, ordinary CPUs."

EPILOG = """[bold]Start here[/bold]

[cyan]gooseguard score "you are a moron"[/cyan]

[cyan]gooseguard score --help[/cyan]"""


def load_scorer(model: str | None, *, threads: int | None, spans: bool, **options: Any) -> Scorer:  # noqa: ANN401  (as `backends.load` takes them)
    """Load a model through `backends.load`; `None` is the packaged starter.

    The environment's `GOOSEGUARD_ISA` holds the compiled engine to an instruction set.
    """
    # Only here, so that --help and --version need no NumPy.
    from gooseguard import backends  # noqa: PLC0415

    isa = os.environ.get("GOOSEGUARD_ISA") or None
    return backends.load(model, threads=threads, spans=spans, isa=isa, **options)


def write_engine_file(checkpoint: Path, output: Path, dtype: str) -> object:
    """Write an engine file through `engine.export.export`."""
    from gooseguard.engine.export import export as write  # noqa: PLC0415  (as above)

    return write(checkpoint, output, dtype)


def create_app(
    load: score.LoadScorer = load_scorer, export_checkpoint: export.Export = write_engine_file
) -> typer.Typer:
    """Put the verbs together.

    Args:
        load: makes the scorer; another one in tests.
        export_checkpoint: writes an engine file; another one in tests.
    """
    app = typer.Typer(
        name=PROGRAM,
        help=HELP,
        epilog=EPILOG,
        rich_markup_mode="rich",
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_options)
    score.register(app, load)
    ask.register(app)
    data.register(app)
    train.register(app)
    distill.register(app)
    merge.register(app)
    export.register(app, export_checkpoint)
    evaluate.register(app, load)
    bench.register(app, load)
    experiment.register(app)
    info.register(app, load)
    serve.register(app, load)
    keys.register(app)
    log.register(app)
    return app


def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; goes anywhere.")
    ] = False,
) -> None:
    if version:
        typer.echo(f"{PROGRAM} {metadata.version(PROGRAM)}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


def run() -> None:
    """Run the program on the command line of the process, and end the process."""
    warnings.showwarning = show_warning
    sys.exit(run_app(create_app(), sys.argv[1:]))


def run_app(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run one command line; gives the exit status, with a failure told in one line on stderr."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    is_debug = "--debug" in options
    arguments = [word for word in options if word != "--debug"] + list(arguments[len(options) :])
    try:
        status = typer.main.get_command(app).main(arguments, PROGRAM, standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except typer.TyperException as error:
        return _fail(_usage_message(error), EXIT_USAGE, is_debug=is_debug)
    except GooseguardError as error:
        return _fail(str(error), EXIT_USAGE, is_debug=is_debug)
    except Exception as error:  # noqa: BLE001  (the last resort: told, with its own exit status)
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} in {Path(where.filename).name}, line {where.lineno}"
        return _fail(
            f"internal error: {place}; this is a bug, run again with --debug and report it",
            EXIT_BUG,
            is_debug=is_debug,
        )
    return status if isinstance(status, int) else 0


def show_warning(message: Warning | str, *_where: object, **_more: object) -> None:
    """Tell a warning in one line on stderr; where in the source it arose is nothing to a user."""
    if sys.stderr is not None:
        print(f"warning: {message}", file=sys.stderr)


def _fail(message: str, status: int, *, is_debug: bool) -> int:
    if sys.stderr is not None:
        if is_debug:
            traceback.print_exc()
        print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status


def _usage_message(error: typer.TyperException) -> str:
    """Give what is wrong with the command line, the nearest option, and where to read on."""
    possible = getattr(error, "possibilities", None)
    message = (error.message if possible else error.format_message()).replace("Value error, ", "")
    hint = f"; did you mean {possible[0]!r}?" if possible else ""
    end = "" if (message + hint).endswith("?") else ";"
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else PROGRAM
    return f"{message[:1].lower()}{message[1:].rstrip('.')}{hint}{end} see {command} --help"
