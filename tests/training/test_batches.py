"""Rows into batches: nothing lost, nothing twice, budgets kept, the same order every time."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.training.batches import MULTIPLE, cut_by_budget, pack, pad, plan_epoch, select


def rows_of(lengths):
    """Make rows whose tokens count on from row to row, so that each is unlike every other."""
    begins = np.cumsum([0, *lengths])
    ids = [np.arange(begin, end) for begin, end in itertools.pairwise(begins)]
    return pack(ids, np.arange(2 * len(lengths), dtype=np.float32).reshape(-1, 2))


def test_pack_and_select_by_hand():
    rows = pack([[5, 6], [], [7]], np.array([[0.0], [1.0], [np.nan]], np.float32))
    assert len(rows) == 3
    assert rows.tokens.tolist() == [5, 6, 7]
    assert rows.tokens.dtype == np.int32
    assert rows.offsets.tolist() == [0, 2, 2, 3]
    assert rows.lengths.tolist() == [2, 0, 1]
    chosen = select(rows, np.array([2, 0, 2]))
    assert chosen.tokens.tolist() == [7, 5, 6, 7]
    assert chosen.offsets.tolist() == [0, 1, 3, 4]
    np.testing.assert_array_equal(chosen.labels, [[np.nan], [0.0], [np.nan]])


def test_no_rows_pack():
    rows = pack([], np.zeros((0, 2), np.float32))
    assert len(rows) == 0
    assert rows.tokens.shape == (0,)


def test_pad_by_hand():
    rows = rows_of([3, 20, 1])
    tokens, lengths = pad(rows, np.array([2, 0, 1]), longest=18)
    assert lengths.tolist() == [1, 3, 18]
    assert tokens.dtype == lengths.dtype == np.int64
    assert tokens.tolist() == [
        [23] + [0] * 31,
        [0, 1, 2] + [0] * 29,
        [*range(3, 21)] + [0] * 14,
    ]


@pytest.mark.parametrize(("longest", "width"), [(1, 16), (15, 16), (16, 16), (17, 32), (32, 32)])
def test_batches_are_padded_to_multiples_of_a_chunk(longest, width):
    tokens, _ = pad(rows_of([longest, 1]), np.array([0, 1]), 1000)
    assert tokens.shape == (2, width)


def test_the_multiple_is_the_chunk_of_the_recurrence():
    pytest.importorskip("torch")
    from gooseguard.models.wkv import CHUNK

    assert MULTIPLE == CHUNK


def test_cut_by_budget_by_hand():
    # Padded to 16, 16, 16, 32, 32 and 48: of 64 tokens two of 32 fit, then one row that exceeds it alone.
    index = np.array([9, 8, 7, 6, 5, 4])
    lengths = np.array([1, 2, 16, 17, 32, 70])
    found = cut_by_budget(index, lengths, 64)
    assert [batch.tolist() for batch in found] == [[9, 8, 7], [6, 5], [4]]
    assert cut_by_budget(index[:0], lengths[:0], 64) == []


PLANS = {
    # Rows without tokens never get here: nothing is learnt from them (training/run.py).
    "lengths": st.lists(st.integers(1, 90), min_size=1, max_size=80),
    "budget": st.sampled_from([16, 64, 200]),
    "longest": st.sampled_from([8, 40, 100]),
    "seed": st.integers(0, 5),
    "epoch": st.integers(0, 3),
}


@settings(deadline=None, max_examples=40)
@given(repeat_seed=st.integers(0, 100), **PLANS)
def test_an_epoch_sees_every_row_as_often_as_asked(lengths, budget, longest, seed, epoch, repeat_seed):
    rows = rows_of(lengths)
    repeats = np.random.default_rng(repeat_seed).integers(0, 4, len(lengths))
    batches = plan_epoch(rows, repeats, budget, longest, seed, epoch)
    seen = Counter(np.concatenate([np.zeros(0, np.int64), *batches]).tolist())
    assert seen == Counter({i: int(n) for i, n in enumerate(repeats) if n})
    for batch in batches:
        tokens, real = pad(rows, batch, longest)
        assert len(batch) >= 1
        assert len(batch) == 1 or tokens.size <= budget
        assert real.max() <= longest


@settings(deadline=None, max_examples=20)
@given(**PLANS)
def test_order_depends_on_seed_and_epoch_alone(lengths, budget, longest, seed, epoch):
    rows, repeats = rows_of(lengths), np.ones(len(lengths), np.int64)
    one, other = (plan_epoch(rows, repeats, budget, longest, seed, epoch) for _ in range(2))
    assert [batch.tolist() for batch in one] == [batch.tolist() for batch in other]


def test_every_epoch_and_every_seed_has_an_order_of_its_own():
    rows, repeats = rows_of([5] * 100), np.ones(100, np.int64)
    orders = {
        tuple(np.concatenate(plan_epoch(rows, repeats, 64, 100, seed, epoch)).tolist())
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


def test_batches_hold_rows_of_similar_length():
    # Within a pool rows are sorted: little of a batch is padding, however mixed the rows are.
    lengths = np.random.default_rng(0).integers(1, 300, 4000)
    rows = rows_of(lengths.tolist())
    batches = plan_epoch(rows, np.ones(4000, np.int64), 2048, 300, 0, 0)
    padded = sum(pad(rows, batch, 300)[0].size for batch in batches)
    assert lengths.sum() / padded > 0.85
