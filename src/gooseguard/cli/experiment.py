"""The verb `experiment`: a recipe to a question's answer, as tables and figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gooseguard.cli import options  # noqa: TC001  (typer reads the annotations)
from gooseguard.cli.display import open_display
from gooseguard.cli.output import open_output
from gooseguard.core.config import read_config
from gooseguard.core.errors import ConfigError

if TYPE_CHECKING:
    from gooseguard.experiment.fusion import FusionExperiment

HELP = "Answer a question about models by an experiment: a recipe to tables and figures."

FUSION_HELP = """Compare early, late and asymmetric fusion of text and image on a controlled benchmark.

Items are drawn and written by code; modalities are complete, missing or corrupted. The same command goes on
where a run was stopped. Exit status: 0 done; 2 wrong use or input; 130 interrupted."""

EPILOG = """[bold]Examples[/bold]

[cyan]gooseguard experiment fusion recipes/fusion-experiment.toml[/cyan]

[cyan]gooseguard experiment fusion recipes/fusion-experiment.toml --output runs/mine[/cyan]

[cyan]gooseguard experiment fusion recipes/fusion-experiment.toml --set strengths=[][/cyan]

[cyan]gooseguard experiment fusion recipes/fusion-experiment.toml --json > results.json[/cyan]"""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    experiment = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode="rich")
    app.add_typer(experiment, name="experiment")

    @experiment.command("fusion", help=FUSION_HELP, epilog=EPILOG)
    def fusion_verb(
        recipe: options.Recipe,
        override: options.Override = None,
        output: options.RunFolder = None,
        json: options.Json = False,
    ) -> None:
        config = _read_fusion(recipe, override or [])
        # Late: an extra, and seconds of imports.
        from gooseguard.experiment.fusion import run_fusion  # noqa: PLC0415
        from gooseguard.experiment.fusion_report import (  # noqa: PLC0415
            tabulate,
            to_markdown,
            write_fusion_report,
        )

        folder = output or Path("runs") / config.name
        with open_display() as display:
            found = run_fusion(config, folder, display)
            display.say("count, draw figures")
            document = tabulate(found)
            made = write_fusion_report(found, document, folder / "report")
        with open_output(None) as results:
            if json:
                results.write_json({**document, "files": {name: str(path) for name, path in made.items()}})
            else:
                results.write(to_markdown(document))
                results.write(f"\nwritten to {folder / 'report'}\n")


def _read_fusion(recipe: Path, overrides: list[str]) -> FusionExperiment:
    try:
        from gooseguard.experiment.fusion import FusionExperiment  # noqa: PLC0415  (as above)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"experiment fusion needs {error.name}, which is not installed; "
            "run: pip install 'gooseguard[vision]'"
        ) from None
    return read_config(FusionExperiment, recipe, overrides)
