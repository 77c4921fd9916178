"""The taxonomy: every category with a definition a person can apply, from packaged TOML."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Category:
    """One kind of harm."""

    name: str
    """Such as "hate/threatening"."""
    definition: str
    """What counts, in a sentence or two a person can apply."""
    includes: str
    """What is easily overlooked and counts."""
    excludes: str
    """What looks alike and does not count."""
    modalities: frozenset[str]
    """Modalities it applies to."""


@cache
def load_taxonomy() -> dict[str, Category]:
    """Read the packaged taxonomy: name to category, in its published order."""
    # Not by `importlib.resources`, which takes longer to import than the first text to score.
    text = (Path(__file__).parents[1] / "taxonomy" / "categories.toml").read_text("utf-8")
    return {
        name: Category(
            name, entry["definition"], entry["includes"], entry["excludes"], frozenset(entry["modalities"])
        )
        for name, entry in tomllib.loads(text)["categories"].items()
    }


def nearest(word: str, known: Iterable[str]) -> str:
    """Give "; did you mean 'x'?" for the known word closest to `word`, or nothing."""
    # Late, because without a mistake nobody needs it.
    import difflib  # noqa: PLC0415

    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {matches[0]!r}?" if matches else ""
