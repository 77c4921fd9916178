"""Verdicts as people read them: a table for one text, a line for each of many. Knows no file and no model."""

from __future__ import annotations

import sys
import unicodedata
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

    from gooseguard.core.policy import Policy

BAR_WIDTH = 20
"""Cells of a full bar."""

ID_WIDTH = 16
"""Cells of an id in a line; a longer one is cut."""

MAX_NAMED = 3
"""Flagged categories named in a line."""

MAX_EXCERPT = 40
"""Code points of a span that are shown."""

_STYLES = {"allow": "green", "review": "yellow", "block": "red", "error": "magenta"}


def to_text(renderable: RenderableType, *, is_terminal: bool) -> str:
    """Render for standard output, coloured where it is a terminal."""
    console = Console(
        force_terminal=is_terminal, highlight=False, emoji=False, no_color=None if is_terminal else True
    )
    with console.capture() as capture:
        console.print(renderable, soft_wrap=not isinstance(renderable, Group))
    return capture.get()


def visible(text: str) -> str:
    """Give text with control, format and unprintable characters as `?`: a terminal would act on them."""
    return "".join("?" if unicodedata.category(character)[0] == "C" else character for character in text)


def verdict_table(verdict: Mapping[str, Any], policy: Policy, text: str) -> Group:
    """Show one verdict: the action, each category with its score and thresholds, spans, model and policy."""
    action = str(verdict["action"])
    headline = Text(action.upper(), style=f"bold {_STYLES[action]}")
    headline.append(f"  {_reason(verdict, policy)}", style="default not bold")
    parts: list[RenderableType] = [headline, _score_table(verdict["scores"], policy)]
    for span in verdict["spans"]:
        excerpt = visible(text[span["begin"] : span["end"]][:MAX_EXCERPT])
        where = f"{span['begin']}-{span['end']}"
        parts.append(Text(f"  {span['category']} {span['score']:.2f} at {where}: {excerpt}"))
    parts.append(Text(f"model {verdict['model']}, policy {verdict['policy']}", style="dim"))
    return Group(*parts)


def _reason(verdict: Mapping[str, Any], policy: Policy) -> str:
    flagged = _flagged(verdict["scores"], policy)
    if flagged:
        return "flagged: " + ", ".join(flagged)
    return "nothing is flagged" if verdict["action"] == "allow" else "a category of the policy has no score"


def _flagged(scores: Mapping[str, float | None], policy: Policy) -> list[str]:
    """Give the flagged categories, highest score first."""
    reached = {
        category: score
        for category, threshold in policy.thresholds.items()
        if (score := scores.get(category)) is not None and score >= threshold.review
    }
    return sorted(reached, key=lambda category: -reached[category])


def _score_table(scores: Mapping[str, float | None], policy: Policy) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("category", no_wrap=True)
    table.add_column("score", justify="right")
    table.add_column("", width=BAR_WIDTH)
    table.add_column("review", justify="right", style="dim")
    table.add_column("block", justify="right", style="dim")
    table.add_column("")
    for category, score in sorted(scores.items(), key=lambda entry: 1.0 if entry[1] is None else -entry[1]):
        threshold = policy.thresholds.get(category)
        outcome = ""
        if score is not None and threshold is not None:
            outcome = "block" if score >= threshold.block else "review" if score >= threshold.review else ""
        style = _STYLES[outcome] if outcome else ""
        table.add_row(
            Text(category, style=style),
            Text("none" if score is None else f"{score:.3f}", style=style),
            Text(_bar(score or 0.0), style=style),
            f"{threshold.review:.2f}" if threshold else "-",
            f"{threshold.block:.2f}" if threshold else "-",
            Text(outcome, style=style),
        )
    return table


def _bar(score: float) -> str:
    full = "#" if "utf" not in (sys.stdout.encoding or "").lower() else "█"
    return full * round(score * BAR_WIDTH)


def verdict_line(verdict: Mapping[str, Any], policy: Policy) -> Text:
    """Show one verdict of many: id, action, and what it is for."""
    row_id = visible(str(verdict["id"]))
    shown = row_id if len(row_id) <= ID_WIDTH else row_id[: ID_WIDTH - 1] + "~"
    action = str(verdict["action"])
    line = Text(f"{shown:<{ID_WIDTH}}  ")
    line.append(f"{action:<6}", style=_STYLES[action])
    error = verdict.get("error")
    if error:
        return line.append(f"  {error['type']}: {visible(error['message'])}", style=_STYLES["error"])
    scores = verdict["scores"]
    flagged = _flagged(scores, policy)
    known = {category: score for category, score in scores.items() if score is not None}
    named = flagged[:MAX_NAMED] or sorted(known, key=lambda category: -known[category])[:1]
    line.append("  " + ", ".join(f"{category} {known[category]:.2f}" for category in named))
    if len(flagged) > MAX_NAMED:
        line.append(f", {len(flagged) - MAX_NAMED} more")
    return line


def summary_line(counts: Counter[str], model: str, policy: str) -> Text:
    """Show how many rows came to what: `counts` has actions, and "error" beside `review` for failed rows."""
    n_rows = counts["allow"] + counts["review"] + counts["block"]
    actions = ", ".join(f"{counts[action]:,} {action}" for action in ("block", "review", "allow"))
    errors = f" ({counts['error']:,} could not be scored)" if counts["error"] else ""
    return Text(f"{n_rows:,} rows: {actions}{errors}; model {model}, policy {policy}", style="dim")
