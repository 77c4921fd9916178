"""Packaged rules: a name on somebody's wire format from the categories that a model scores.

A rule lists alternatives, each a list of categories: the wire's score is the largest over the alternatives of
the smallest within one. An alternative with a category that has no score does not count; a rule without any
that counts gives no score.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from gooseguard.core.errors import ConfigError
from gooseguard.core.taxonomy import load_taxonomy, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

Rule = tuple[tuple[str, ...], ...]
"""Alternatives, each of which needs all its categories."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The names of one wire format, in its order."""

    rules: Mapping[str, Rule]
    """Wire name to rule."""
    usable: Mapping[str, Rule]
    """The same, of what the model can score: alternatives that count, and names that have any."""

    @property
    def unscored(self) -> list[str]:
        """Give the wire names that the model cannot score."""
        return [name for name in self.rules if name not in self.usable]


def apply_rule(rule: Rule, scores: Mapping[str, float | None]) -> tuple[float, tuple[str, ...]] | None:
    """Give the score of a rule and the alternative it came from; None where no alternative has scores.

    >>> apply_rule((("hate/threatening",), ("hate", "threat")), {"hate": 0.9, "threat": 0.4})
    (0.4, ('hate', 'threat'))
    """
    best: tuple[float, tuple[str, ...]] | None = None
    # Plain loops: an answer has a dozen rules, and a server answers thousands a second.
    for alternative in rule:
        least = 1.0
        for category in alternative:
            value = scores.get(category)
            if value is None:
                break
            least = min(least, value)
        else:
            if best is None or least > best[0]:
                best = (least, alternative)
    return best


def is_flagged(rule: Rule, flagged: set[str]) -> bool:
    """Tell whether all categories of any alternative are among those that are flagged."""
    return any(map(flagged.issuperset, rule))


def load_rules(wire: str, categories: AbstractSet[str]) -> Rules:
    """Read `wire/<wire>.toml` for a model that scores `categories`.

    Raises:
        ConfigError: the file names a category that is not in the taxonomy.
    """
    text = resources.files("gooseguard.wire").joinpath(f"{wire}.toml").read_text("utf-8")
    taxonomy = load_taxonomy()
    rules: dict[str, Rule] = {}
    for name, alternatives in tomllib.loads(text)["rules"].items():
        for category in (category for alternative in alternatives for category in alternative):
            if category not in taxonomy:
                raise ConfigError(
                    f"wire {wire}: rule {name!r} names category {category!r}; "
                    f"expected one of {', '.join(taxonomy)}{nearest(category, taxonomy)}"
                )
        rules[name] = tuple(tuple(alternative) for alternative in alternatives)
    usable = {
        name: tuple(alternative for alternative in rule if set(alternative) <= categories)
        for name, rule in rules.items()
    }
    return Rules(rules, {name: rule for name, rule in usable.items() if rule})
