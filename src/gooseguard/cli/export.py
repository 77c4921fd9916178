"""The verb `export`: a checkpoint folder to one engine file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003  (typer reads the annotations)
from typing import Annotated, Protocol

import typer

from gooseguard.cli import options  # noqa: TC001  (typer reads the annotations)
from gooseguard.cli.output import open_output
from gooseguard.core.errors import ConfigError

HELP = "Write a checkpoint as one engine file, which is what score and serve read."

EPILOG = """[bold]Examples[/bold]

[cyan]gooseguard export runs/starter starter.safetensors[/cyan]

[cyan]gooseguard export runs/starter fast.safetensors --dtype int8[/cyan]"""


class Dtype(StrEnum):
    """How weights are stored."""

    F32 = "f32"
    BF16 = "bf16"
    INT8 = "int8"


class Export(Protocol):
    """What writes the engine file: `engine.export.export`, or a stand-in for it."""

    def __call__(self, checkpoint: Path, output: Path, dtype: str) -> object:
        """Write it beside, check it and rename it."""


def register(app: typer.Typer, export: Export) -> None:
    """Add the verb."""

    @app.command("export", help=HELP, epilog=EPILOG)
    def export_verb(
        checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Folder that train wrote.")],
        output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Engine file to write.")],
        dtype: Annotated[
            Dtype, typer.Option(help="f32 is exact, bf16 half as large, int8 a quarter and fastest.")
        ] = Dtype.F32,
        json: options.Json = False,
    ) -> None:
        if not checkpoint.is_dir():
            raise ConfigError(f"{checkpoint} is no folder; expected a checkpoint that train wrote")
        export(checkpoint, output, dtype.value)
        facts = {"output": str(output), "dtype": dtype.value, "bytes": output.stat().st_size}
        with open_output(None) as results:
            if json:
                results.write_json(facts)
            else:
                results.write(f"{output}: {facts['bytes']:,} bytes, {dtype.value}\n")
