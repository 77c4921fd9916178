"""Manifest: what an artefact folder says of itself, and whether it is whole. See docs/formats.md."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from gooseguard.core.errors import ArtefactError
from gooseguard.core.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FILE_NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an artefact is, what it was made from, and the digest of each of its files."""

    kind: str
    """"dataset", "checkpoint", "adapter" or "report"."""
    format_version: int
    """Readers refuse a version they do not know."""
    config: Mapping[str, Any]
    """The stage's config as it ran, overrides included."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Name of each input to its SHA-256."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Path of each file within the folder to its SHA-256."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Counts, times, versions: what a reader may want to know."""


def digest_file(path: Path) -> str:
    """Give the SHA-256 (hex) of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical_json(value: object) -> str:
    """Write JSON in one way only: sorted keys, no spaces, no NaN. What digests are taken over."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`; the last file to be written, since a folder without it is not valid."""
    text = json.dumps(asdict(manifest), indent=1, sort_keys=True, ensure_ascii=False)
    write_whole(folder / FILE_NAME, text + "\n")


@contextmanager
def open_artefact(folder: Path, kind: str) -> Iterator[Path]:
    """Give a folder beside `folder` to write into; it takes its place when the block ends well.

    Raises:
        ArtefactError: `folder` holds something else than an artefact, or nothing can be written; an error of
            the block that says so is told as one.
    """
    if folder.exists() and not (folder / FILE_NAME).is_file():
        raise ArtefactError(f"{kind} {folder}: exists and is no {kind}; choose another folder")
    # Late, because a process that only reads artefacts never needs it, and the compressors it brings.
    import shutil  # noqa: PLC0415

    # Resolved, so that a folder named by ".." has a name to write beside.
    target = folder.resolve()
    partial, old = (target.with_name(f"{target.name}.{suffix}") for suffix in ("partial", "old"))
    try:
        for leftover in (partial, old):
            if leftover.exists():
                shutil.rmtree(leftover)
        partial.mkdir(parents=True)
        yield partial
        if target.exists():
            target.rename(old)
        partial.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, ValueError, TypeError) as error:
        raise ArtefactError(f"{kind} {folder}: cannot be written ({type(error).__name__}: {error})") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_manifest(folder: Path, kind: str, newest_version: int, *, verify: bool = False) -> Manifest:
    """Read and check `manifest.json`.

    Args:
        folder: the artefact.
        kind: what it must be.
        newest_version: the newest format version the caller can read.
        verify: also compare the digest of every file, which reads them all.

    Raises:
        ArtefactError: no manifest, another kind, a newer format, a file missing or altered.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise ArtefactError(
            f"{folder}: no {FILE_NAME}; expected a finished {kind} folder; was the run that makes it stopped?"
        )
    try:
        table = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ArtefactError(
            f"{path}: not a manifest ({type(error).__name__}); make the {kind} again"
        ) from None
    manifest = _parse(table, kind, newest_version, path)
    for name, digest in manifest.files.items():
        if not (folder / name).is_file():
            raise ArtefactError(f"{folder}: {name} is missing; make the {kind} again")
        if verify and digest_file(folder / name) != digest:
            raise ArtefactError(f"{folder}: {name} was altered after it was written; make the {kind} again")
    return manifest


def _parse(table: object, kind: str, newest_version: int, path: Path) -> Manifest:
    if not isinstance(table, dict):
        raise ArtefactError(
            f"{path}: holds {type(table).__name__}, expected an object; make the {kind} again"
        )
    if table.get("kind") != kind:
        raise ArtefactError(f"{path}: kind is {table.get('kind')!r}, expected {kind!r}")
    version = table.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ArtefactError(
            f"{path}: format version is {version!r}, expected 1 to {newest_version}; make the {kind} again"
        )
    # Before anything else is read: a newer format may have other fields.
    if version > newest_version:
        raise ArtefactError(
            f"{path}: format version {version} is newer than {newest_version}; upgrade gooseguard"
        )
    for name in ("config", "inputs", "files", "facts"):
        if not isinstance(table.get(name, {}), dict):
            raise ArtefactError(
                f"{path}: {name} is {type(table[name]).__name__}, expected an object; make the {kind} again"
            )
    try:
        return Manifest(**table)
    except TypeError as error:
        raise ArtefactError(f"{path}: not a manifest ({error}); make the {kind} again") from None
