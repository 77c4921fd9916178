"""Sources -> numbered batches of raw rows on disk, so that every later step has pieces to work on.

A work folder holds `raw/000012.arrow` and, once a source is read to its end, `raw/source-3.json`. A run
that was stopped reads an unfinished source again and passes over the batches that are there: their rows are
the same.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from gooseguard.core.content import Content
from gooseguard.core.errors import ConfigError, DataError
from gooseguard.core.example import Example
from gooseguard.core.files import replacing, write_whole
from gooseguard.core.manifest import canonical_json, digest_file
from gooseguard.data.arrow import import_arrow
from gooseguard.data.sources.source import Faults, OnFault, SourceRow
from gooseguard.data.tables import MEDIA, to_record, to_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pyarrow as pa

    from gooseguard.core.content import Part
    from gooseguard.data.recipe import HeldOutConfig
    from gooseguard.data.tables import Record

BATCH_ROWS = 8192
"""Rows of a batch; part of what a build's bytes depend on."""

MOST_NAMED_FILES = 100
"""Files of a source that the manifest names one by one; of more, one digest is taken over all."""

SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "image/gif": ".gif"}
"""Of stored media files, for people; no reader depends on them."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What is to be read as one: a source, or the texts of a held-out set."""

    name: str
    """For progress and counts."""
    rows: Callable[[Faults], Iterator[SourceRow]]
    """Gives the rows, always the same in the same order."""
    on_fault: OnFault = OnFault.STOP
    """Whether a bad row stops the build."""
    held_out: str = ""
    """Name of the held-out set that these rows are; empty for a source."""


@dataclass(slots=True)
class ReadFacts:
    """What came of one reading."""

    name: str
    """Of the source."""
    first_batch: int
    """Number of its first batch."""
    n_batches: int = 0
    """How many batches it has."""
    n_rows: int = 0
    """How many rows were read."""
    faults: dict[str, int] = field(default_factory=dict)
    """File to the faults that were skipped in it."""
    shown: list[str] = field(default_factory=list)
    """The first of them."""


def spill(
    readings: Sequence[Reading], work: Path, is_done: Callable[[int], bool]
) -> Iterator[tuple[int, Reading]]:
    """Write what is read as batches; give the number of each as soon as it lies on disk.

    Args:
        readings: in order of age.
        work: the work folder.
        is_done: whether a batch was used up by an earlier run and need not be written again.

    Raises:
        DataError: a source is wrong, and says to stop.
        OSError: the disk is full.
    """
    (work / "raw").mkdir(exist_ok=True)
    first = 0
    for number, reading in enumerate(readings):
        facts_path = work / "raw" / f"source-{number}.json"
        if facts_path.is_file():
            facts = ReadFacts(**json.loads(facts_path.read_text("utf-8")))
            for batch in range(first, first + facts.n_batches):
                yield batch, reading
            first += facts.n_batches
            continue
        facts = ReadFacts(reading.name, first)
        faults = Faults(reading.on_fault)
        for records in _chunks(_records(reading, faults, work), BATCH_ROWS):
            batch = first + facts.n_batches
            path = raw_path(work, batch)
            if not path.is_file() and not is_done(batch):
                write_table(path, to_table(records))
            facts.n_batches += 1
            facts.n_rows += len(records)
            yield batch, reading
        facts.faults, facts.shown = dict(sorted(faults.counts.items())), list(faults.shown)
        write_whole(facts_path, canonical_json(facts_table(facts)))
        first += facts.n_batches


def read_facts(work: Path, n_readings: int) -> list[ReadFacts]:
    """Give what came of each reading, once all are read to their ends."""
    paths = [work / "raw" / f"source-{number}.json" for number in range(n_readings)]
    return [ReadFacts(**json.loads(path.read_text("utf-8"))) for path in paths]


def facts_table(facts: ReadFacts) -> dict[str, Any]:
    """Give the facts as JSON has them."""
    return {name: getattr(facts, name) for name in ReadFacts.__slots__}


def raw_path(work: Path, batch: int) -> Path:
    """Give where the raw rows of a batch lie."""
    return work / "raw" / f"{batch:06}.arrow"


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as an Arrow file: whole, or not at all."""
    arrow = import_arrow()
    ipc = import_arrow("pyarrow.ipc")
    options = ipc.IpcWriteOptions(compression="lz4")
    with (
        replacing(path) as partial,
        arrow.OSFile(str(partial), "wb") as sink,
        ipc.new_file(sink, table.schema, options=options) as writer,
    ):
        writer.write_table(table)


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table that `write_table` wrote, or some of its columns."""
    arrow = import_arrow()
    ipc = import_arrow("pyarrow.ipc")
    with arrow.OSFile(str(path), "rb") as stream:
        if columns is None:
            return ipc.open_file(stream).read_all()
        names = ipc.open_file(stream).schema.names
        options = ipc.IpcReadOptions(included_fields=[names.index(name) for name in columns])
        return ipc.open_file(stream, options=options).read_all().select(columns)


def store_media(work: Path, part: Part) -> str:
    """Keep the bytes of a part under the name of their digest; give the path relative to `work`."""
    digest = hashlib.sha256(part.data).hexdigest()
    path = work / MEDIA / digest[:2] / (digest + SUFFIXES.get(part.media_type, ""))
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, part.data)
    return path.relative_to(work).as_posix()


def digest_inputs(name: str, files: Iterable[tuple[str, Path]]) -> dict[str, str]:
    """Give name to SHA-256 of each file of a source; of many files, one digest over all of them.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    digests = {}
    for label, path in files:
        try:
            digests[label] = digest_file(path)
        except OSError as error:
            raise DataError(f"{label}: {error.strerror}; expected a file of {name!r}") from None
    if len(digests) <= MOST_NAMED_FILES:
        return {f"{name}/{label}": digest for label, digest in digests.items()}
    lines = "".join(f"{digest}  {label}\n" for label, digest in digests.items())
    return {f"{name} ({len(digests)} files)": hashlib.sha256(lines.encode()).hexdigest()}


def read_held_out_texts(held: HeldOutConfig, _: Faults) -> Iterator[SourceRow]:
    """Read the texts of a held-out set: JSON Lines with a field `text`, or one a line; no line may be faulty.

    Raises:
        ConfigError: the file has another suffix.
        DataError: it is missing or damaged; names file and line.
    """
    path = Path(held.path)
    name, number = path.name, 0
    is_json = name.endswith((".jsonl", ".jsonl.gz"))
    if not is_json and path.suffix != ".txt":
        raise ConfigError(f"held_out {name}: expected .jsonl, .jsonl.gz or .txt")
    try:
        with _open_text(path) as lines:
            for number, line in enumerate(lines, start=1):
                text = (
                    _held_out_text(line, f"held_out {name}, line {number}") if is_json else line.rstrip("\n")
                )
                if text.strip():
                    example = Example(f"{held.name}/{number}", Content.from_text(text), {}, (), held.name)
                    yield SourceRow(example, {}, "")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(
            f"held_out {name}, after line {number}: {type(error).__name__}; expected UTF-8 text"
        ) from None


def _open_text(path: Path) -> IO[str]:
    if path.name.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _held_out_text(line: str, place: str) -> str:
    try:
        row = json.loads(line)
    except ValueError:
        raise DataError(f"{place}: is no JSON; expected one object a line") from None
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise DataError(f"{place}: has no text; expected an object with the field text")
    text: str = row["text"]
    return text


def _records(reading: Reading, faults: Faults, work: Path) -> Iterator[Record]:
    def store(part: Part) -> str:
        return store_media(work, part)

    for row in reading.rows(faults):
        try:
            record = to_record(row, store)
        except DataError as error:
            faults.add(row.place.partition(",")[0] or reading.name, f"{row.place or row.example.id}: {error}")
            continue
        yield record


def _chunks(records: Iterator[Record], size: int) -> Iterator[list[Record]]:
    chunk: list[Record] = []
    for record in records:
        chunk.append(record)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
