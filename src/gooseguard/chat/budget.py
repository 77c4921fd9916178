"""What requests cost, and that they never cost more than was allowed. Knows nothing of HTTP."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gooseguard.core.errors import ConfigError, EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MESSAGE_TOKENS = 16
"""More than any chat template adds to a message."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What tokens cost, in one currency, and how much may be spent."""

    prompt: float = 0.0
    """A million prompt tokens."""
    completion: float = 0.0
    """A million tokens of the answer."""
    budget: float | None = None
    """Most that all requests of a client together may cost; None sets no bound."""

    def __post_init__(self) -> None:
        for name in ("prompt", "completion"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"price of {name} tokens is {getattr(self, name)}, expected at least 0")
        if self.budget is not None and not self.budget > 0:
            raise ConfigError(f"budget is {self.budget}, expected more than 0, or none")
        if self.budget is not None and self.prompt == self.completion == 0:
            raise ConfigError("a budget needs prices; set those of prompt and completion tokens")

    def of(self, n_prompt: int, n_completion: int) -> float:
        """Give the cost of a request."""
        return (n_prompt * self.prompt + n_completion * self.completion) / 1e6


def most_prompt_tokens(messages: Sequence[Mapping[str, str]]) -> int:
    """Bound the tokens of a prompt: no tokenizer in use makes more tokens of a text than it has bytes."""
    return sum(MESSAGE_TOKENS + len(message["content"].encode()) for message in messages)


class Ledger:
    """Keeps what was spent; safe to use from several threads."""

    def __init__(self, prices: Prices) -> None:
        self.prices = prices
        self.n_prompt_tokens = self.n_completion_tokens = 0
        """As the endpoint counted them."""
        self._spent = self._reserved = 0.0
        self._lock = threading.Lock()

    @property
    def spent(self) -> float:
        """Give what all requests so far cost."""
        return self._spent

    def reserve(self, most: float) -> None:
        """Set aside the most that a request can cost, before it is sent.

        Raises:
            EngineError: it could exceed the budget.
        """
        with self._lock:
            budget = self.prices.budget
            if budget is not None and self._spent + self._reserved + most > budget:
                raise EngineError(
                    f"the budget of {budget:g} is used up: {self._spent:.4g} spent, {self._reserved:.4g} set "
                    f"aside for requests under way, the next may cost {most:.4g}; raise the budget to go on"
                )
            self._reserved += most

    def settle(self, most: float, usage: tuple[int, int] | None, *, was_answered: bool) -> None:
        """Replace what was set aside by the cost; an answer without token counts costs the most it can."""
        with self._lock:
            self._reserved -= most
            if usage is not None:
                self.n_prompt_tokens += usage[0]
                self.n_completion_tokens += usage[1]
                self._spent += self.prices.of(*usage)
            elif was_answered:
                self._spent += most
