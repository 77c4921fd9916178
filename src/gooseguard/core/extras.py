"""Packages that an extra brings, imported where they are used: missing, they are one clear error."""

from __future__ import annotations

import importlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gooseguard.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def needing(wanted: str, extra: str = "train") -> Iterator[None]:
    """Let a block import what the base install does not bring.

    Args:
        wanted: what is in need of it, with the verb, such as "figures need".
        extra: of ours, which brings it.

    Raises:
        ConfigError: something that the block imports is not installed; says how to get it.
    """
    try:
        yield
    except ImportError as error:
        raise ConfigError(
            f"{wanted} {error.name}, which is not installed; run: pip install 'gooseguard[{extra}]'"
        ) from None


def import_extra(module: str, wanted: str, extra: str = "train") -> Any:  # noqa: ANN401  (a module without types)
    """Import the module of that name; the rest, and what is raised, as `needing`."""
    with needing(wanted, extra):
        return importlib.import_module(module)
