"""The verb `data`: datasets, and what is made of them."""

from __future__ import annotations

import typer

from gooseguard.cli import data_audit, data_build, data_instruct

HELP = "Build datasets, say what is in them, make instruction pairs of them."


def register(app: typer.Typer) -> None:
    """Add the verb."""
    verbs = typer.Typer(help=HELP, no_args_is_help=True)
    app.add_typer(verbs, name="data")
    data_audit.register(verbs)
    data_build.register(verbs)
    data_instruct.register(verbs)
