"""Keys and clusters -> train, val or test; no cluster is in two of them. Knows nothing of texts or labels."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from gooseguard.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import numpy as np
    import numpy.typing as npt

SPLITS = ("train", "val", "test")
"""Every split, in the order in which they are written."""


def check_fractions(val_fraction: float, test_fraction: float) -> None:
    """Check that both are shares that leave something to train on.

    Raises:
        ConfigError: they are not.
    """
    for name, fraction in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not 0.0 <= fraction < 1.0:
            raise ConfigError(f"{name} is {fraction!r}, expected a share from 0 to below 1")
    if val_fraction + test_fraction >= 1.0:
        raise ConfigError(
            f"val_fraction {val_fraction} + test_fraction {test_fraction} leaves nothing; expected below 1"
        )


def assign_splits(
    keys: Sequence[str],
    clusters: npt.NDArray[np.int64],
    val_fraction: float = 0.10,
    test_fraction: float = 0.12,
    seed: int = 0,
    held_out: Collection[str] = (),
) -> list[str]:
    """Assign each text to a split, cluster by cluster.

    A cluster goes where the hash of its smallest key falls. So the outcome knows no row order, and a set that
    is added moves only texts whose cluster gains a smaller key. A cluster with a key of `held_out` goes to
    test.

    Args:
        keys: key of each text, `dedup_key`.
        clusters: int64, (n_texts,): texts of one value are of one cluster.
        val_fraction: share of the clusters for val, 0..1.
        test_fraction: share of the clusters for test, 0..1.
        seed: chooses another assignment.
        held_out: keys that an earlier release tested on.

    Raises:
        ConfigError: the fractions leave nothing to train on.
    """
    check_fractions(val_fraction, test_fraction)
    held_keys = frozenset(held_out)
    smallest: dict[int, str] = {}
    held_clusters: set[int] = set()
    members = clusters.tolist()
    for key, cluster in zip(keys, members, strict=True):
        if key < smallest.get(cluster, "~"):
            smallest[cluster] = key
        if key in held_keys:
            held_clusters.add(cluster)
    chosen = {
        cluster: "test" if cluster in held_clusters else _split_of(key, val_fraction, test_fraction, seed)
        for cluster, key in smallest.items()
    }
    return [chosen[cluster] for cluster in members]


def split_point(key: str, seed: int) -> int:
    """Give where a key falls, 0 to 2^64 - 1, under the secret or the number `seed`."""
    # A key is a hash itself, yet the smallest of many is no uniform number.
    return int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8], "big")


def _split_of(key: str, val_fraction: float, test_fraction: float, seed: int) -> str:
    point = split_point(key, seed) / 2**64
    # Test first: another share for val moves nothing into or out of test.
    if point < test_fraction:
        return "test"
    return "val" if point < test_fraction + val_fraction else "train"
