"""The verb `serve`: a config and a model to a server that speaks OpenAI's, Perspective's and our own API."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path  # noqa: TC003  (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from gooseguard.core.config import read_config
from gooseguard.core.extras import needing

if TYPE_CHECKING:
    from gooseguard.core.scorer import Scorer
    from gooseguard.serving.config import ServeConfig
    from gooseguard.serving.hooks import Hooks

HELP = """Serve OpenAI's moderation API, Perspective's, and our own over HTTP.

Stops on SIGTERM or Ctrl-C once every request under way is answered; loads model and policies anew on
SIGHUP."""

EPILOG = """[bold]Examples[/bold]

[cyan]gooseguard serve[/cyan]

[cyan]gooseguard serve serve.toml --set port=9000[/cyan]

[cyan]curl localhost:8080/v1/moderations --json '{"input": "you moron"}'[/cyan]"""


class LoadScorer(Protocol):
    """What makes a scorer: `backends.load`, or a stand-in for it."""

    def __call__(self, model: str | None, *, threads: int | None, spans: bool) -> Scorer:
        """Load an engine file; `None` is the packaged starter model."""


def register(app: typer.Typer, load: LoadScorer) -> None:
    """Add the verb."""

    @app.command("serve", help=HELP, epilog=EPILOG)
    def serve_verb(
        config: Annotated[
            Path | None, typer.Argument(metavar="CONFIG", help="TOML file; without, the defaults.")
        ] = None,
        settings: Annotated[
            list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override an entry of CONFIG.")
        ] = None,
    ) -> None:
        _serve(config, tuple(settings or ()), load)


def _serve(path: Path | None, settings: tuple[str, ...], load: LoadScorer) -> None:
    # Before NumPy is loaded: each worker scores on one thread, and no thread of BLAS may wait for another.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with needing("serve needs", "serve"):
        from gooseguard.serving.process import run  # noqa: PLC0415
    from gooseguard import backends  # noqa: PLC0415
    from gooseguard.cli.database_path import find_database  # noqa: PLC0415
    from gooseguard.serving.logs import configure_logging  # noqa: PLC0415
    from gooseguard.serving.operation import make_hooks  # noqa: PLC0415

    def read() -> tuple[ServeConfig, Scorer]:
        config = read_serve_config(path, settings)
        # One worker of the scheduler scores one batch, on one thread.
        return config, load(config.model or None, threads=1, spans=False)

    def operate(config: ServeConfig) -> Hooks:
        configure_logging(config.logging, sys.stderr)
        return make_hooks(config, find_database(None, config.database))

    run(read, operate, backends.count_processors())


def read_serve_config(path: Path | None, settings: tuple[str, ...] = ()) -> ServeConfig:
    """Read the server's config, with paths in it taken from where the file is.

    Raises:
        ConfigError: no such file, or a wrong entry.
    """
    from gooseguard.serving.config import ServeConfig  # noqa: PLC0415

    config = read_config(ServeConfig, path, settings)
    if path is None:
        return config

    def beside(name: str) -> str:
        return str(path.parent / name) if name and (path.parent / name).exists() else name

    return replace(
        config,
        model=beside(config.model),
        policy=beside(config.policy),
        policies=tuple(beside(name) for name in config.policies),
    )
