"""The verb `data`: datasets, and what is made of them."""

from __future__ import annotations

import typer

from gooseguard.cli import data_instruct

HELP = "Make instruction pairs of datasets."


def register(app: typer.Typer) -> None:
    """Add the verb."""
    verbs = typer.Typer(help=HELP, no_args_is_help=True)
    app.add_typer(verbs, name="data")
    data_instruct.register(verbs)
