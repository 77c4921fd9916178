"""Options that several verbs share: one name, one meaning, one help text."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Write JSON, one object a line.")]
"""Results for programs."""

Model = Annotated[str | None, typer.Option("--model", metavar="FILE", help="Engine file; else the starter.")]
"""Which model."""

Policy = Annotated[
    str, typer.Option("--policy", metavar="NAME|FILE", help="Packaged policy, or a TOML file.")
]
"""Which policy."""

Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Threads to use; else one a core.")]
"""How many threads."""
