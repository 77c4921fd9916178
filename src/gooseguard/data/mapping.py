"""Packaged TOML -> which published sets there are, under what terms, and what their labels are called here.

Knows nothing of rows: `sources/` reads them.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from gooseguard.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LABELLED_TEXT = Path(__file__).parent / "sources" / "labelled_text.toml"
"""The packaged mapping of the labelled text sets."""


@dataclass(frozen=True, slots=True)
class SourceSet:
    """One published set: where it lies, on what terms, and what its labels mean."""

    name: str
    """Unique name; `source` of every row read from it."""
    group: str
    """Group it belongs to, such as `open` or `weak`; callers choose by it."""
    path: str
    """File, relative to the folder of the sets."""
    licence: str
    """Terms of text and labels, as published."""
    citation: str
    """Where it was published: `owner/repository@commit`, several divided by `;`."""
    language: str
    """ISO 639-1."""
    meaning: str
    """What a 1 says in this set, in one line."""
    faults: str = ""
    """What is known to be wrong with it, in one line."""
    weak: bool = False
    """Whether labels come from where a text stood, not from a person who read it."""
    subgroups: str = ""
    """Native field that names the people a text mentions; empty when there is none."""


@dataclass(frozen=True, slots=True)
class SourceMapping:
    """Every set of one layout, and the category behind each of its labels."""

    labels: Mapping[str, str]
    """Label of the sets -> category."""
    sets: tuple[SourceSet, ...]
    """In the order in which they are read; of equal texts the first gives the row its name."""

    def select(self, groups: Sequence[str]) -> tuple[SourceSet, ...]:
        """Give the sets of these groups, in the order of the file.

        Raises:
            ConfigError: a group holds no set.
        """
        known = sorted({source.group for source in self.sets})
        for group in groups:
            if group not in known:
                raise ConfigError(f"groups: {group!r} holds no set; expected some of {', '.join(known)}")
        return tuple(source for source in self.sets if source.group in groups)


def read_mapping(path: Path = LABELLED_TEXT) -> SourceMapping:
    """Read a mapping file: `[labels]` and one `[sets.<name>]` a set.

    Raises:
        ConfigError: the file is missing or no TOML, or a set has a field that is missing, unknown or of the
            wrong type.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"mapping {path.name}: cannot be read ({error.strerror}); expected a TOML file"
        ) from None
    except ValueError as error:
        raise ConfigError(f"mapping {path.name}: is no TOML: {error}") from None
    labels, sets = table.get("labels"), table.get("sets")
    if set(table) != {"labels", "sets"} or not isinstance(labels, dict) or not isinstance(sets, dict):
        raise ConfigError(f"mapping {path.name}: has {sorted(table)}, expected the tables labels and sets")
    for label, category in labels.items():
        if not isinstance(category, str) or not category:
            raise ConfigError(
                f"mapping {path.name}: label {label!r} maps to {category!r}, expected a category name"
            )
    return SourceMapping(
        MappingProxyType(labels), tuple(_read_set(path, name, entry) for name, entry in sets.items())
    )


def _read_set(path: Path, name: str, entry: object) -> SourceSet:
    known = {field.name: field.default for field in fields(SourceSet) if field.name != "name"}
    if not isinstance(entry, dict):
        raise ConfigError(f"mapping {path.name}: set {name!r} is no table; expected [sets.{name}]")
    for key, value in entry.items():
        expected = bool if key == "weak" else str
        if key not in known:
            raise ConfigError(
                f"mapping {path.name}: set {name!r} has {key!r}, expected one of {', '.join(known)}"
            )
        if not isinstance(value, expected):
            raise ConfigError(
                f"mapping {path.name}: set {name!r}: {key} is {value!r}, expected {expected.__name__}"
            )
    required = ("group", "path", "licence", "citation", "language", "meaning")
    missing = [key for key in required if not entry.get(key)]
    if missing:
        raise ConfigError(
            f"mapping {path.name}: set {name!r} has no {', '.join(missing)}; every set needs them"
        )
    return SourceSet(name=name, **entry)
