"""Files and folders that are there whole, or not at all."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write a file to; the file takes its place when the block ends well.

    Otherwise what is at `path` stays, and nothing is left beside it. Of two processes at once, the last
    to end wins.

    Raises:
        OSError: the file cannot be renamed, or the block did not write it.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a folder beside `path` to write into; it becomes `path` when the block ends well.

    Otherwise nothing is left.

    Raises:
        OSError: it cannot be made or renamed, as where `path` is a file, or a folder with something in it.
    """
    # Late, because few processes need it, and the compressors it brings.
    import shutil  # noqa: PLC0415

    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a file, text in UTF-8: whole, or not at all; raises as `replacing`."""
    with replacing(path) as partial:
        partial.write_bytes(data.encode() if isinstance(data, str) else data)
