import math

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from gooseguard.core.errors import DataError
from gooseguard.metrics.resampling import (
    HeadlineRanking,
    auc_difference,
    auc_interval,
    bootstrap,
    estimate,
    mean_headline_difference,
    percentile_interval,
    resample_weights,
    wilson_interval,
)

NAN = float("nan")


def rows(generator, n, shift):
    labels = (generator.random(n) < 0.4).astype(float)
    return labels, generator.normal(size=n) + shift * labels


def test_resamples_draw_as_many_rows_of_each_stratum_as_it_holds():
    strata = np.array(["a", "b", "a", "c", "b", "a"])
    weights = np.concatenate(list(resample_weights(strata, 500, np.random.default_rng(0))))
    assert weights.shape == (500, 6)
    for name, size in (("a", 3), ("b", 2), ("c", 1)):
        np.testing.assert_array_equal(weights[:, strata == name].sum(axis=1), size)
    # Each row of a stratum of size m is drawn Binomial(m, 1/m) times: mean 1, variance 1 - 1/m.
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.15)
    np.testing.assert_allclose(weights.var(axis=0), [2 / 3, 1 / 2, 2 / 3, 0, 1 / 2, 2 / 3], atol=0.1)


def test_resamples_repeat_with_the_seed():
    first, second, other = (
        np.concatenate(list(resample_weights(np.zeros(50), 20, np.random.default_rng(seed))))
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_bootstrap_of_a_mean_has_its_standard_error():
    values = np.random.default_rng(0).normal(size=400)
    draws = bootstrap(
        lambda w: (w @ values / w.sum(axis=1))[:, None], np.zeros(400), np.random.default_rng(1), 2000
    )
    assert draws.shape == (2000, 1)
    assert draws.std() == pytest.approx(values.std() / 20, rel=0.06)
    with pytest.raises(DataError, match="0 resamples"):
        bootstrap(lambda w: w, np.zeros(3), np.random.default_rng(0), 0)


def test_percentile_interval_leaves_out_resamples_of_one_class():
    assert percentile_interval(np.array([NAN, *range(101)]), 0.9) == pytest.approx((5, 95))
    assert all(math.isnan(end) for end in percentile_interval(np.array([NAN, NAN])))
    assert math.isnan(estimate(NAN, np.arange(3.0)).low)


def test_auc_interval_equals_a_plain_bootstrap():
    labels, scores = rows(np.random.default_rng(5), 300, 1.0)
    found = auc_interval(labels, scores, np.random.default_rng(0), 1000)
    generator = np.random.default_rng(1)
    plain = []
    for _ in range(400):
        drawn = generator.integers(300, size=300)
        plain.append(roc_auc_score(labels[drawn], scores[drawn]))
    assert found.value == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    np.testing.assert_allclose((found.low, found.high), np.quantile(plain, (0.025, 0.975)), atol=0.01)


def test_difference_is_paired():
    labels, scores = rows(np.random.default_rng(5), 500, 1.0)
    same = auc_difference(labels, scores, scores * 3 + 1, np.random.default_rng(0), 100)
    # The same ranking: no difference on any resample, though each AUC has an interval.
    assert (same.value, same.low, same.high) == (0, 0, 0)
    noise = np.random.default_rng(6).normal(size=500)
    worse = auc_difference(labels, scores, noise, np.random.default_rng(0), 300)
    assert worse.low > 0.1


def test_difference_uses_rows_that_both_scored():
    labels, scores = rows(np.random.default_rng(5), 200, 1.0)
    other = scores.copy()
    other[:100] = NAN
    found = auc_difference(labels, scores, other, np.random.default_rng(0), 50)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_headline_ranking():
    generator = np.random.default_rng(2)
    labels, scores = rows(generator, 600, 0.8)
    sources = np.repeat(["a", "b", "c"], [300, 280, 20])
    ranking = HeadlineRanking.build(labels, scores, sources)
    assert ranking.sources == ("a", "b")
    expected = [roc_auc_score(labels[sources == name], scores[sources == name]) for name in "ab"]
    np.testing.assert_allclose(ranking.aucs(np.ones((1, 600)))[0], expected, atol=1e-12)
    np.testing.assert_allclose(ranking.headline(np.ones((1, 600))), [np.mean(expected)], atol=1e-12)
    nothing = HeadlineRanking.build(labels, scores, sources, min_class=1000)
    assert np.isnan(nothing.headline(np.ones((2, 600)))).all()


def test_mean_over_categories_shares_rows():
    labels, scores = rows(np.random.default_rng(2), 800, 0.8)
    sources = np.repeat(["a", "b"], 400)
    one = mean_headline_difference(
        labels[:, None], scores[:, None], None, sources, np.random.default_rng(0), 200
    )
    # Three copies of one category carry no more information than one: the interval must not shrink.
    copies = [np.repeat(array[:, None], 3, axis=1) for array in (labels, scores)]
    three = mean_headline_difference(*copies, None, sources, np.random.default_rng(0), 200)
    assert (one.low, one.value, one.high) == pytest.approx((three.low, three.value, three.high), abs=1e-12)
    expected = np.mean([roc_auc_score(labels[sources == s], scores[sources == s]) for s in "ab"])
    assert one.value == pytest.approx(expected, abs=1e-12)


def test_mean_leaves_out_categories_without_a_headline():
    labels, scores = rows(np.random.default_rng(2), 400, 0.8)
    sources = np.repeat("a", 400)
    pair = np.stack((labels, np.full(400, NAN)), axis=1), np.stack((scores, scores), axis=1)
    found = mean_headline_difference(*pair, pair[1] * 2, sources, np.random.default_rng(0), 20)
    assert (found.value, found.low, found.high) == (0, 0, 0)
    empty = mean_headline_difference(
        np.full((4, 1), NAN), np.zeros((4, 1)), None, sources[:4], np.random.default_rng(0)
    )
    assert math.isnan(empty.value)


@pytest.mark.parametrize(("n_hits", "n"), [(0, 10), (10, 10), (3, 10), (1, 1000), (500, 1000)])
def test_wilson_interval_agrees_with_scipy(n_hits, n):
    found = wilson_interval(n_hits, n)
    expected = binomtest(n_hits, n).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert found.value == n_hits / n


def test_wilson_interval_without_rows():
    assert math.isnan(wilson_interval(0, 0).value)
    with pytest.raises(DataError, match="3 rows among 2"):
        wilson_interval(3, 2)
