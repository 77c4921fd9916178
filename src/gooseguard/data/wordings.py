"""Packaged TOML -> how questions and answers are worded, and which wording a row gets. Knows no rows.

Choices are made by hashes of what they are for, not by a generator that others draw from: the same row,
kind and seed give the same wording on any machine, whatever stands around the row.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Wordings:
    """Every wording: table of the file -> name -> sentences."""

    sentences: Mapping[str, Mapping[str, Sequence[str]]]
    """Such as `sentences["yes_no"]["instructions"]`."""
    forms: Mapping[str, str]
    """Kind of question to the form of its answer, where it has one."""
    digest: str
    """SHA-256 (hex) of the file."""

    def pick(self, table: str, name: str, *keys: object) -> tuple[int, str]:
        """Choose a sentence by what it is for; give its number and itself."""
        sentences = self.sentences[table][name]
        number = choose(len(sentences), table, name, *keys)
        return number, sentences[number]


@cache
def load_wordings() -> Wordings:
    """Read the packaged wordings."""
    text = resources.files("gooseguard.data").joinpath("wordings.toml").read_text("utf-8")
    tables = tomllib.loads(text)
    return Wordings(
        {
            table: {name: tuple(value) for name, value in entries.items() if isinstance(value, list)}
            for table, entries in tables.items()
        },
        {table: entries["form"] for table, entries in tables.items() if "form" in entries},
        hashlib.sha256(text.encode()).hexdigest(),
    )


def choose(n: int, *keys: object) -> int:
    """Give a number from 0 to below n that depends on the keys alone, each as likely as the others."""
    digest = hashlib.sha256("\x1f".join(map(str, keys)).encode()).digest()
    return int.from_bytes(digest[:8], "big") % n
