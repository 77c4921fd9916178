"""One batch of raw rows -> cleaned rows, and the numbers by which duplicates are found. Runs in any process.

Writes `prepared/000012/`: `rows.arrow`, `index.npz`, `shingles.u32` and `summary.json`. What it writes
depends on the batch and the recipe alone.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gooseguard.core.content import Modality
from gooseguard.core.errors import ContentError
from gooseguard.core.files import new_folder
from gooseguard.core.scorer import Span
from gooseguard.data.batches import raw_path, read_table, write_table
from gooseguard.data.cleaning import CleanConfig, clean, move_spans
from gooseguard.data.dedup import (
    content_key,
    dedup_form,
    literal_form,
    minhash_signatures,
    shingle_sets,
)
from gooseguard.data.images import perceptual_hash
from gooseguard.data.split import split_point
from gooseguard.data.tables import to_example, to_records, to_table, with_example

if TYPE_CHECKING:
    from gooseguard.core.example import Example
    from gooseguard.data.tables import Record

BANDS, BAND_ROWS = 20, 5
"""MinHash values: a pair of similarity 0.8 shares one of 20 groups of 5 with probability 0.9996."""

TEXT, IMAGE, OTHER = 0, 1, 2
"""Kind of a row: texts alone; one image, with texts or without; all else, of which only equals are found."""


@dataclass(frozen=True, slots=True)
class PrepareTask:
    """One batch, and what to do with it."""

    work: str
    """The work folder; every process has to see it."""
    batch: int
    """Number of the batch."""
    seed: int
    """Key of the split."""
    cleaning: CleanConfig
    """Which steps are taken."""
    categories: tuple[str, ...] | None = None
    """Categories whose labels are kept; `None` keeps all."""
    is_held_out: bool = False
    """Whether these are texts to hold out, of which none is dropped."""


def prepared_path(work: Path, batch: int) -> Path:
    """Give the folder of a prepared batch."""
    return work / "prepared" / f"{batch:06}"


def prepare(task: PrepareTask) -> dict[str, Any]:
    """Prepare a batch, where that has not been done yet; give its summary."""
    work = Path(task.work)
    folder = prepared_path(work, task.batch)
    if not folder.is_dir():
        with new_folder(folder) as new:
            _prepare(task, work, new)
    # Its rows are kept cleaned.
    raw_path(work, task.batch).unlink(missing_ok=True)
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text("utf-8"))
    return summary


def _prepare(task: PrepareTask, work: Path, folder: Path) -> None:
    dropped: Counter[str] = Counter()
    done: Counter[str] = Counter()
    kept: list[Record] = []
    index = _Index(task.seed)
    load = partial(_load, work)
    for record in to_records(read_table(raw_path(work, task.batch))):
        example = to_example(record, load)
        cleaned = clean(example, task.cleaning)
        if cleaned.example is None and not task.is_held_out:
            dropped[cleaned.reason] += 1
            continue
        after = cleaned.example or example
        try:
            index.add(after)
        except ContentError:
            dropped["unreadable_image"] += 1
            continue
        done.update(cleaned.counts)
        kept.append(_cleaned_record(record, example, after, task))
    write_table(folder / "rows.arrow", to_table(kept))
    index.write(folder)
    summary = {
        "rows": len(kept),
        "dropped": dict(sorted(dropped.items())),
        "done": dict(sorted(done.items())),
    }
    (folder / "summary.json").write_text(json.dumps(summary, sort_keys=True), "utf-8")


def _cleaned_record(record: Record, before: Example, after: Example, task: PrepareTask) -> Record:
    changed = with_example(record, after, task.categories)
    if record["spans"] and after is not before:
        spans = [Span(**span) for span in record["spans"]]
        moved = move_spans(spans, before.content, after.content, task.cleaning)
        changed["spans"] = [asdict(span) for span in moved]
    return changed


def _load(work: Path, path: str) -> bytes:
    return (work / path).read_bytes()


class _Index:
    """Collects what duplicates are found by, row by row."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.forms: list[str] = []
        self.exact: list[bytes] = []
        self.keys: list[int] = []
        self.points: list[int] = []
        self.kinds: list[int] = []
        self.hashes: list[int] = []

    def add(self, example: Example) -> None:
        """Take a row.

        Raises:
            ContentError: an image cannot be decoded.
        """
        parts = example.content.parts
        media = [part for part in parts if part.modality is not Modality.TEXT]
        text = "\n".join(part.text for part in parts if part.modality is Modality.TEXT)
        is_image = len(media) == 1 and media[0].modality is Modality.IMAGE
        phash = perceptual_hash(media[0].data) if is_image else 0
        form, literal = dedup_form(text), literal_form(text)
        # With the media: two texts under different images are two contents.
        digests = [hashlib.sha256(part.data).hexdigest() for part in media]
        key = content_key(text, digests)
        self.hashes.append(phash)
        self.kinds.append(IMAGE if is_image else OTHER if media else TEXT)
        self.forms.append(form)
        said = ("".join(digests) + literal).encode("utf-8", "surrogatepass")
        self.exact.append(hashlib.sha256(said).digest()[:16])
        self.keys.append(int(key, 16))
        self.points.append(split_point(key, self.seed))

    def write(self, folder: Path) -> None:
        """Write `index.npz` and `shingles.u32`."""
        n = len(self.forms)
        shingles = shingle_sets(self.forms)
        bands = np.zeros((BANDS, n), np.uint32)
        if n:
            # The same functions for every recipe: another seed would change nothing but the bytes.
            signatures = minhash_signatures(shingles, BANDS * BAND_ROWS, 0)
            for band in range(BANDS):
                bands[band] = _fold(signatures[:, band * BAND_ROWS : (band + 1) * BAND_ROWS])
        np.savez(
            folder / "index.npz",
            exact=np.frombuffer(b"".join(self.exact), np.uint64).reshape(n, 2),
            key=np.array(self.keys, np.uint64),
            point=np.array(self.points, np.uint64),
            kind=np.array(self.kinds, np.uint8),
            phash=np.array(self.hashes, np.uint64),
            bands=bands,
            offsets=shingles.offsets,
        )
        shingles.hashes.tofile(folder / "shingles.u32")


def _fold(columns: np.ndarray[Any, np.dtype[np.uint32]]) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """Fold MinHash values, uint32, (n, rows), into one hash each, uint32, (n,)."""
    state = np.zeros(columns.shape[0], np.uint64)
    for row in range(columns.shape[1]):
        state = (state ^ columns[:, row]) * np.uint64(0x9E3779B97F4A7C15)
        state ^= state >> np.uint64(29)
    return (state >> np.uint64(32)).astype(np.uint32)
