"""The verb `data build`: a recipe -> a dataset."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gooseguard.cli import options  # noqa: TC001  (typer reads the annotations)
from gooseguard.cli.display import open_counter
from gooseguard.cli.output import open_output
from gooseguard.core.config import read_config

if TYPE_CHECKING:
    from gooseguard.data.executor import Executor
    from gooseguard.data.recipe import DataRecipe

EPILOG = """[bold]Examples[/bold]

[cyan]gooseguard data build recipes/data-text.toml --set root=../data/text[/cyan]

[cyan]gooseguard data build recipes/data-paper.toml --output datasets/paper --workers 8[/cyan]

[cyan]gooseguard data build recipes/data-paper.toml --engine ray[/cyan]"""


class Engine(StrEnum):
    """Where a build runs."""

    LOCAL = "local"
    RAY = "ray"


_Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a value of the recipe."),
]
_Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Processes; else one a core.")]
_Engine = Annotated[
    Engine, typer.Option("--engine", help="local: processes of this machine; ray: a Ray cluster.")
]


def register(verbs: typer.Typer) -> None:
    """Add the verb to those of `data`."""
    verbs.command(
        "build",
        help="Build a dataset from a recipe; the same command resumes a build that was stopped.",
        epilog=EPILOG,
    )(build_verb)


def build_verb(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="TOML file.")],
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FOLDER", help="The dataset; else datasets/NAME.")
    ] = None,
    override: _Set = None,
    workers: _Workers = None,
    engine: _Engine = Engine.LOCAL,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away what an earlier build left, and begin again.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Build a dataset from a recipe, and say what came of it."""
    config = read_data_recipe(recipe, override or [])
    folder = output or Path("datasets") / config.name
    from gooseguard.data.pipeline import build_dataset  # noqa: PLC0415  (needs NumPy and pyarrow)
    from gooseguard.data.shards import read_dataset_manifest  # noqa: PLC0415

    folder.parent.mkdir(parents=True, exist_ok=True)
    with open_counter() as count:
        build_dataset(config, folder, choose_executor(engine, workers), count, restart=restart)
    facts = read_dataset_manifest(folder).facts
    rows = {split: counts["rows"] for split, counts in facts["counts"].items()}
    with open_output(None) as results:
        if json:
            results.write_json({"dataset": str(folder), "rows": rows, "dropped": facts["dropped"]})
        else:
            results.write("".join(f"{split}: {n:,} rows\n" for split, n in rows.items()))
            results.write(f"dataset: {folder}\n")


def read_data_recipe(path: Path, overrides: list[str]) -> DataRecipe:
    """Read a recipe; the paths that it names are relative to where the command runs, or to the recipe.

    Raises:
        ConfigError: the recipe is wrong, or pyarrow or NumPy is not installed.
    """
    from gooseguard.data.recipe import DataRecipe, resolve_paths  # noqa: PLC0415  (needs NumPy)

    return resolve_paths(read_config(DataRecipe, path, overrides), path.parent)


def choose_executor(engine: Engine, workers: int | None) -> Executor:
    """Give what runs the pieces of a build.

    Raises:
        ConfigError: Ray is not installed.
    """
    if engine is Engine.LOCAL:
        from gooseguard.data.executor import LocalExecutor  # noqa: PLC0415  (needs the extra "train")

        return LocalExecutor(workers)
    from gooseguard.batch.ray import RayExecutor  # noqa: PLC0415  (only this engine needs it)

    return RayExecutor(workers)
