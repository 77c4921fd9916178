"""decide(): inclusive thresholds, the hardest action wins, a missing score is never an allow."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.core.content import Modality
from gooseguard.core.errors import PolicyError
from gooseguard.core.policy import Policy, Threshold
from gooseguard.core.scorer import Scores
from gooseguard.core.taxonomy import load_taxonomy
from gooseguard.core.verdict import Action, decide

TEXT = frozenset({Modality.TEXT})
IMAGE = frozenset({Modality.IMAGE})


def policy(unscored=(), **thresholds):
    table = {name: Threshold(review, block) for name, (review, block) in thresholds.items()}
    return Policy("p", "3", table, {}, frozenset(unscored))


@pytest.mark.parametrize(
    ("score", "action", "flagged"),
    [
        (0.0, "allow", False),
        (math.nextafter(0.5, 0), "allow", False),
        (0.5, "review", True),
        (math.nextafter(0.9, 0), "review", True),
        (0.9, "block", True),
        (1.0, "block", True),
    ],
)
def test_thresholds_are_inclusive(score, action, flagged):
    verdict = decide(Scores({"insult": score}, "m@0"), policy(insult=(0.5, 0.9)))
    assert verdict.action == action
    assert verdict.flagged == {"insult": flagged}
    assert verdict.is_flagged is flagged


def test_equal_thresholds_block_at_once_and_0_blocks_everything():
    assert decide(Scores({"insult": 0.5}, "m@0"), policy(insult=(0.5, 0.5))).action is Action.BLOCK
    assert decide(Scores({"insult": 0.0}, "m@0"), policy(insult=(0.0, 0.0))).action is Action.BLOCK


def test_a_threshold_of_1_still_acts_on_a_score_of_1():
    verdict = decide(Scores({"insult": 1.0}, "m@0"), policy(insult=(1.0, 1.0)))
    assert verdict.action is Action.BLOCK


def test_the_hardest_action_of_any_category_wins_in_any_order():
    values = {"insult": 0.6, "threat": 0.95, "spam": 0.1}
    names = dict.fromkeys(values, (0.5, 0.9))
    for order in (list(names), list(reversed(names))):
        verdict = decide(Scores(values, "m@0"), policy(**{name: names[name] for name in order}))
        assert verdict.action is Action.BLOCK
        assert verdict.flagged == {"insult": True, "threat": True, "spam": False}


def test_a_missing_score_asks_for_review_and_flags_nothing():
    verdict = decide(Scores({"insult": None}, "m@0"), policy(insult=(0.5, 0.9)))
    assert verdict.action is Action.REVIEW
    assert verdict.flagged == {"insult": False}
    assert not verdict.is_flagged


def test_a_missing_score_does_not_soften_a_block():
    values = {"threat": 0.95, "insult": None}
    for order in (("threat", "insult"), ("insult", "threat")):
        thresholds = dict.fromkeys(order, (0.5, 0.9))
        assert decide(Scores(values, "m@0"), policy(**thresholds)).action is Action.BLOCK


def test_a_missing_score_of_a_category_that_applies_to_no_part_is_no_reason_for_review():
    # `insult` is found in words, `hate` in pictures too.
    assert "image" not in load_taxonomy()["insult"].modalities
    assert "image" in load_taxonomy()["hate"].modalities
    none = Scores({"insult": None, "hate": None}, "m@0")
    assert decide(none, policy(insult=(0.5, 0.9)), IMAGE).action is Action.ALLOW
    assert decide(none, policy(hate=(0.5, 0.9)), IMAGE).action is Action.REVIEW
    assert decide(none, policy(insult=(0.5, 0.9)), TEXT).action is Action.REVIEW
    assert decide(none, policy(insult=(0.5, 0.9)), IMAGE | TEXT).action is Action.REVIEW


def test_an_absent_category_is_an_error_unless_the_policy_calls_it_unscored():
    scores = Scores({"insult": 0.1}, "m@0")
    with pytest.raises(PolicyError, match="policy p@3: m@0 gave no score for 'threat'"):
        decide(scores, policy(insult=(0.5, 0.9), threat=(0.5, 0.9)))
    verdict = decide(scores, policy(["threat"], insult=(0.5, 0.9), threat=(0.5, 0.9)))
    assert verdict.action is Action.ALLOW
    assert verdict.flagged == {"insult": False}


def test_unscored_excuses_absence_but_neither_a_score_nor_a_none():
    unscored = policy(["threat"], threat=(0.5, 0.9))
    assert decide(Scores({"threat": 0.95}, "m@0"), unscored).action is Action.BLOCK
    assert decide(Scores({"threat": None}, "m@0"), unscored).action is Action.REVIEW


def test_a_category_without_threshold_never_acts():
    verdict = decide(Scores({"insult": 0.1, "spam": 1.0, "hate": None}, "m@0"), policy(insult=(0.5, 0.9)))
    assert verdict.action is Action.ALLOW
    assert verdict.flagged == {"insult": False}


def test_an_operators_own_category_without_score_asks_for_review():
    own = Policy("p", "3", {"off-topic": Threshold(0.5, 0.9)})
    assert decide(Scores({"off-topic": None}, "m@0"), own, TEXT).action is Action.REVIEW


def test_names_policy_and_carries_scores_and_rationale():
    scores = Scores({"insult": 0.7}, "m@0", rationale="it calls a person a moron")
    verdict = decide(scores, policy(insult=(0.5, 0.9)))
    assert verdict.policy == "p@3"
    assert verdict.scores is scores
    assert verdict.rationale == "it calls a person a moron"


HARDNESS = ["allow", "review", "block"]
unit = st.floats(0, 1)
bounds = st.tuples(unit, unit).map(sorted)
categories = st.sampled_from(list(load_taxonomy()))
cases = st.dictionaries(categories, st.tuples(bounds, st.none() | unit), min_size=1, max_size=5)


def independent(case):
    """Hardness by definition: for each category apart, then the largest."""
    steps = [
        1 if score is None else sum(score >= bound for bound in (review, block))
        for (review, block), score in case.values()
    ]
    return HARDNESS[max(steps)]


def verdict_of(case):
    scores = Scores({name: score for name, (_, score) in case.items()}, "m@0")
    return decide(scores, policy(**{name: tuple(bound) for name, (bound, _) in case.items()}), TEXT)


@given(cases)
@settings(deadline=None, max_examples=200)
def test_agrees_with_the_definition(case):
    assert verdict_of(case).action == independent(case)


@given(cases, st.data())
@settings(deadline=None)
def test_a_higher_score_never_gives_a_milder_action(case, data):
    category = data.draw(st.sampled_from(sorted(case)))
    bound, score = case[category]
    higher = {**case, category: (bound, data.draw(st.floats(score or 0, 1)))}
    if score is not None:
        before, after = verdict_of(case).action, verdict_of(higher).action
        assert HARDNESS.index(after) >= HARDNESS.index(before)


@given(cases, st.data())
@settings(deadline=None)
def test_losing_a_score_never_gives_an_allow(case, data):
    category = data.draw(st.sampled_from(sorted(case)))
    assert verdict_of({**case, category: (case[category][0], None)}).action is not Action.ALLOW
