"""Thresholds within a bound on false positives, and the policies written from them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.core.policy import parse_policy
from gooseguard.training.thresholds import GOALS, PolicyGoal, Rate, choose, policy_toml, round_up

NEGATIVES = [0.9, 0.7, 0.7, 0.6, *[0.1] * 16]
POSITIVES = [0.95, 0.9, 0.65, 0.2]


def chosen(negatives, positives, bound, ordinary=None):
    scores = np.array([*negatives, *positives], np.float64)
    positive = np.arange(len(scores)) >= len(negatives)
    return choose(scores, positive, ordinary or {}, bound)


@pytest.mark.parametrize(
    ("bound", "threshold", "fpr", "recall"),
    [
        # Of 20 negatives none may be flagged: just above 0.9. A positive of 0.9 is lost with it.
        (0.01, 0.9001, 0.0, 0.25),
        # One may: just above the second largest, whose tie is of two.
        (0.05, 0.7001, 0.05, 0.5),
        # Two may, but the tie goes together: as before.
        (0.10, 0.7001, 0.05, 0.5),
        # Three: the tie is in, 0.6 is out.
        (0.15, 0.6001, 0.15, 0.75),
        # Four: above the sixteen.
        (0.20, 0.1001, 0.20, 1.0),
        (1.00, 0.0, 1.0, 1.0),
    ],
)
def test_worked_example_with_ties(bound, threshold, fpr, recall):
    rate = chosen(NEGATIVES, POSITIVES, bound)
    assert rate.threshold == pytest.approx(threshold, abs=1e-12)
    assert rate.fpr == pytest.approx(fpr)
    assert rate.recall == pytest.approx(recall)


def test_fewer_negatives_than_one_over_the_bound_lets_none_through():
    rate = chosen([0.3, 0.123456], [0.3, 0.8], 0.4)
    assert (rate.threshold, rate.fpr, rate.recall) == (0.3001, 0.0, 0.5)


def test_shares_of_ordinary_text():
    ordinary = {"forum": np.array([0.7001, 0.7, 0.1, 0.9]), "letters": np.zeros(0)}
    # 0.7001 itself counts: thresholds are inclusive. A source without rows says nothing, not 0.
    assert chosen(NEGATIVES, POSITIVES, 0.05, ordinary).ordinary == {"forum": 0.5}


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.floats(0, 0.9999), min_size=1, max_size=60),
    st.lists(st.floats(0, 1), min_size=1, max_size=20),
    st.sampled_from([0.005, 0.01, 0.05, 0.1, 0.5]),
)
def test_the_bound_holds_after_rounding_and_in_the_file(negatives, positives, bound):
    rate = chosen(negatives, positives, bound)
    assert rate.fpr <= bound
    assert 0 <= rate.threshold <= 1
    written = float(f"{rate.threshold:.4f}")
    assert written == rate.threshold
    assert np.mean(np.array(negatives) >= written) == rate.fpr


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(20, 200), st.sampled_from([0.01, 0.05, 0.1]))
def test_no_smaller_threshold_keeps_the_bound(seed, n, bound):
    negatives = np.random.default_rng(seed).uniform(0, 0.99, n)
    rate = chosen(negatives, [0.5], bound)
    assert np.mean(negatives >= rate.threshold - 1e-4) > bound


@pytest.mark.parametrize(
    ("value", "rounded"), [(0.12341, 0.1235), (0.1234, 0.1234), (0.99991, 1.0), (1.5, 1.0), (0.0, 0.0)]
)
def test_round_up(value, rounded):
    assert round_up(value) == rounded


def rate_of(threshold, fpr=0.04, recall=0.5, **ordinary):
    return Rate(threshold, fpr, recall, ordinary)


def test_a_policy_parses_and_says_how_it_came_about():
    rates = {
        "toxicity": (rate_of(0.25, 0.05, 0.8, forum=0.0123), rate_of(0.5, 0.01, 0.6)),
        "hate/threatening": (rate_of(0.1), rate_of(0.9)),
    }
    text = policy_toml(GOALS[0], "2026.11", "tiny", rates)
    policy = parse_policy(text, "policy")
    assert (policy.id, policy.version) == ("default", "2026.11")
    assert {name: (t.review, t.block) for name, t in policy.thresholds.items()} == {
        "toxicity": (0.25, 0.5),
        "hate/threatening": (0.1, 0.9),
    }
    assert text.startswith("# A balance: people look at what is flagged.\n# Written by `gooseguard train`")
    assert "flags at most 5.0% (review) or 1.0% (block)" in text
    assert "at most 3.0% or\n# 0.3% of each source of ordinary text" in text
    assert "validation rows of tiny." in text
    assert (
        "# review: FPR 5.00%, recall 80.0%, ordinary forum 1.23%; block: FPR 1.00%, recall 60.0%\n"
        '[thresholds."toxicity"]\n'
    ) in text
    assert max(map(len, text.splitlines())) < 120


def test_review_is_never_above_block():
    # A block bound that is looser than the review bound would turn them round.
    goal = PolicyGoal("odd", 0.01, 0.05, 1.0, 1.0, "a test")
    policy = parse_policy(policy_toml(goal, "1", "tiny", {"hate": (rate_of(0.8), rate_of(0.3))}), "policy")
    assert policy.thresholds["hate"].review == policy.thresholds["hate"].block == 0.8


def test_ordinary_text_bounds_a_threshold_that_annotated_negatives_leave_low():
    negatives, ordinary = np.linspace(0, 0.19, 20), np.linspace(0, 0.99, 100)
    scores, positive = np.append(negatives, 0.9), np.append(np.zeros(20, bool), True)
    # One of 20 negatives may reach it: above 0.18. Three of 100 ordinary texts may: above the fourth, 0.96.
    assert choose(scores, positive, {"forum": ordinary}, 0.05).threshold == pytest.approx(0.18, abs=2e-4)
    bounded = choose(scores, positive, {"forum": ordinary}, 0.05, 0.03)
    assert bounded.threshold == pytest.approx(0.96, abs=2e-4)
    assert bounded.ordinary == {"forum": 0.03}
    assert bounded.recall == 0.0


def test_goals_are_ordered_and_block_is_the_stricter():
    assert [goal.id for goal in GOALS] == ["default", "strict", "lenient"]
    fpr = {goal.id: goal.review_fpr for goal in GOALS}
    assert fpr["lenient"] < fpr["default"] < fpr["strict"]
    assert all(goal.block_fpr < goal.review_fpr for goal in GOALS)
    assert all(goal.block_ordinary < goal.review_ordinary for goal in GOALS)
    assert math.isclose(fpr["default"], 0.05)
