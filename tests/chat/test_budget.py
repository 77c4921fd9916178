"""Costs: by hand, never above the budget, from many threads."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from gooseguard.chat.budget import Ledger, Prices, most_prompt_tokens
from gooseguard.core.errors import ConfigError, EngineError


def test_cost_by_hand():
    # 2,000 at 3 a million and 500 at 15 a million: 0.006 + 0.0075.
    assert Prices(3, 15).of(2000, 500) == pytest.approx(0.0135, rel=1e-12)


def test_a_prompt_has_at_most_as_many_tokens_as_bytes():
    # 2 bytes of é, 4 of the goose, and 16 for each of two messages.
    assert most_prompt_tokens([{"content": "é"}, {"content": "🪿"}]) == 38


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": -1}, "price of prompt tokens is -1, expected at least 0"),
        ({"completion": float("nan")}, "price of completion tokens is nan"),
        ({"prompt": 1, "budget": 0}, "budget is 0, expected more than 0"),
        ({"budget": 5}, "a budget needs prices"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Prices(**options)


def test_what_is_under_way_counts_and_what_failed_does_not():
    ledger = Ledger(Prices(1e6, 1e6, budget=10))
    ledger.reserve(6)
    with pytest.raises(EngineError, match=r"budget of 10 is used up: 0 spent, 6 set aside"):
        ledger.reserve(5)
    ledger.settle(6, None, was_answered=False)
    assert ledger.spent == 0
    ledger.reserve(9)
    ledger.settle(9, (2, 1), was_answered=True)
    assert ledger.spent == 3
    assert (ledger.n_prompt_tokens, ledger.n_completion_tokens) == (2, 1)
    ledger.reserve(5)
    # The endpoint did not count: it may have cost the most.
    ledger.settle(5, None, was_answered=True)
    assert ledger.spent == 8


def test_many_threads_do_not_overspend():
    ledger = Ledger(Prices(1e6, 1e6, budget=100))

    def spend(_):
        try:
            ledger.reserve(3)
        except EngineError:
            return 0
        ledger.settle(3, (2, 1), was_answered=True)
        return 3

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(spend, range(200))) == ledger.spent == 99
