"""Options that several verbs share: one name, one meaning, one help text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Write JSON, one object a line.")]
"""Results for programs."""

Model = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="FILE", help="Engine file, checkpoint, or official RWKV file; else the starter."
    ),
]
"""Which model."""

Policy = Annotated[
    str, typer.Option("--policy", metavar="NAME|FILE", help="Packaged policy, or a TOML file.")
]
"""Which policy."""

Recipe = Annotated[Path, typer.Argument(metavar="RECIPE", help="TOML file.")]
"""What to make."""

Override = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a value of the recipe.")
]
"""Changes of a recipe."""

RunFolder = Annotated[
    Path | None, typer.Option("--output", metavar="FOLDER", help="Folder of the run; else runs/NAME.")
]
"""Where a run writes."""

Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Threads to use; else one a core.")]
"""How many threads."""

Vocabulary = Annotated[
    Path | None,
    typer.Option(
        "--vocabulary", metavar="FILE", help="World vocabulary of an official model; else the rwkv package's."
    ),
]
"""Which vocabulary."""
