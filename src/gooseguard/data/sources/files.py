"""Which files a source consists of, and how their records become rows. Knows no format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gooseguard.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from gooseguard.data.sources.source import Faults, SourceRow
    from gooseguard.data.sources.spec import Record, Spec

    Records = Callable[[Path, str, Faults], Iterator[Record]]
    """File, its name and where faults go -> its records."""
    Make = Callable[[Record], SourceRow | None]
    """Record -> row; None for a record that is none."""


def find_files(root: Path, suffixes: Sequence[str], what: str) -> tuple[Path, ...]:
    """Give the file itself, or the files of a folder that have these suffixes, by name.

    Raises:
        ConfigError: there is no such file or folder, or it holds none.
    """
    if root.is_file():
        return (root,)
    if not root.is_dir():
        raise ConfigError(f"{what}: no such file or folder: {root}; name what you downloaded")
    files = sorted(
        (path for path in root.rglob("*") if path.name.endswith(tuple(suffixes)) and path.is_file()),
        key=lambda path: path.relative_to(root).as_posix(),
    )
    if not files:
        raise ConfigError(f"{what}: {root} holds no file of {', '.join(suffixes)}; name what you downloaded")
    return tuple(files)


def need_files(root: Path, names: Sequence[str], what: str) -> tuple[Path, ...]:
    """Give files of a folder by name, wherever in it they lie.

    Raises:
        ConfigError: one is missing; names it.
    """
    if not root.is_dir():
        raise ConfigError(f"{what}: {root} is no folder; expected one with {', '.join(names)}")
    found = []
    for name in names:
        matches = sorted(root.rglob(name))
        if not matches:
            raise ConfigError(f"{what}: {root} has no {name}; expected {', '.join(names)}")
        found.append(matches[0])
    return tuple(found)


def walk(
    spec: Spec, root: Path, files: Sequence[Path], records: Records, make: Make | None = None
) -> Callable[[Faults], Iterator[SourceRow]]:
    """Give the function that reads the files one after the other.

    Args:
        spec: makes rows of records.
        root: what names are relative to.
        files: in order.
        records: reads one file.
        make: makes a row of a record; without it, `spec` does.
    """
    make_row = make if make is not None else spec.make_row

    def rows(faults: Faults) -> Iterator[SourceRow]:
        for file in files:
            name = file.relative_to(root).as_posix() if file != root else file.name
            for record in records(file, name, faults):
                try:
                    row = make_row(record)
                except DataError as error:
                    faults.add(name, str(error))
                    continue
                if row is not None:
                    yield row

    return rows
