"""Held-out texts as sketches: near copies of them are found, and the texts cannot be read.

A sketch is a text's key and its 20 MinHash bands (`prepare.py`). Texts of Jaccard similarity s share a band
with probability s^5, so that the number of equal bands tells how near two texts are; nothing is left to
verify it by. Whoever has a sketch can tell whether a text at hand is the one behind it, or near it: that
much is given away.

Source: Broder, "On the resemblance and containment of documents", 1997.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from gooseguard.core.errors import ConfigError
from gooseguard.core.files import replacing
from gooseguard.data.dedup import BUCKET_WINDOW
from gooseguard.data.prepare import BAND_ROWS, BANDS

if TYPE_CHECKING:
    from pathlib import Path

U64 = npt.NDArray[np.uint64]
U32 = npt.NDArray[np.uint32]

SKETCHES = "test-sketches.npz"
"""File of a dataset: the sketches of its test rows of text."""

RECALL = 0.95
"""Share of the texts of just the similarity asked for that are to be found."""


@dataclass(frozen=True, slots=True)
class Sketches:
    """Of n texts."""

    keys: U64
    """uint64, (n,): see `dedup.form_key`."""
    bands: U32
    """uint32, (n_bands, n)."""


def write_sketches(path: Path, sketches: Sketches) -> None:
    """Write sketches, in the order of their keys: of equal texts, equal bytes.

    Raises:
        OSError: the file cannot be written.
    """
    order = np.argsort(sketches.keys, kind="stable")
    with replacing(path) as partial, partial.open("wb") as stream:
        np.savez(stream, keys=sketches.keys[order], bands=sketches.bands[:, order])


def read_sketches(path: Path) -> Sketches:
    """Read what `write_sketches` wrote.

    Raises:
        ConfigError: the file is missing or holds something else.
    """
    try:
        with path.open("rb") as stream, np.load(stream) as arrays:
            found = Sketches(arrays["keys"], arrays["bands"])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise ConfigError(
            f"held_out {path.name}: cannot be read ({type(error).__name__}); expected the sketches of a build"
        ) from None
    is_right = found.keys.dtype == np.uint64 and found.bands.dtype == np.uint32
    if not is_right or found.bands.shape != (BANDS, found.keys.size):
        raise ConfigError(f"held_out {path.name}: holds no sketches of {BANDS} bands; build them again")
    return found


def least_bands(similarity: float) -> int:
    """Give how many equal bands make two texts near: most that `RECALL` of texts so similar have."""
    share, found, least = similarity**BAND_ROWS, 1.0, 0
    while least < BANDS:
        # Of texts just so similar, the share with more equal bands than `least`.
        found -= math.comb(BANDS, least) * share**least * (1 - share) ** (BANDS - least)
        if found < RECALL:
            break
        least += 1
    return max(least, 1)


def near_sketches(bands: U32, held: U32, similarity: float) -> npt.NDArray[np.bool_]:
    """Say which rows are near a held-out text.

    Args:
        bands: uint32, (n_bands, n): of the rows.
        held: uint32, (n_bands, m): of the held-out texts.
        similarity: Jaccard similarity from which a row is near.

    Returns:
        bool, (n,).
    """
    pairs: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for of_rows, of_held in zip(bands, held, strict=True):
        order = np.argsort(of_held, kind="stable")
        ordered = of_held[order]
        begin = np.searchsorted(ordered, of_rows, side="left")
        # Bounded, as between rows: a value that very many share tells little.
        size = np.minimum(np.searchsorted(ordered, of_rows, side="right") - begin, BUCKET_WINDOW)
        rows = np.repeat(np.arange(of_rows.size), size)
        within = np.arange(rows.size) - np.repeat(np.cumsum(size) - size, size)
        pairs.append(rows * held.shape[1] + order[begin[rows] + within])
    met, counts = np.unique(np.concatenate(pairs), return_counts=True)
    is_near = np.zeros(bands.shape[1], bool)
    is_near[met[counts >= least_bands(similarity)] // max(held.shape[1], 1)] = True
    return is_near
