"""The folder in which a dataset is built: beside it, of one recipe and its inputs, one build at a time."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gooseguard.core.errors import ArtefactError, ConfigError
from gooseguard.core.files import write_whole
from gooseguard.core.manifest import canonical_json

try:
    import fcntl
except ModuleNotFoundError:
    # Windows: nobody is kept from building a dataset twice at once there.
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FINGERPRINT = "fingerprint"
"""File that says what the folder was begun for."""


@contextmanager
def open_work(output: Path, *, restart: bool = False) -> Iterator[Path]:
    """Give the work folder of the dataset `output`, for this process alone; kept when the block fails.

    Args:
        output: the dataset.
        restart: throw away what an earlier build left.

    Raises:
        ConfigError: another process is building the dataset.
        OSError: the folder cannot be made.
    """
    work = output.with_name(f".{output.name}.work")
    work.mkdir(parents=True, exist_ok=True)
    # On the folder itself: the lock ends with the process, however that ends, and leaves no file.
    descriptor = os.open(work, os.O_RDONLY) if fcntl is not None else -1
    try:
        _lock(descriptor, output)
        if restart:
            for path in work.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        yield work
    finally:
        if work.is_dir() and not any(work.iterdir()):
            work.rmdir()
        if descriptor >= 0:
            os.close(descriptor)


def _lock(descriptor: int, output: Path) -> None:
    if descriptor < 0:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(
            f"dataset {output}: is being built by another process; wait for it, or name another folder"
        ) from None
    except OSError:
        # A file system without locks.
        return


def claim(work: Path, state: Mapping[str, Any]) -> None:
    """Take up what an earlier build of the same `state` left in the folder, or begin.

    Raises:
        ArtefactError: an earlier build of another state left something.
        OSError: nothing can be written.
    """
    fingerprint = hashlib.sha256(canonical_json(state).encode()).hexdigest()
    path = work / FINGERPRINT
    if path.is_file():
        if path.read_text("ascii") != fingerprint:
            raise ArtefactError(
                f"{work}: was left by a build of another recipe, other inputs or another version; "
                "run again with --restart to throw it away"
            )
        return
    for folder in ("prepared", "out"):
        shutil.rmtree(work / folder, ignore_errors=True)
        (work / folder).mkdir()
    write_whole(path, fingerprint)
