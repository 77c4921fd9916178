"""The verb `merge`: a base checkpoint and an adapter to one checkpoint in the official layout."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads the annotations)
from typing import Annotated

import typer

from gooseguard.cli import options  # noqa: TC001  (typer reads the annotations)
from gooseguard.cli.output import open_output
from gooseguard.core.errors import ConfigError

HELP = "Add what fine-tuning learnt to its base, and write the sum in the official RWKV layout."

EPILOG = """[bold]Examples[/bold]

[cyan]gooseguard merge RWKV-x060-World-3B.pth runs/mod-rwkv/adapter -o mod-rwkv.pth[/cyan]

[cyan]gooseguard merge base.pth runs/mine/adapter --output mine.safetensors[/cyan]"""


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command("merge", help=HELP, epilog=EPILOG)
    def merge_verb(
        checkpoint: Annotated[
            Path, typer.Argument(metavar="CHECKPOINT", help="The base that the adapter was learnt on.")
        ],
        adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="Folder that train wrote.")],
        output: Annotated[
            Path, typer.Option("--output", "-o", metavar="FILE", help="Written: .pth or .safetensors.")
        ],
        json: options.Json = False,
    ) -> None:
        try:
            from gooseguard.models.merge import merge  # noqa: PLC0415  (needs torch: the extra "train")
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"merging needs {error.name}, which is not installed; run: pip install 'gooseguard[train]'"
            ) from None
        digest = merge(checkpoint, adapter, output)
        size = output.stat().st_size
        with open_output(None) as results:
            if json:
                results.write_json({"output": str(output), "weights_sha256": digest, "bytes": size})
            else:
                results.write(f"{output}: {size:,} bytes, weights {digest[:12]}\n")
