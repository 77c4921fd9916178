"""Arrow, which only datasets need: an extra brings it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gooseguard.core.extras import import_extra

if TYPE_CHECKING:
    from types import ModuleType


def import_arrow(module: str = "pyarrow") -> ModuleType:
    """Import pyarrow, or a module of it.

    Raises:
        ConfigError: it is not installed.
    """
    arrow: ModuleType = import_extra(module, "datasets need", "data")
    return arrow
