"""Packages that an extra brings, imported where they are used: missing, they are one clear error."""

from __future__ import annotations

import importlib
from typing import Any

from gooseguard.core.errors import ConfigError


def import_extra(module: str, wanted: str, extra: str = "train") -> Any:  # noqa: ANN401  (a module without types)
    """Import a module that the base install does not bring.

    Args:
        module: its name.
        wanted: what is in need of it, with the verb, such as "figures need".
        extra: of ours, which brings it.

    Raises:
        ConfigError: it, or what it imports, is not installed; says how to get it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{wanted} {error.name}, which is not installed; run: pip install 'gooseguard[{extra}]'"
        ) from None
