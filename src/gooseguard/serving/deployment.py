"""What answers now: a scorer, the policies that fit it, and what each wire format makes of its categories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gooseguard.core.errors import PolicyError
from gooseguard.core.policy import Policy, load_policy, packaged_policies
from gooseguard.serving.problem import Kind, Problem
from gooseguard.serving.wire import Rules, load_rules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gooseguard.core.scorer import Scorer
    from gooseguard.serving.config import ServeConfig


@dataclass(frozen=True, slots=True)
class Deployment:
    """A model and its policies. Never changed; the server swaps one for another."""

    scorer: Scorer
    """Gives the scores."""
    policy: Policy
    """Decides where a request names no policy."""
    policies: Mapping[str, Policy]
    """Id to policy, those a request may name."""
    openai: Rules
    """OpenAI's categories from ours."""
    perspective: Rules
    """Perspective's attributes from our categories."""

    @property
    def digest(self) -> str:
        """Give the model's digest, as in versioned attribute names."""
        return self.scorer.name.partition("@")[2]

    def find_policy(self, name: str | None) -> Policy:
        """Give a policy by id, or by "id@version"; the default for None.

        Raises:
            Problem: NOT_FOUND.
        """
        if name is None:
            return self.policy
        policy = self.policies.get(name.partition("@")[0])
        if policy is None or name not in {policy.id, policy.name}:
            raise Problem(
                Kind.NOT_FOUND,
                f"no policy of that name; expected one of {', '.join(self.policies)}",
                param="policy",
            )
        return policy


def make_deployment(config: ServeConfig, scorer: Scorer) -> Deployment:
    """Read the policies and check that they fit.

    Raises:
        PolicyError: the default policy, or one that the config names, is wrong or does not fit the scorer.
    """
    policy = load_policy(config.policy)
    policy.check(scorer.categories, scorer.name)
    policies: dict[str, Policy] = {}
    for name in packaged_policies():
        packaged = load_policy(name)
        try:
            packaged.check(scorer.categories, scorer.name)
        except PolicyError:
            # Of another model; nobody asked for it.
            continue
        policies[packaged.id] = packaged
    for path in config.policies:
        named = load_policy(path)
        named.check(scorer.categories, scorer.name)
        policies[named.id] = named
    policies[policy.id] = policy
    openai, perspective = (load_rules(wire, scorer.categories) for wire in ("openai", "perspective"))
    return Deployment(scorer, policy, policies, openai, perspective)
