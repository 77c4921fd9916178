"""Counts of each split -> which sources and categories lie unevenly. A check: nothing is moved."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gooseguard.data.recipe import SplitConfig

MOST_DEVIATION = 4.0
"""Standard errors beyond which a share is listed; of a thousand even ones, fewer than one in ten lists."""


def check_stratification(counts: Mapping[str, Any], split: SplitConfig) -> dict[str, Any]:
    """List the sources and the positives of categories whose share of val or test is not as wanted.

    The standard error takes each row for a draw of its own. Rows of one cluster go together, so that a
    source of many near duplicates may be listed without any fault of the split.

    Args:
        counts: by split, as `write.add_counts` gives them.
        split: the wanted shares.
    """
    uneven = []
    largest = 0.0
    for kind, name, numbers in _counted(counts):
        total = sum(numbers.values())
        for part, wanted in (("val", split.val_fraction), ("test", split.test_fraction)):
            error = math.sqrt(total * wanted * (1 - wanted))
            if not error:
                continue
            deviation = (numbers[part] - total * wanted) / error
            largest = max(largest, abs(deviation))
            if abs(deviation) > MOST_DEVIATION:
                uneven.append(
                    {
                        "kind": kind,
                        "name": name,
                        "split": part,
                        "share": round(numbers[part] / total, 4),
                        "wanted": wanted,
                        "standard_errors": round(deviation, 1),
                    }
                )
    return {"largest_standard_errors": round(largest, 1), "uneven": uneven}


def _counted(counts: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, int]]]:
    for name in sorted({name for part in counts.values() for name in part["sources"]}):
        yield "source", name, {split: part["sources"].get(name, 0) for split, part in counts.items()}
    for name in sorted({name for part in counts.values() for name in part["categories"]}):
        yield (
            "positives",
            name,
            {
                split: part["categories"].get(name, {"positive": 0})["positive"]
                for split, part in counts.items()
            },
        )
