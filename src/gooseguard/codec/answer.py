"""Flagged categories and a rationale to the text of an answer, and back: what the language head writes.

    Categories: insult, toxicity
    Rationale: calls the reader a moron.

The first line says `none` where nothing is flagged; the second may be missing. Reading is strict: an answer
of any other form is unparsable, and says why; nothing is guessed from it. The format is ours: the wording of
the answers of arXiv 2409.03939 was not published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gooseguard.core.taxonomy import load_taxonomy

if TYPE_CHECKING:
    from collections.abc import Collection

CATEGORIES, RATIONALE, NOTHING = "Categories:", "Rationale:", "none"
"""Words that the format is made of."""


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """What an answer says, or why it says nothing."""

    flagged: tuple[str, ...] | None
    """Categories in the taxonomy's order; empty: nothing is flagged; `None`: unparsable."""
    rationale: str | None = None
    """Why, in the model's words."""
    problem: str | None = None
    """Where unparsable, what is wrong; never repeats the answer."""


def write_answer(flagged: Collection[str], rationale: str | None = None) -> str:
    """Give the text of an answer.

    Args:
        flagged: names of categories; written in the taxonomy's order.
        rationale: one line, or nothing.
    """
    ordered = [name for name in load_taxonomy() if name in flagged]
    ordered += sorted(set(flagged) - set(ordered))
    first = f"{CATEGORIES} {', '.join(ordered) or NOTHING}"
    return first if rationale is None else f"{first}\n{RATIONALE} {' '.join(rationale.split())}"


def parse_answer(text: str, categories: Collection[str] | None = None) -> ParsedAnswer:
    """Read an answer.

    Args:
        text: what a model wrote.
        categories: those it may name; `None` for the whole taxonomy.

    Returns:
        What it says; where it is not exactly of the form, `flagged` is `None` and `problem` says why.
    """
    known = {name.lower(): name for name in (load_taxonomy() if categories is None else categories)}
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if not lines:
        return _unparsable("the answer is empty")
    if not lines[0].startswith(CATEGORIES):
        return _unparsable(f"the first line does not begin with {CATEGORIES!r}")
    names = [name.strip().lower() for name in lines[0].removeprefix(CATEGORIES).split(",")]
    rest = lines[1:]
    rationale = None
    if rest:
        if not rest[0].startswith(RATIONALE):
            return _unparsable(f"the second line does not begin with {RATIONALE!r}")
        rationale = " ".join([rest[0].removeprefix(RATIONALE).strip(), *rest[1:]]).strip() or None
    if names == [NOTHING]:
        return ParsedAnswer((), rationale)
    n_unknown = sum(name not in known for name in names)
    if n_unknown:
        return _unparsable(f"{n_unknown} of {len(names)} names are no category that was asked for")
    if len(set(names)) < len(names):
        return _unparsable("a category is named twice")
    return ParsedAnswer(tuple(known[name] for name in known if name in names), rationale)


def _unparsable(problem: str) -> ParsedAnswer:
    return ParsedAnswer(None, None, problem)
