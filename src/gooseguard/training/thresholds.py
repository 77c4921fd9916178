"""Validation scores to policies: for each category the smallest thresholds within a bound on false positives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PolicyGoal:
    """What a policy promises on validation rows."""

    id: str
    """Name of the policy."""
    review_fpr: float
    """Largest share of a category's annotated negatives that its review threshold may flag."""
    block_fpr: float
    """The same for its block threshold."""
    purpose: str
    """When to take this policy, for the file's first comment."""


GOALS = (
    PolicyGoal("default", 0.05, 0.01, "a balance: people look at what is flagged"),
    PolicyGoal("strict", 0.10, 0.03, "places with young people, or before anything is published"),
    PolicyGoal("lenient", 0.02, 0.005, "adult or heated places, or where nobody has time to look"),
)


@dataclass(frozen=True, slots=True)
class Rate:
    """One threshold and what it did on validation rows."""

    threshold: float
    """Smallest score that counts, inclusive."""
    fpr: float
    """Share of annotated negatives at or above it."""
    recall: float
    """Share of annotated positives at or above it."""
    ordinary: Mapping[str, float]
    """Source of ordinary text to the share of it at or above the threshold."""


def round_up(value: float) -> float:
    """Round a score up to four digits (at most 1), so that a bound that held still holds."""
    return min(math.ceil(value * 1e4) / 1e4, 1.0)


def choose(
    scores: NDArray[np.float64],
    positive: NDArray[np.bool_],
    ordinary: Mapping[str, NDArray[np.float64]],
    largest_fpr: float,
) -> Rate:
    """Choose the smallest threshold whose false-positive rate is within a bound.

    Args:
        scores: float64, (n,), calibrated, of a category's annotated validation rows.
        positive: bool, (n,).
        ordinary: source to the scores of its ordinary texts.
        largest_fpr: the bound.
    """
    negatives = np.sort(scores[~positive])[::-1]
    allowed = math.floor(largest_fpr * len(negatives))
    # Inclusive thresholds: it must lie above the first negative that may not be flagged.
    threshold = round_up(float(np.nextafter(negatives[allowed], 2.0))) if allowed < len(negatives) else 0.0
    if allowed < len(negatives) and threshold <= negatives[allowed]:
        threshold = 1.0
    return Rate(
        threshold,
        float((scores[~positive] >= threshold).mean()),
        float((scores[positive] >= threshold).mean()),
        {source: float((values >= threshold).mean()) for source, values in ordinary.items() if len(values)},
    )


def policy_toml(goal: PolicyGoal, version: str, model: str, rates: Mapping[str, tuple[Rate, Rate]]) -> str:
    """Write a policy with a comment on how each threshold was chosen and what it did on validation rows.

    Args:
        goal: what was asked for.
        version: the policy's version.
        model: name@digest of the model whose scores were used.
        rates: category to its review and block rates.
    """
    lines = [
        f"# {goal.purpose[0].upper()}{goal.purpose[1:]}.",
        f"# Written by `gooseguard train` from the validation rows of {model}: each threshold is the smallest whose",
        f"# false-positive rate on the category's annotated validation negatives is at most {goal.review_fpr:.1%} (review)",
        f"# and {goal.block_fpr:.1%} (block). Many of those negatives were picked for looking harmful; \"ordinary\" is the",
        "# share of unselected text that the review threshold flags (some of it rightly: nobody annotated it).",
        f'id = "{goal.id}"',
        f'version = "{version}"',
    ]
    for category, (review, block) in rates.items():
        shares = _shares(review.ordinary)
        lines += [
            "",
            f"# review: FPR {review.fpr:.2%}, recall {review.recall:.1%}{shares}; block: FPR {block.fpr:.2%}, recall {block.recall:.1%}",
            f'[thresholds."{category}"]',
            f"review = {review.threshold:.4f}",
            f"block = {max(block.threshold, review.threshold):.4f}",
        ]
    return "\n".join(lines) + "\n"


def _shares(ordinary: Mapping[str, float]) -> str:
    names: Sequence[str] = sorted(ordinary)
    return "".join(f", ordinary {name} {ordinary[name]:.2%}" for name in names)
