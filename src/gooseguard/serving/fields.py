"""Google's `fields` parameter: which parts of an answer a client wants.

The syntax: `a,b` both; `a/b` and `a(b,c)` within; `*` every key. Lists are looked through.

Source: Google's documentation of partial responses, "Fields parameter syntax summary".
"""

from __future__ import annotations

import re
from typing import Any

from gooseguard.serving.problem import Kind, Problem

Selection = dict[str, "Selection"]
"""Key, or "*", to what is wanted of its value; empty: all of it."""

_TOKEN = re.compile(r"[A-Za-z0-9_@.$:\-]+|[*,/()]")

MOST_CHARACTERS = 1000
"""Of a selection; longer ones are nothing that a client means."""


def parse_fields(text: str) -> Selection:
    """Read a selection.

    >>> parse_fields("languages,attributeScores(TOXICITY/summaryScore)")
    {'languages': {}, 'attributeScores': {'TOXICITY': {'summaryScore': {}}}}

    Raises:
        Problem: INVALID.
    """
    tokens = _TOKEN.findall(text)
    if len(text) > MOST_CHARACTERS or "".join(tokens) != text.replace(" ", "") or not tokens:
        raise _invalid()
    selection, rest = _list(tokens)
    if rest:
        raise _invalid()
    return selection


def select(value: Any, selection: Selection) -> Any:  # noqa: ANN401  (JSON in, JSON out)
    """Give what is wanted of a JSON value; keys that are not there are no error."""
    if not selection:
        return value
    if isinstance(value, list):
        return [select(entry, selection) for entry in value]
    if not isinstance(value, dict):
        return value
    chosen = {}
    for key, inner in value.items():
        wanted = selection.get(key, selection.get("*"))
        if wanted is not None:
            chosen[key] = select(inner, wanted)
    return chosen


def _list(tokens: list[str]) -> tuple[Selection, list[str]]:
    """Read entries with commas between them; give them and the tokens that are left."""
    selection: Selection = {}
    while True:
        path, tokens = _path(tokens)
        _merge(selection, path)
        if tokens[:1] != [","]:
            return selection, tokens
        tokens = tokens[1:]


def _path(tokens: list[str]) -> tuple[Selection, list[str]]:
    """Read `a`, `a/b…` or `a(b,c)`."""
    if not tokens or tokens[0] in {",", "/", "(", ")"}:
        raise _invalid()
    name, rest = tokens[0], tokens[1:]
    inner: Selection = {}
    if rest[:1] == ["/"]:
        inner, rest = _path(rest[1:])
    elif rest[:1] == ["("]:
        inner, rest = _list(rest[1:])
        if rest[:1] != [")"]:
            raise _invalid()
        rest = rest[1:]
    return {name: inner}, rest


def _merge(selection: Selection, path: Selection) -> None:
    for name, inner in path.items():
        if name not in selection:
            selection[name] = inner
        elif not inner or not selection[name]:
            # One of them wants all of it.
            selection[name] = {}
        else:
            _merge(selection[name], inner)


def _invalid() -> Problem:
    return Problem(Kind.INVALID, "Invalid field selection; expected names such as attributeScores/TOXICITY")
