"""Which database a server keeps its keys and its log in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "GOOSEGUARD_DATABASE"
"""Environment variable that names the database: a URL may hold a password, which belongs in no file."""

FILE_NAME = "gooseguard.db"


def find_database(option: str | None, configured: str, environment: Mapping[str, str] = os.environ) -> str:
    """Give the database's URL or path: the option's, else the environment's, the config's, the user's."""
    found = option or environment.get(VARIABLE) or configured
    if found:
        return found
    # systemd makes and names this folder for a unit with StateDirectory=.
    folder = environment.get("STATE_DIRECTORY", "").partition(":")[0]
    if folder:
        return str(Path(folder) / FILE_NAME)
    state = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return str(Path(state) / "gooseguard" / FILE_NAME)
