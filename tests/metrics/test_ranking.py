import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from sklearn.metrics import precision_recall_curve as reference_curve

from gooseguard.core.errors import DataError
from gooseguard.metrics.ranking import (
    Ranking,
    average_precision,
    grouped_auc,
    precision_recall_curve,
    rates_at_threshold,
    recall_at_fpr,
    roc_auc,
    sources_with_both_classes,
    threshold_of_best_f1,
)

NAN = float("nan")

# Few distinct scores, so that most draws hold ties.
ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=2, max_size=60).filter(
    lambda rows: len({label for label, _ in rows}) == 2
)


def columns(rows):
    labels, scores = np.array(rows, dtype=float).T
    return labels, scores / 5


def test_auc_known_value():
    # Pairs (positive, negative): .9>.8, .9>.2, .9>.1, .3<.8, .3>.2, .3>.1 -> 5 of 6.
    assert roc_auc(np.array([1, 0, 1, 0, 0.0]), np.array([0.9, 0.8, 0.3, 0.2, 0.1])) == pytest.approx(5 / 6)


def test_ties_count_half():
    assert roc_auc(np.array([1, 0.0]), np.array([0.4, 0.4])) == 0.5
    # .7 beats .4, ties .7: 1.5 of 2.
    assert roc_auc(np.array([1, 0, 0.0]), np.array([0.7, 0.7, 0.4])) == 0.75


def test_average_precision_known_value():
    # Recall rises by 1/2 at precision 1, then by 1/2 at precision 2/3.
    assert average_precision(np.array([1, 0, 1.0]), np.array([0.9, 0.8, 0.3])) == pytest.approx(
        0.5 + 0.5 * 2 / 3
    )


@pytest.mark.parametrize("metric", [roc_auc, average_precision, lambda y, s: recall_at_fpr(y, s, 0.1)])
@pytest.mark.parametrize(
    ("labels", "scores"),
    [([], []), ([1, 1], [0.2, 0.4]), ([0, 0], [0.2, 0.4]), ([NAN, 1], [0.2, 0.4]), ([0, 1], [NAN, 0.4])],
)
def test_no_data_or_one_class_is_nan(metric, labels, scores):
    assert math.isnan(metric(np.array(labels, dtype=float), np.array(scores, dtype=float)))


@settings(deadline=None, max_examples=60)
@given(ROWS)
def test_agrees_with_scikit_learn(rows):
    labels, scores = columns(rows)
    assert roc_auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(labels, scores) == pytest.approx(
        average_precision_score(labels, scores), abs=1e-12
    )
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    for bound in (0.01, 0.2, 0.5):
        assert recall_at_fpr(labels, scores, bound) == pytest.approx(tpr[fpr <= bound].max(), abs=1e-12)
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    expected = reference_curve(labels, scores)
    for found, other in zip((precision, recall, thresholds), expected, strict=True):
        # scikit-learn runs from the lowest score up, and ends with an artificial point (1, 0).
        np.testing.assert_allclose(found, other[: found.size][::-1], atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(ROWS, st.randoms(use_true_random=False))
def test_order_and_unknown_rows_do_not_matter(rows, random):
    labels, scores = columns(rows)
    shuffled = [*rows]
    random.shuffle(shuffled)
    other_labels, other_scores = columns(shuffled)
    other_labels = np.concatenate((other_labels, [NAN, 1, 0]))
    other_scores = np.concatenate((other_scores, [0.9, NAN, NAN]))
    for metric in (roc_auc, average_precision):
        assert metric(labels, scores) == pytest.approx(metric(other_labels, other_scores), abs=1e-12)
    found, other = (
        rates_at_threshold(*each, 0.4) for each in ((labels, scores), (other_labels, other_scores))
    )
    assert asdict(found) == pytest.approx(asdict(other), nan_ok=True)


@settings(deadline=None, max_examples=40)
@given(ROWS, st.data())
def test_weights_equal_repeated_rows(rows, data):
    labels, scores = columns(rows)
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows))))
    repeated = np.repeat(labels, weights), np.repeat(scores, weights)
    tally = Ranking.build(labels, scores).tally(np.stack((weights, np.ones_like(weights))))
    np.testing.assert_allclose(tally.roc_auc(), [roc_auc(*repeated), roc_auc(labels, scores)], atol=1e-12)
    np.testing.assert_allclose(
        tally.average_precision(),
        [average_precision(*repeated), average_precision(labels, scores)],
        atol=1e-12,
    )
    np.testing.assert_allclose(
        tally.recall_at_fpr(0.3),
        [recall_at_fpr(*repeated, 0.3), recall_at_fpr(labels, scores, 0.3)],
        atol=1e-12,
    )


def test_threshold_is_inclusive():
    # At .5: TP .5, FP .5, FN .4, TN .1.
    rates = rates_at_threshold(np.array([1, 0, 1, 0.0]), np.array([0.5, 0.5, 0.4, 0.1]), 0.5)
    assert (rates.fpr, rates.fnr, rates.precision, rates.recall, rates.f1) == (0.5, 0.5, 0.5, 0.5, 0.5)


def test_rates_without_a_denominator_are_nan():
    rates = rates_at_threshold(np.array([0, 0.0]), np.array([0.9, 0.1]), 0.5)
    assert rates.fpr == 0.5
    assert rates.precision == 0
    assert math.isnan(rates.fnr)
    assert math.isnan(rates.recall)
    assert math.isnan(rates.f1)
    nothing_flagged = rates_at_threshold(np.array([0, 1.0]), np.array([0.1, 0.2]), 0.5)
    assert math.isnan(nothing_flagged.precision)
    assert nothing_flagged.f1 == 0


def test_soft_labels_count_from_one_half():
    assert roc_auc(np.array([0.5, 0.49]), np.array([0.9, 0.1])) == 1


def test_threshold_of_best_f1():
    labels, scores = np.array([1, 1, 0, 1, 0.0]), np.array([0.9, 0.8, 0.7, 0.6, 0.1])
    # Flagging from .6 up: precision 3/4, recall 1, F1 6/7; from .8 up: F1 4/5.
    assert threshold_of_best_f1(labels, scores) == 0.6
    assert math.isnan(threshold_of_best_f1(np.ones(2), np.ones(2)))


def test_headline_cannot_be_earned_by_telling_sources_apart():
    # Source a is mostly positive, b mostly negative; the score knows the source only.
    sources = np.array(["a"] * 100 + ["b"] * 100)
    labels = np.array([1] * 60 + [0] * 40 + [1] * 40 + [0] * 60, dtype=float)
    scores = np.where(sources == "a", 0.9, 0.1)
    found = grouped_auc(labels, scores, sources)
    assert found.headline == 0.5
    assert dict(found.by_source) == {"a": 0.5, "b": 0.5}
    # 60 of 100 positives and 40 of 100 negatives are high: .6 * .6 + (.6 * .4 + .4 * .6) / 2.
    assert found.pooled == pytest.approx(0.6)


def test_headline_is_an_unweighted_mean_of_large_enough_sources():
    generator = np.random.default_rng(0)
    sources = np.array(["big"] * 400 + ["small"] * 60 + ["short of positives"] * 59)
    labels = np.tile([1.0, 0.0], 300)[: sources.size]
    labels[-1] = 0
    scores = generator.random(sources.size)
    assert sources_with_both_classes(labels, sources) == ["big", "small"]
    found = grouped_auc(labels, scores, sources)
    expected = [roc_auc_score(labels[sources == name], scores[sources == name]) for name in ("big", "small")]
    assert found.headline == pytest.approx(np.mean(expected), abs=1e-12)
    assert math.isnan(grouped_auc(labels, scores, sources, min_class=1000).headline)


def test_lengths_must_agree():
    with pytest.raises(DataError, match=r"labels \(2,\), scores \(3,\)"):
        roc_auc(np.zeros(2), np.zeros(3))
