"""Gooseguard: self-hosted content moderation on RWKV.

    import gooseguard

    scorer = gooseguard.load()
    (scores,) = scorer.score([gooseguard.Content.from_text("…")])
    verdict = gooseguard.decide(scores, gooseguard.load_policy("default"))

Names are looked up when they are first used, so that importing the package costs nothing and does nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gooseguard.backends import load
    from gooseguard.core.content import Content, Modality, Part
    from gooseguard.core.errors import GooseguardError
    from gooseguard.core.policy import Policy, Threshold, load_policy
    from gooseguard.core.scorer import ScoreError, Scorer, Scores, Span
    from gooseguard.core.verdict import Action, Verdict, decide

    __version__: str

__all__ = [
    "Action",
    "Content",
    "GooseguardError",
    "Modality",
    "Part",
    "Policy",
    "ScoreError",
    "Scorer",
    "Scores",
    "Span",
    "Threshold",
    "Verdict",
    "__version__",
    "decide",
    "load",
    "load_policy",
]

_HOMES = {
    "backends": ("load",),
    "core.content": ("Content", "Modality", "Part"),
    "core.errors": ("GooseguardError",),
    "core.policy": ("Policy", "Threshold", "load_policy"),
    "core.scorer": ("ScoreError", "Scorer", "Scores", "Span"),
    "core.verdict": ("Action", "Verdict", "decide"),
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (PEP 562: whatever the module has)
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("gooseguard")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"gooseguard.{home}"), name)
    raise AttributeError(f"module 'gooseguard' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
