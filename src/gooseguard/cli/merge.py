"""The verb `merge`: a base and an adapter to one checkpoint in the layout of the base."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads the annotations)
from typing import Annotated, Any

import typer

from gooseguard.cli import options  # noqa: TC001  (typer reads the annotations)
from gooseguard.cli.output import open_output
from gooseguard.core.extras import needing

HELP = (
    "Add what fine-tuning learnt to its base, and write the sum in the layout of the base: RWKV's or LLaVA's."
)

EPILOG = """[bold]Examples[/bold]

[cyan]gooseguard merge RWKV-x060-World-3B.pth runs/mod-rwkv/adapter -o mod-rwkv.pth[/cyan]

[cyan]gooseguard merge base.pth runs/mine/adapter --output mine.safetensors[/cyan]

[cyan]gooseguard merge llava-1.5-7b-hf/ runs/mod-llava/adapter -o my-llava/[/cyan]"""


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command("merge", help=HELP, epilog=EPILOG)
    def merge_verb(
        checkpoint: Annotated[
            Path,
            typer.Argument(
                metavar="CHECKPOINT",
                help="The base that the adapter was learnt on: a file, or LLaVA's folder.",
            ),
        ],
        adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="Folder that train wrote.")],
        output: Annotated[
            Path,
            typer.Option(
                "--output", "-o", metavar="FILE", help="Written: .pth or .safetensors; of LLaVA, a folder."
            ),
        ],
        json: options.Json = False,
    ) -> None:
        is_folder = (adapter / "adapter_config.json").is_file()
        done = (
            _merge_folder(checkpoint, adapter, output) if is_folder else _merge(checkpoint, adapter, output)
        )
        with open_output(None) as results:
            if json:
                results.write_json({"output": str(output)} | done)
            else:
                weights = f", weights {done['weights_sha256'][:12]}" if "weights_sha256" in done else ""
                results.write(f"{output}: {done['bytes']:,} bytes{weights}\n")


def _merge(checkpoint: Path, adapter: Path, output: Path) -> dict[str, Any]:
    with needing("merging needs", "train"):
        from gooseguard.models.merge import merge  # noqa: PLC0415  (needs torch)
    return {"weights_sha256": merge(checkpoint, adapter, output), "bytes": output.stat().st_size}


def _merge_folder(checkpoint: Path, adapter: Path, output: Path) -> dict[str, Any]:
    with needing("models that read images need", "vision"):
        from gooseguard.models.merge_llava import merge_llava  # noqa: PLC0415  (needs torch and transformers)
    merge_llava(checkpoint, adapter, output)
    return {"bytes": sum(path.stat().st_size for path in output.iterdir())}
