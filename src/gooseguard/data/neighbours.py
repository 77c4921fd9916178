"""The numbers of prepared batches -> pairs of rows that are nearly equal. Knows no texts and no labels.

Rows are met in order of age. Pairs are proposed by bands of MinHash values (texts) or of perceptual hashes
(images), and each is verified: by the exact Jaccard similarity of the shingle sets, which are read from
disk, and by Hamming distance. A bucket's rows are compared with the 256 before them, so that a younger row
changes nothing between older ones.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from gooseguard.data.dedup import Shingles, equal_pairs, jaccard
from gooseguard.data.images import hamming, hash_bands
from gooseguard.data.prepare import BANDS, IMAGE, TEXT, prepared_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
U32 = npt.NDArray[np.uint32]

CHUNK_PAIRS = 1 << 15
"""Pairs verified at a time; bounds the shingles in memory."""


@dataclass(frozen=True, slots=True)
class Index:
    """What is known of each row by number; about 130 bytes a row, all held in memory."""

    exact: U64
    """uint64, (n, 2): equal where rows say the same."""
    key: U64
    """uint64, (n,): key of the row, see `dedup.form_key`."""
    point: U64
    """uint64, (n,): where the key falls, see `split.split_point`."""
    kind: npt.NDArray[np.uint8]
    """uint8, (n,): `TEXT`, `IMAGE` or `OTHER`."""
    phash: U64
    """uint64, (n,): perceptual hash, of rows of kind `IMAGE`."""
    bands: U32
    """uint32, (n_bands, n): of the texts."""
    begin: I64
    """int64, (n,): where the row's shingles begin in the file of its batch."""
    size: npt.NDArray[np.int32]
    """int32, (n,): how many shingles it has; at least one."""
    batch: npt.NDArray[np.int32]
    """int32, (n,): its batch."""


def read_index(work: Path, n_batches: int) -> Index:
    """Read what `prepare` wrote of all batches."""
    sizes = [_n_rows(work, batch) for batch in range(n_batches)]
    n = sum(sizes)
    index = Index(
        exact=np.empty((n, 2), np.uint64),
        key=np.empty(n, np.uint64),
        point=np.empty(n, np.uint64),
        kind=np.empty(n, np.uint8),
        phash=np.empty(n, np.uint64),
        bands=np.empty((BANDS, n), np.uint32),
        begin=np.empty(n, np.int64),
        size=np.empty(n, np.int32),
        batch=np.empty(n, np.int32),
    )
    # Filled in place: beside the parts of all batches there would be no room for the whole.
    end = 0
    for batch, size in enumerate(sizes):
        rows, end = slice(end, end + size), end + size
        with np.load(prepared_path(work, batch) / "index.npz") as arrays:
            for name in ("exact", "key", "point", "kind", "phash"):
                getattr(index, name)[rows] = arrays[name]
            index.bands[:, rows] = arrays["bands"]
            offsets = arrays["offsets"]
        index.begin[rows], index.size[rows], index.batch[rows] = offsets[:-1], np.diff(offsets), batch
    return index


def _n_rows(work: Path, batch: int) -> int:
    with np.load(prepared_path(work, batch) / "index.npz") as arrays:
        return int(arrays["kind"].size)


def first_equal(*columns: npt.NDArray[Any]) -> I64:
    """Give, for each row, the first row that is equal in all columns; (n,) each; int64, (n,)."""
    order = np.lexsort(columns)
    is_new = np.ones(order.size, bool)
    is_new[1:] = np.any([column[order][1:] != column[order][:-1] for column in columns], axis=0)
    # Sorting is stable: the first of a run is the smallest row.
    starts = order[is_new]
    firsts = np.empty(order.size, np.int64)
    firsts[order] = starts[np.cumsum(is_new) - 1]
    return firsts


def near_pairs(
    index: Index,
    rows: I64,
    work: Path,
    similarity: float,
    image_distance: int,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> I64:
    """Give the verified pairs among some rows, as positions in `rows`, int64, (2, n_pairs): the older first.

    Args:
        index: of all rows.
        rows: int64, (n,): those to compare, in order of age, best without equal keys.
        work: the work folder.
        similarity: least Jaccard similarity of the shingle sets.
        image_distance: most bits in which two images differ.
        report: told how many bands are done.
    """
    found: list[I64] = [np.zeros((2, 0), np.int64)]
    kinds = index.kind[rows]
    texts, images = np.flatnonzero(kinds == TEXT), np.flatnonzero(kinds == IMAGE)
    # Positions, the bands of their rows, and which column of these each has.
    tables = [(texts, index.bands, rows[texts])]
    if images.size:
        tables.append((images, hash_bands(index.phash[rows[images]]), np.arange(images.size)))
    total = sum(bands.shape[0] for _, bands, _ in tables)
    done = 0
    with _ShingleFiles(work) as files:
        for positions, bands, columns in tables:
            for band in range(bands.shape[0]):
                for pairs in _new_pairs(bands, columns, band):
                    at = positions[pairs]
                    likely = at[:, _is_possible(index, rows[at], similarity, image_distance)]
                    found.append(likely[:, files.are_similar(index, rows[likely], similarity)])
                done += 1
                report(done, total)
    return np.concatenate(found, axis=1)


def _new_pairs(bands: U32, columns: I64, band: int) -> Iterator[I64]:
    """Give the pairs of positions in `columns` that share the bucket of `band` and of no band before it."""
    for pairs in equal_pairs(bands[band][columns]):
        new = pairs
        for earlier in range(band):
            left, right = columns[new]
            new = new[:, bands[earlier, left] != bands[earlier, right]]
        yield new


def _is_possible(index: Index, pairs: I64, similarity: float, image_distance: int) -> npt.NDArray[np.bool_]:
    """Say which pairs may be near, by what is in memory; bool, (n_pairs,)."""
    left, right = pairs
    sizes = index.size[pairs]
    is_possible: npt.NDArray[np.bool_] = sizes.min(axis=0) >= similarity * sizes.max(axis=0)
    of_images = np.flatnonzero(is_possible & (index.kind[left] == IMAGE))
    if of_images.size:
        distances = hamming(index.phash[left[of_images]], index.phash[right[of_images]])
        is_possible[of_images] = distances <= image_distance
    return is_possible


class _ShingleFiles:
    """Reads shingle sets from the files of the batches."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.open_files: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self.open_files.values():
            os.close(descriptor)

    def are_similar(self, index: Index, pairs: I64, similarity: float) -> npt.NDArray[np.bool_]:
        """Say which of the pairs of rows, int64, (2, n), are similar enough; bool, (n,)."""
        answers = np.zeros(pairs.shape[1], bool)
        # Neighbours in the files are read together.
        order = np.lexsort((pairs[1], pairs[0]))
        for begin in range(0, order.size, CHUNK_PAIRS):
            chosen = order[begin : begin + CHUNK_PAIRS]
            part = pairs[:, chosen]
            rows, positions = np.unique(part, return_inverse=True)
            positions = positions.reshape(part.shape)
            answers[chosen] = jaccard(self._read(index, rows), positions[0], positions[1]) >= similarity
        return answers

    def _read(self, index: Index, rows: I64) -> Shingles:
        begins, sizes, batches = (column[rows].tolist() for column in (index.begin, index.size, index.batch))
        read = b"".join(
            os.pread(self._descriptor(batch), 4 * size, 4 * begin)
            for batch, begin, size in zip(batches, begins, sizes, strict=True)
        )
        offsets = np.concatenate(([0], np.cumsum(sizes)))
        return Shingles(np.frombuffer(read, np.uint32), offsets.astype(np.int64))

    def _descriptor(self, batch: int) -> int:
        if batch not in self.open_files:
            if len(self.open_files) >= 500:
                os.close(self.open_files.pop(next(iter(self.open_files))))
            path = prepared_path(self.work, batch) / "shingles.u32"
            self.open_files[batch] = os.open(path, os.O_RDONLY)
        return self.open_files[batch]


def older_neighbours(pairs: I64) -> Iterator[tuple[int, list[int]]]:
    """Give each younger row, ascending, with its older neighbours, ascending; int64, (2, n)."""
    order = np.lexsort((pairs[0], pairs[1]))
    older, younger = pairs[0][order], pairs[1][order]
    rows, starts = np.unique(younger, return_index=True)
    ends = np.append(starts, younger.size)[1:]
    for row, begin, end in zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True):
        yield row, older[begin:end].tolist()
