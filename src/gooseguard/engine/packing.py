"""Ragged texts to units of work: which sequences go together, and where each token lies.

A unit is worked on by one thread at a time. Matrix products see its tokens one after another without padding;
only the WKV recurrence sees them in chunks of equal length. Knows no weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

IndexArray = npt.NDArray[np.intp]
"""Row numbers."""

CHUNK = 16
"""Tokens the WKV recurrence takes at once: in 16 steps a decay stays above 6e-5, safe to divide by."""

MAX_SEQUENCES = 64
"""Sequences of one unit; bounds the memory that their states take."""


def cut_units(lengths: Sequence[int], unit_tokens: int) -> list[list[int]]:
    """Group sequences, longest first, so that each group holds at most `unit_tokens` tokens.

    A sequence longer than that is a group of its own; one of length 0 is in no group.

    Returns:
        The numbers of the sequences of each group, by falling length.
    """
    units: list[list[int]] = []
    room, places = 0, 0
    for number in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        length = lengths[number]
        if length == 0:
            break
        if length > room or places == 0:
            units.append([])
            room, places = unit_tokens, MAX_SEQUENCES
        units[-1].append(number)
        room -= length
        places -= 1
    return units


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the tokens of one unit lie: packed without gaps, and in chunks.

    Chunks are ordered by step: the first chunk of every sequence, then the second of those that have one, and
    so on. Sequences come by falling length, so those with a chunk at a step are always the first ones.
    """

    n_tokens: int
    """Tokens T, over all sequences."""
    n_sequences: int
    """Sequences."""
    starts: IndexArray
    """(sequences,): packed row of the first token."""
    ends: IndexArray
    """(sequences,): packed row of the last token."""
    chunk: int
    """Tokens of a chunk."""
    n_chunks: int
    """Chunks of all sequences together."""
    steps: tuple[int, ...]
    """How many sequences have a first, second, … chunk."""
    rows: IndexArray
    """(T,): the row of each token when every chunk has `chunk` rows."""
    gaps: IndexArray
    """Rows of that kind that hold no token."""
    pair_rows: IndexArray
    """(T,): the row of each token when a chunk has 2 * `chunk` rows: those of one array, then of another."""
    pair_gaps: IndexArray
    """Rows of that kind, in the first halves, that hold no token."""

    @classmethod
    def of(cls, lengths: Sequence[int]) -> Layout:
        """Lay out sequences of these lengths, all at least 1, by falling length."""
        sizes = np.asarray(lengths, dtype=np.intp)
        ends = np.cumsum(sizes) - 1
        starts = ends - sizes + 1
        chunk = min(CHUNK, int(sizes[0]))
        n_steps = -(-sizes // chunk)
        steps = (n_steps[:, None] > np.arange(n_steps[0])).sum(axis=0)
        offsets = np.cumsum(steps) - steps
        sequence = np.repeat(np.arange(len(sizes)), sizes)
        position = np.arange(sizes.sum()) - starts[sequence]
        rows = (offsets[position // chunk] + sequence) * chunk + position % chunk
        n_chunks = int(steps.sum())
        is_gap = np.ones(n_chunks * chunk, dtype=bool)
        is_gap[rows] = False
        gaps = np.flatnonzero(is_gap)
        return cls(
            n_tokens=len(rows),
            n_sequences=len(sizes),
            starts=starts,
            ends=ends,
            chunk=chunk,
            n_chunks=n_chunks,
            steps=tuple(int(count) for count in steps),
            rows=rows,
            gaps=gaps,
            pair_rows=rows + rows // chunk * chunk,
            pair_gaps=gaps + gaps // chunk * chunk,
        )

    def bounds(self) -> list[tuple[int, int]]:
        """Give the packed rows [begin, end) of each sequence."""
        return [(int(start), int(end) + 1) for start, end in zip(self.starts, self.ends, strict=True)]
