"""Whether the compiled extension is there, and if not, why.

What is in it has a Python twin that gives the same results, more slowly. `codec` and `engine` import
`gooseguard._native` where `problem()` is `None`.
"""

from __future__ import annotations

import importlib
from functools import cache

NAME = "gooseguard._native"
"""The extension."""


@cache
def problem() -> str | None:
    """Say why the extension cannot be used; `None` where it can."""
    try:
        importlib.import_module(NAME)
    except ModuleNotFoundError:
        return "not built: no C++ compiler was found when gooseguard was installed"
    except ImportError as error:
        return f"cannot be loaded: {error}"
    return None


def describe() -> str:
    """Give one line for people: what the extension was built with, or why there is none."""
    reason = problem()
    if reason is not None:
        return reason
    # Late, because it may not be there.
    from gooseguard import _native  # noqa: PLC0415

    return _native.describe_build()
