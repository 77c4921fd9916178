"""Policy: category definitions and thresholds, the operator's own, read from TOML. Knows no model."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from gooseguard.core.errors import PolicyError
from gooseguard.core.scorer import is_probability
from gooseguard.core.taxonomy import load_taxonomy, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet


@dataclass(frozen=True, slots=True)
class Threshold:
    """The smallest scores that count, inclusive."""

    review: float
    """Score at which a person should look; the category is flagged from here."""
    block: float
    """Score at which the content is blocked."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What an operator wants done at which score."""

    id: str
    """Name, such as "default"."""
    version: str
    """The operator's version of it."""
    thresholds: Mapping[str, Threshold]
    """Category to thresholds; a category that is not named never acts."""
    definitions: Mapping[str, str] = field(default_factory=dict)
    """Category to the operator's own definition, where it differs from the taxonomy's."""
    unscored: frozenset[str] = frozenset()
    """Categories the policy names although the scorer may be unable to score them."""

    @property
    def name(self) -> str:
        """Give "id@version"."""
        return f"{self.id}@{self.version}"

    def check(self, categories: AbstractSet[str], scorer: str) -> None:
        """Check that the scorer can score what the policy acts on.

        Raises:
            PolicyError: a category has thresholds, is not in `unscored`, and the scorer does not list it.
        """
        absent = sorted(set(self.thresholds) - set(categories) - self.unscored)
        if absent:
            raise PolicyError(
                f"policy {self.name}: model {scorer} does not score {', '.join(absent)}; "
                f"expected only {', '.join(sorted(categories))}; "
                f"remove the thresholds or add: unscored = {absent}"
            )


def packaged_policies() -> list[str]:
    """List the names of the policies that ship with Gooseguard."""
    folder = resources.files("gooseguard.policies")
    return sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")
    )


def load_policy(name_or_path: str) -> Policy:
    """Read a packaged policy by name, or a TOML file by path.

    Raises:
        PolicyError: there is no such policy, or the file is wrong; the message says where and what to do.
    """
    if name_or_path in packaged_policies():
        text = resources.files("gooseguard.policies").joinpath(f"{name_or_path}.toml").read_text("utf-8")
        return parse_policy(text, f"policy {name_or_path}")
    path = Path(name_or_path)
    try:
        is_file = path.is_file()
    except OSError:
        # A name too long for the file system.
        is_file = False
    if not is_file:
        raise PolicyError(
            f"policy {name_or_path!r}: no such file or packaged policy; expected a TOML file or one of "
            f"{', '.join(packaged_policies())}"
        )
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"policy {path}: cannot be read as UTF-8 text ({type(error).__name__})") from None
    return parse_policy(text, f"policy {path.name}")


def parse_policy(text: str, where: str) -> Policy:
    """Read a policy from TOML text; `where` begins every error message.

    Raises:
        PolicyError: not TOML, an unknown key or category, a threshold outside 0..1, review above block.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"{where}: not valid TOML: {error}") from None
    known = {"id", "version", "thresholds", "definitions", "unscored"}
    for key in table:
        if key not in known:
            raise PolicyError(
                f"{where}: unknown key {key!r}; "
                f"expected one of {', '.join(sorted(known))}{nearest(key, known)}"
            )
    for key in ("id", "version"):
        if not isinstance(table.get(key), str) or not table[key]:
            raise PolicyError(f'{where}: {key} is missing or no text; expected {key} = "…"')
    thresholds = table.get("thresholds")
    if not isinstance(thresholds, dict) or not thresholds:
        raise PolicyError(
            f'{where}: no thresholds; expected a table such as [thresholds."hate"] review = 0.5, block = 0.9'
        )
    unscored = table.get("unscored", [])
    if not isinstance(unscored, list) or not all(isinstance(name, str) for name in unscored):
        raise PolicyError(f'{where}: unscored is no list of texts; expected unscored = ["violence"]')
    definitions = table.get("definitions", {})
    if not isinstance(definitions, dict) or not all(isinstance(text, str) for text in definitions.values()):
        raise PolicyError(f'{where}: definitions is no table of texts; expected [definitions] "hate" = "…"')
    taxonomy = load_taxonomy()
    for category in [*thresholds, *unscored, *definitions]:
        if category not in taxonomy:
            raise PolicyError(
                f"{where}: unknown category {category!r}; "
                f"expected one of {', '.join(taxonomy)}{nearest(category, taxonomy)}"
            )
    return Policy(
        id=table["id"],
        version=table["version"],
        thresholds={category: _threshold(entry, category, where) for category, entry in thresholds.items()},
        definitions=definitions,
        unscored=frozenset(unscored),
    )


def _threshold(entry: object, category: str, where: str) -> Threshold:
    if not isinstance(entry, dict) or set(entry) != {"review", "block"}:
        raise PolicyError(f"{where}: threshold for {category!r} must have review and block, and nothing else")
    review, block = entry["review"], entry["block"]
    for name, value in (("review", review), ("block", block)):
        if not is_probability(value):
            raise PolicyError(
                f"{where}: threshold for {category!r} has {name} {value!r}; expected a number within 0..1"
            )
    if review > block:
        raise PolicyError(
            f"{where}: threshold for {category!r} has review {review} above block {block}; "
            "expected review <= block"
        )
    return Threshold(float(review), float(block))
