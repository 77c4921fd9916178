"""What becomes of rows: nothing moves, nothing leaks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.data.assign import (
    BRIDGE,
    FREE,
    HELD_OUT,
    NEAR,
    KeyList,
    count_outcomes,
    fixed_outcomes,
    own_splits,
    settle,
)
from gooseguard.data.split import assign_splits, split_point

TRAIN, VAL, TEST = 0, 1, 2


def settled(own, pairs, fixed=None, *, keeps_near=True):
    outcome = np.array(own, np.int16)
    fixed = np.full(len(own), FREE, np.int16) if fixed is None else np.array(fixed, np.int16)
    outcome = np.where(fixed == FREE, outcome, fixed)
    cluster = settle(outcome, fixed, np.array(pairs, np.int64).reshape(-1, 2).T, keeps_near=keeps_near)
    return outcome.tolist(), cluster.tolist()


def test_a_row_follows_its_oldest_neighbour():
    # 1 is near 0, 2 near 1: all go where 0 goes, though 1 and 2 alone would go elsewhere.
    assert settled([TEST, TRAIN, VAL, TRAIN], [(0, 1), (1, 2)]) == ([TEST, TEST, TEST, TRAIN], [0, 0, 0, 3])


def test_a_row_between_two_splits_is_dropped_and_joins_nothing():
    outcome, cluster = settled([TRAIN, TEST, TRAIN, VAL], [(0, 2), (1, 2), (2, 3)])
    # 3 is near the dropped row alone, so that it stays where its own key falls.
    assert (outcome, cluster) == ([TRAIN, TEST, BRIDGE, VAL], [0, 1, 2, 3])


def test_a_row_between_two_clusters_of_one_split_joins_them():
    assert settled([VAL, VAL, TRAIN], [(0, 2), (1, 2)]) == ([VAL, VAL, VAL], [0, 0, 0])


def test_near_duplicates_are_dropped_where_the_recipe_says_so():
    # 2 is near 1 only, which is gone: nothing is left that it repeats.
    outcome, _ = settled([TRAIN, TRAIN, TEST], [(0, 1), (1, 2)], keeps_near=False)
    assert outcome == [TRAIN, NEAR, TEST]


def test_what_is_near_a_held_out_text_is_held_out_too():
    outcome, _ = settled([TRAIN, TRAIN, TRAIN], [(0, 1), (1, 2)], [HELD_OUT + 1, FREE, FREE])
    # Near a row that was dropped is not near the held-out text.
    assert outcome == [HELD_OUT + 1, HELD_OUT + 1, TRAIN]
    names = {0: "other", 1: "suite"}
    assert count_outcomes(np.array(outcome), names) == {"held_out/suite": 2}


@settings(deadline=None, max_examples=200)
@given(
    own=st.lists(st.sampled_from([TRAIN, VAL, TEST]), min_size=2, max_size=12),
    raw=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=25),
    keeps_near=st.booleans(),
)
def test_nothing_moves_and_nothing_leaks(own, raw, keeps_near):
    pairs = sorted({(min(p), max(p)) for p in raw if p[0] != p[1] and max(p) < len(own)})
    outcome, cluster = settled(own, pairs, keeps_near=keeps_near)
    for a, b in pairs:
        if outcome[a] <= TEST and outcome[b] <= TEST:
            assert outcome[a] == outcome[b]
            assert cluster[a] == cluster[b]
    # Without the youngest row, everything else is as it was.
    older = [(a, b) for a, b in pairs if b < len(own) - 1]
    assert settled(own[:-1], older, keeps_near=keeps_near)[0] == outcome[:-1]


def test_own_splits_are_those_of_the_starters_build():
    keys = [f"{number:016x}" for number in range(500)]
    expected = assign_splits(keys, np.arange(500), 0.2, 0.1, 7)
    points = np.array([split_point(key, 7) for key in keys], np.uint64)
    names = np.array(["train", "val", "test"])
    assert names[own_splits(points, 0.2, 0.1)].tolist() == expected


def test_the_first_list_with_a_key_decides():
    lists = [
        KeyList(np.array([2, 9], np.uint64), np.array([TEST, TEST], np.int16)),
        KeyList(np.array([], np.uint64), np.array([], np.int16)),
        KeyList(np.array([5, 9], np.uint64), np.array([VAL, TRAIN], np.int16)),
    ]
    outcomes, ages = fixed_outcomes(np.array([9, 5, 1, 2**64 - 1], np.uint64), lists)
    assert outcomes.tolist() == [TEST, VAL, FREE, FREE]
    assert ages.tolist() == [0, 2, 3, 3]
