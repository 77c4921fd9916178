"""Splits: shares, order, held-out keys."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.core.errors import ConfigError
from gooseguard.data.dedup import dedup_form, dedup_key, near_duplicate_clusters
from gooseguard.data.split import assign_splits

KEYS = [dedup_key(f"text {index}") for index in range(20_000)]
ALONE = np.arange(len(KEYS))


def test_shares_are_as_asked():
    splits = assign_splits(KEYS, ALONE, 0.10, 0.12)
    # Three standard deviations of a binomial share of 20,000 are at most 0.007.
    assert abs(splits.count("val") / len(KEYS) - 0.10) < 0.007
    assert abs(splits.count("test") / len(KEYS) - 0.12) < 0.007


def test_another_seed_splits_otherwise():
    assert assign_splits(KEYS, ALONE, seed=1) != assign_splits(KEYS, ALONE, seed=2)


def test_another_val_share_leaves_test_alone():
    tests = [
        [split == "test" for split in assign_splits(KEYS, ALONE, val_fraction=fraction)]
        for fraction in (0.0, 0.3)
    ]
    assert tests[0] == tests[1]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.randoms(use_true_random=False), st.data())
def test_clusters_stay_whole_and_order_does_not_matter(clusters, shuffler, data):
    keys = KEYS[: len(clusters)]
    held_out = data.draw(st.sets(st.sampled_from(keys)))
    splits = dict(
        zip(keys, assign_splits(keys, np.array(clusters), 0.3, 0.3, held_out=held_out), strict=True)
    )
    of_cluster = {}
    for key, cluster in zip(keys, clusters, strict=True):
        of_cluster.setdefault(cluster, set()).add(splits[key])
    assert all(len(found) == 1 for found in of_cluster.values())
    assert all(splits[key] == "test" for key in held_out)
    order = list(range(len(keys)))
    shuffler.shuffle(order)
    # Clusters may carry other numbers, too.
    again = assign_splits(
        [keys[i] for i in order], np.array([99 - clusters[i] for i in order]), 0.3, 0.3, 0, held_out
    )
    assert again == [splits[keys[i]] for i in order]


def test_texts_added_beside_move_nothing():
    few = assign_splits(KEYS[:100], ALONE[:100])
    assert assign_splits(KEYS[:5000], ALONE[:5000])[:100] == few


def test_near_duplicates_are_never_apart():
    generator = np.random.default_rng(0)
    words = np.array([f"w{index}" for index in range(300)])
    texts = []
    for _ in range(300):
        text = generator.choice(words, 14)
        texts.append(" ".join(text))
        text[int(generator.integers(14))] = "goose"
        texts.append(" ".join(text))
    clusters = near_duplicate_clusters([dedup_form(text) for text in texts])
    splits = assign_splits([dedup_key(text) for text in texts], clusters, 0.33, 0.33)
    shingles = [{text[at : at + 5] for at in range(len(text) - 4)} for text in texts]
    apart = [
        (i, j)
        for i in range(len(texts))
        for j in range(i)
        if splits[i] != splits[j] and len(shingles[i] & shingles[j]) >= 0.6 * len(shingles[i] | shingles[j])
    ]
    assert apart == []
    assert {splits.count(name) > 100 for name in ("train", "val", "test")} == {True}


@pytest.mark.parametrize("fractions", [(-0.1, 0.1), (0.1, 1.0), (0.5, 0.5), (float("nan"), 0.1)])
def test_refuses_shares_that_are_none(fractions):
    with pytest.raises(ConfigError, match="expected"):
        assign_splits(["a"], np.zeros(1, np.int64), *fractions)
