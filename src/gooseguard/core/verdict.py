"""Verdict: what a policy makes of scores. A pure function; knows no model."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from gooseguard.core.content import Modality
from gooseguard.core.errors import PolicyError
from gooseguard.core.taxonomy import load_taxonomy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from gooseguard.core.policy import Policy
    from gooseguard.core.scorer import Scores


class Action(StrEnum):
    """What to do with a content, from mildest to hardest."""

    ALLOW = "allow"
    REVIEW = "review"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy makes of the scores of one content."""

    action: Action
    """The hardest action that any category asks for."""
    flagged: Mapping[str, bool]
    """Category to whether its score reached the review threshold."""
    scores: Scores
    """What was decided on."""
    policy: str
    """"id@version"."""
    rationale: str | None = None
    """Why, in words, if the model wrote any."""

    @property
    def is_flagged(self) -> bool:
        """Tell whether any category is flagged."""
        return any(self.flagged.values())


ALL_MODALITIES: frozenset[Modality] = frozenset(Modality)


def decide(scores: Scores, policy: Policy, modalities: AbstractSet[Modality] = ALL_MODALITIES) -> Verdict:
    """Apply a policy to scores.

    Args:
        scores: what the model said.
        policy: whose thresholds count.
        modalities: those of the content's parts; a category that applies to none of them needs no score.

    Returns:
        The verdict: a score at or above `block` blocks, at or above `review` asks for review; a missing score
        (None) of a category that applies asks for review, never for less.

    Raises:
        PolicyError: the scores lack a category altogether that the policy names and does not call `unscored`.
    """
    action, flagged = Action.ALLOW, {}
    taxonomy = load_taxonomy()
    for category, threshold in policy.thresholds.items():
        if category not in scores.values:
            if category in policy.unscored:
                continue
            raise PolicyError(
                f"policy {policy.name}: {scores.model} gave no score for {category!r}; "
                "check the policy against the model first"
            )
        score = scores.values[category]
        if score is None:
            flagged[category] = False
            known = taxonomy.get(category)
            # An operator's own category applies to everything.
            is_applied = known is None or not known.modalities.isdisjoint(modalities)
            if is_applied and action is Action.ALLOW:
                action = Action.REVIEW
            continue
        flagged[category] = score >= threshold.review
        if score >= threshold.block:
            action = Action.BLOCK
        elif flagged[category] and action is Action.ALLOW:
            action = Action.REVIEW
    return Verdict(action, flagged, scores, policy.name, scores.rationale)
