"""Open the database of a server's keys and log, for the verbs that work on it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gooseguard.cli.database_path import VARIABLE, find_database
from gooseguard.cli.serve import read_serve_config
from gooseguard.core.extras import needing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL|FILE",
        help=f"SQLite file or PostgreSQL URL; else {VARIABLE}, else that of --config, else the user's own.",
    ),
]
"""Where keys and log are."""

Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The server's TOML file, for its database.")
]
"""A server's configuration."""


@contextmanager
def opened(option: str | None, config: Path | None) -> Iterator[Engine]:
    """Open the database for one verb.

    Raises:
        ConfigError: the extra `serve` is not installed, or the URL or the configuration is wrong.
        StorageError: the database cannot be reached or written.
    """
    with needing("this verb needs", "serve"):
        from gooseguard.serving.database import open_database  # noqa: PLC0415
    configured = "" if config is None else read_serve_config(config).database
    engine = open_database(find_database(option, configured))
    try:
        yield engine
    finally:
        engine.dispose()
