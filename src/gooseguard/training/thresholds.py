"""Validation scores to policies: the smallest thresholds within a bound on false positives."""

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
    review_ordinary: float
    """Largest share of each source of ordinary text that a category's review threshold may flag."""
    block_ordinary: float
    """The same for its block threshold."""
    purpose: str
    """When to take this policy, for the file's first comment."""


GOALS = (
    PolicyGoal("default", 0.05, 0.01, 0.03, 0.003, "a balance: people look at what is flagged"),
    PolicyGoal("strict", 0.10, 0.03, 0.06, 0.01, "places with young people, or before anything is published"),
    PolicyGoal(
        "lenient", 0.02, 0.005, 0.01, 0.001, "adult or heated places, or where nobody has time to look"
    ),
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


def smallest_threshold(scores: NDArray[np.float64], largest_share: float) -> float:
    """Give the smallest threshold (inclusive, four digits) that at most a share of the scores reach."""
    falling = np.sort(scores)[::-1]
    allowed = math.floor(largest_share * len(falling))
    if allowed >= len(falling):
        return 0.0
    # It must lie above the first score that may not reach it.
    threshold = round_up(float(falling[allowed]))
    return threshold if threshold > falling[allowed] else min(round(threshold + 1e-4, 4), 1.0)


def choose(
    scores: NDArray[np.float64],
    positive: NDArray[np.bool_],
    ordinary: Mapping[str, NDArray[np.float64]],
    largest_fpr: float,
    largest_ordinary: float = 1.0,
) -> Rate:
    """Choose the smallest threshold within both bounds.

    Annotated negatives alone would mislead where they are unlike what people write: those of `illicit` are
    instructions to chat models, and a threshold set on them flags half of all small talk.

    Args:
        scores: float64, (n,), calibrated, of a category's annotated validation rows.
        positive: bool, (n,).
        ordinary: source to the scores of its ordinary texts.
        largest_fpr: largest share of the annotated negatives that may reach it.
        largest_ordinary: largest share of each source of ordinary text that may.
    """
    threshold = smallest_threshold(scores[~positive], largest_fpr)
    for values in ordinary.values():
        threshold = max(threshold, smallest_threshold(values, largest_ordinary))
    return Rate(
        threshold,
        float((scores[~positive] >= threshold).mean()),
        float((scores[positive] >= threshold).mean()),
        {source: float((values >= threshold).mean()) for source, values in ordinary.items() if len(values)},
    )


HEADER = """\
# Written by `gooseguard train` from the validation rows of {model}. Each threshold is the smallest that
# flags at most {goal.review_fpr:.1%} (review) or {goal.block_fpr:.1%} (block) of the category's annotated
# negatives, many of which were picked for looking harmful, and at most {goal.review_ordinary:.1%} or
# {goal.block_ordinary:.1%} of each source of ordinary text (some of it rightly: nobody annotated it).
# "ordinary" is the share of it that the review threshold flags.
"""
"""What a policy says of how it came about."""


def policy_toml(goal: PolicyGoal, version: str, model: str, rates: Mapping[str, tuple[Rate, Rate]]) -> str:
    """Write a policy with a comment on how each threshold was chosen and what it did on validation rows.

    Args:
        goal: what was asked for.
        version: the policy's version.
        model: name of the model whose scores were used.
        rates: category to its review and block rates.
    """
    lines = [
        f"# {goal.purpose[0].upper()}{goal.purpose[1:]}.",
        *HEADER.format(model=model, goal=goal).splitlines(),
        f'id = "{goal.id}"',
        f'version = "{version}"',
    ]
    for category, (review, block) in rates.items():
        lines += [
            "",
            f"# review: {_rates(review)}{_shares(review.ordinary)}; block: {_rates(block)}",
            f'[thresholds."{category}"]',
            f"review = {review.threshold:.4f}",
            f"block = {max(block.threshold, review.threshold):.4f}",
        ]
    return "\n".join(lines) + "\n"


def _rates(rate: Rate) -> str:
    return f"FPR {rate.fpr:.2%}, recall {rate.recall:.1%}"


def _shares(ordinary: Mapping[str, float]) -> str:
    names: Sequence[str] = sorted(ordinary)
    return "".join(f", ordinary {name} {ordinary[name]:.2%}" for name in names)
