"""What a source is: a published set as its user downloaded it, and the rows it gives. Knows no format.

A reader turns a file or folder into `Source`s; a `Source` gives its rows in the order of its files, one at a
time, so that memory does not grow with the set. What is wrong with a row or a file goes to `Faults`, which
stops or counts, as the recipe says; either way file and row are named, and content is not.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from gooseguard.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from gooseguard.core.example import Example
    from gooseguard.core.scorer import Span
    from gooseguard.data.rules import Votes

SHOWN_FAULTS = 20
"""Places that are kept of the faults that were skipped."""


class OnFault(StrEnum):
    """What a bad row or file does to a build."""

    STOP = "stop"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """One source of a recipe: which reader, what it reads, and how."""

    name: str
    """A key of `sources.READERS`."""
    path: str
    """The file or folder that was downloaded."""
    select: tuple[str, ...] = ()
    """Sets or groups of sets to read, where a source has several; empty for all."""
    mapping: str = ""
    """TOML file that says what columns and labels mean; empty for the packaged one."""
    on_fault: OnFault = OnFault.STOP
    """Whether a bad row or file stops the build, or is left out and counted."""
    fallback_encoding: str = ""
    """Encoding of bytes that are no UTF-8, such as "windows-1252"; empty makes them a fault."""


@dataclass(frozen=True, slots=True)
class Card:
    """What is known of a published set as a whole."""

    name: str
    """Unique; `Example.source` of every row."""
    title: str
    """What its publishers call it."""
    licence: str
    """Terms of content and labels, as published."""
    citation: str
    """Whom to cite, and where it was published."""
    meaning: str
    """What its labels say, in one or two lines."""
    faults: str = ""
    """What is known to be wrong with it."""
    language: str | None = None
    """BCP-47 tag, where all of it is in one language."""
    group: str = "open"
    """`open`, `weak` or `research`: who may be trained on it."""
    weak: bool = False
    """Whether labels come from where a content stood, not from a person who read it."""


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row as read: an example, and what its publisher said of it."""

    example: Example
    """Content, labels and subgroups; its id begins with the name of the set."""
    native: Mapping[str, Any]
    """The publisher's own labels, as far as they were read; JSON-ready."""
    split: str
    """The publisher's split; empty where there is none."""
    place: str = ""
    """File and row, for people."""
    votes: Mapping[str, Votes] = field(default_factory=dict)
    """Category to its annotators, where they are known."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Category to the weight of its label, where it is not 1."""
    spans: tuple[Span, ...] = ()
    """Where annotators saw what they labelled."""


class Faults:
    """Takes what is wrong with a source: stops at once, or counts and goes on."""

    def __init__(self, on_fault: OnFault = OnFault.STOP) -> None:
        self.on_fault = on_fault
        self.counts: Counter[str] = Counter()
        """File to the faults that were skipped in it."""
        self.shown: list[str] = []
        """The first faults, each with its place."""

    def add(self, file: str, message: str) -> None:
        """Take a fault.

        Args:
            file: in which it is, relative to the source.
            message: begins with the place; says what was found and what was expected, never content.

        Raises:
            DataError: faults stop the build.
        """
        if self.on_fault is OnFault.STOP:
            raise DataError(f'{message}; mend it, or skip such rows with on_fault = "skip"')
        self.counts[file] += 1
        if len(self.shown) < SHOWN_FAULTS:
            self.shown.append(message)


@dataclass(frozen=True, slots=True)
class Source:
    """One published set, ready to be read."""

    card: Card
    """What is known of it as a whole."""
    root: Path
    """The file or folder it lies in."""
    files: tuple[Path, ...]
    """All that is read, in order; for digests."""
    read: Callable[[Faults], Iterator[SourceRow]]
    """Gives the rows; see `rows`."""

    def rows(self, faults: Faults | None = None) -> Iterator[SourceRow]:
        """Give the rows, always in the same order.

        Raises:
            DataError: a row or file is wrong and `faults` stops at it, or nothing could be read at all.
        """
        faults = faults if faults is not None else Faults()
        before, n_rows = faults.counts.total(), 0
        for row in self.read(faults):
            n_rows += 1
            yield row
        skipped = faults.counts.total() - before
        if skipped and not n_rows:
            raise DataError(
                f"{self.card.name}: all {skipped} rows or files of {self.root.name} were faulty, the first: "
                f"{faults.shown[0] if faults.shown else 'not kept'}"
            )

    def name_of(self, file: Path) -> str:
        """Give a file's name relative to the source, for errors and manifests."""
        return file.relative_to(self.root).as_posix() if file != self.root else file.name
