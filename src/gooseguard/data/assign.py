"""Rows in order of age, and which are nearly equal -> which are kept, in which split and cluster.

A row joins the split of its older neighbours; without any it begins a cluster, and the keyed hash of its
key chooses the split. So a younger row never moves an older one. A row whose older neighbours lie in two
splits would leak from one to the other: it is dropped, and counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gooseguard.data.neighbours import first_equal, near_pairs, older_neighbours
from gooseguard.data.split import SPLITS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gooseguard.data.neighbours import Index
    from gooseguard.data.recipe import DuplicateConfig

I64 = npt.NDArray[np.int64]
I16 = npt.NDArray[np.int16]

FREE = -1
"""A row whose split nothing has fixed yet."""
BRIDGE, NEAR, MERGED = 100, 101, 102
"""In place of a split: why a row is no row of the dataset. From `HELD_OUT` on: which set holds it out."""
HELD_OUT = 200


@dataclass(frozen=True, slots=True)
class Assignment:
    """What becomes of each row, in the order in which rows were read."""

    outcome: I16
    """int16, (n,): a position in `SPLITS`, or `BRIDGE`, `NEAR`, `MERGED`, `HELD_OUT` + number of the set."""
    first: I64
    """int64, (n,): the row that this one is merged into; itself where it is not."""
    cluster: I64
    """int64, (n,): the oldest row of its cluster."""
    n_pairs: int
    """How many pairs of rows are near duplicates."""


@dataclass(frozen=True, slots=True)
class KeyList:
    """Keys whose rows have their place already."""

    keys: npt.NDArray[np.uint64]
    """uint64, (n,), ascending and unique."""
    outcomes: I16
    """int16, (n,): the outcome of each."""


def fixed_outcomes(keys: npt.NDArray[np.uint64], lists: list[KeyList]) -> tuple[I16, npt.NDArray[np.int8]]:
    """Give the outcome that the first list with a row's key fixes, and the number of that list.

    Returns:
        int16, (n,), `FREE` where no list has it; int8, (n,), the number of lists where none has it.
    """
    outcomes = np.full(keys.size, FREE, np.int16)
    ages = np.full(keys.size, len(lists), np.int8)
    for number, known in reversed(list(enumerate(lists))):
        if known.keys.size:
            at = np.minimum(np.searchsorted(known.keys, keys), known.keys.size - 1)
            is_known = known.keys[at] == keys
            outcomes[is_known] = known.outcomes[at[is_known]]
            ages[is_known] = number
    return outcomes, ages


def own_splits(points: npt.NDArray[np.uint64], val_fraction: float, test_fraction: float) -> I16:
    """Give the split that each row's own key falls into, int16, (n,); as `split.assign_splits` does."""
    shares = points.astype(np.float64) / 2**64
    # Test first: another share for val moves nothing into or out of test.
    is_val = shares < test_fraction + val_fraction
    outcome = np.where(is_val, SPLITS.index("val"), SPLITS.index("train"))
    return np.where(shares < test_fraction, SPLITS.index("test"), outcome).astype(np.int16)


def assign(
    index: Index,
    work: Path,
    fixed: I16,
    ages: npt.NDArray[np.int8],
    own: I16,
    duplicates: DuplicateConfig,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Assignment:
    """Decide what becomes of each row.

    Args:
        index: rows in the order in which they were read.
        work: the work folder.
        fixed: int16, (n,): outcome that a row has whatever its neighbours say, or `FREE`.
        ages: int8, (n,): rows of a smaller number count as older than all of a larger one.
        own: int16, (n,): split of a row without neighbours.
        duplicates: what is near, and what is done with it.
        report: told how far the search is.
    """
    order = np.argsort(ages, kind="stable")
    fixed, own = fixed[order], own[order]
    first = first_equal(index.exact[order, 0], index.exact[order, 1])
    outcome = np.where(fixed == FREE, own, fixed)
    is_first = first == np.arange(first.size)
    outcome[~is_first] = MERGED
    pairs = _pairs(index, order, np.flatnonzero(is_first), work, duplicates, report)
    cluster = settle(outcome, fixed, pairs, keeps_near=duplicates.near == "keep")
    # What says the same as a row that is dropped is dropped for the same reason.
    is_lost = ~is_first & (outcome[first] >= len(SPLITS))
    outcome[is_lost] = outcome[first[is_lost]]
    back = np.empty_like(order)
    back[order] = np.arange(order.size)
    return Assignment(outcome[back], order[first][back], order[cluster][back], pairs.shape[1])


def _pairs(
    index: Index,
    order: I64,
    firsts: I64,
    work: Path,
    duplicates: DuplicateConfig,
    report: Callable[[int, int], None],
) -> I64:
    """Give the pairs of `firsts`, positions in `order`, that share a key or are near; int64, (2, n)."""
    of_key = firsts[first_equal(index.key[order[firsts]])]
    is_alone = of_key == firsts
    same = np.stack((of_key[~is_alone], firsts[~is_alone]))
    searched = firsts[is_alone]
    near = near_pairs(index, order[searched], work, duplicates.similarity, duplicates.image_distance, report)
    return np.concatenate((same, searched[near]), axis=1)


def settle(outcome: I16, fixed: I16, pairs: I64, *, keeps_near: bool) -> I64:
    """Let younger rows follow their older neighbours in `outcome`; give the oldest row of each cluster.

    Args:
        outcome: int16, (n,): where each row would go alone; written to.
        fixed: int16, (n,): outcomes that do not change, or `FREE`.
        pairs: int64, (2, n_pairs): near duplicates, older row first.
        keeps_near: whether near duplicates stay in the split, or only the oldest does.

    Returns:
        int64, (n,).
    """
    # Of most rows no pair knows: Python's numbers for all of them would take more room than the index.
    rows, positions = np.unique(pairs, return_inverse=True)
    decided, fixed_by, roots = outcome[rows].tolist(), fixed[rows].tolist(), list(range(rows.size))

    def root_of(row: int) -> int:
        while roots[row] != row:
            roots[row] = roots[roots[row]]
            row = roots[row]
        return row

    n_splits = len(SPLITS)
    for row, older in older_neighbours(positions.reshape(pairs.shape)):
        if decided[row] >= n_splits:
            continue
        met = {decided[neighbour] for neighbour in older}
        # A row that is only near a held-out text hands nothing on.
        held_out = [fixed_by[neighbour] for neighbour in older if fixed_by[neighbour] >= HELD_OUT]
        splits = {outcome_met for outcome_met in met if outcome_met < n_splits}
        if fixed_by[row] != FREE:
            splits.add(decided[row])
        if held_out:
            decided[row] = min(held_out)
        elif len(splits) > 1:
            decided[row] = BRIDGE
        elif splits and not keeps_near and fixed_by[row] == FREE:
            decided[row] = NEAR
        elif splits:
            decided[row] = splits.pop()
            joined = [root_of(neighbour) for neighbour in older if decided[neighbour] < n_splits]
            oldest = min([*joined, row])
            for root in [*joined, row]:
                roots[root] = oldest
    outcome[rows] = decided
    cluster = np.arange(outcome.size)
    cluster[rows] = rows[[root_of(row) for row in range(rows.size)]]
    return cluster


def count_outcomes(outcome: I16, held_out: Mapping[int, str]) -> dict[str, int]:
    """Count the rows that are none of the dataset, by why.

    Args:
        outcome: int16, (n,), without the held-out sets' own rows.
        held_out: number of a held-out set to its name.
    """
    names = {BRIDGE: "bridges_splits", NEAR: "near_duplicate", MERGED: "merged"}
    names |= {HELD_OUT + number: f"held_out/{name}" for number, name in held_out.items()}
    counts = Counter(outcome.tolist())
    return {name: counts[code] for code, name in names.items() if counts[code]}
