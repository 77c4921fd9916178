import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.engine import reference
from gooseguard.engine.packing import Layout
from gooseguard.engine.scratch import Scratch
from gooseguard.engine.wkv import WkvInputs, wkv7_chunked

LEAST_LOG_DECAY = -reference.DECAY_SCALE


def inputs_of(rng, n_tokens, n_head, head_size, log_w):
    """Draw what a model would hand over: removal keys of length 1, rates in (0, 1)."""
    shape = (n_tokens, n_head, head_size)
    r, k, v, kk = rng.normal(size=(4, *shape))
    kk /= np.linalg.norm(kk, axis=-1, keepdims=True)
    rate = rng.uniform(0, 1, shape)
    return [
        np.ascontiguousarray(array.reshape(n_tokens, -1), dtype=np.float32)
        for array in (r, np.broadcast_to(log_w, shape), k, v, -kk, kk * rate)
    ]


def expected_of(inputs, lengths, state):
    """Run the reference in float64, one sequence after another; `state` is (sequences, H, value, key)."""
    _, H, N, _ = state.shape
    y, after, begin = [], [], 0
    for i, length in enumerate(lengths):
        r, log_w, k, v, a, b = (
            array[begin : begin + length].astype(np.float64).reshape(1, length, H, N) for array in inputs
        )
        own, last = reference.wkv7(r, np.exp(log_w), k, v, a, b, state[i : i + 1].astype(np.float64))
        y.append(own.reshape(length, H * N))
        after.append(last[0])
        begin += length
    return np.concatenate(y), np.stack(after)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=6).map(lambda found: sorted(found, reverse=True)),
    st.integers(1, 3),
    st.sampled_from([1, 4, 8]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_is_the_recurrence(lengths, n_head, head_size, is_fresh, seed):
    rng = np.random.default_rng(seed)
    log_w = rng.uniform(LEAST_LOG_DECAY, 0, (sum(lengths), n_head, head_size))
    inputs = inputs_of(rng, sum(lengths), n_head, head_size, log_w)
    before = rng.normal(size=(len(lengths), n_head, head_size, head_size)).astype(np.float32)
    y, after = expected_of(inputs, lengths, np.zeros_like(before) if is_fresh else before)
    state = np.ascontiguousarray(before.swapaxes(-1, -2))
    found = wkv7_chunked(WkvInputs(*inputs), Layout.of(lengths), state, Scratch(), is_fresh=is_fresh)
    np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(state.swapaxes(-1, -2), after, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("log_w", [LEAST_LOG_DECAY, -1e-6])
def test_extreme_decays(log_w):
    inputs = inputs_of(np.random.default_rng(5), 200, 2, 16, log_w)
    state = np.zeros((1, 2, 16, 16), np.float32)
    y, after = expected_of(inputs, [200], state)
    found = wkv7_chunked(WkvInputs(*inputs), Layout.of([200]), state, Scratch(), is_fresh=True)
    scale = np.abs(y).max()
    np.testing.assert_allclose(found / scale, y / scale, atol=1e-5)
    np.testing.assert_allclose(state.swapaxes(-1, -2), after, rtol=1e-4, atol=1e-4)


def test_one_key_again_and_again():
    """Where a text repeats one token, the triangle to solve is full of ones."""
    rng = np.random.default_rng(6)
    inputs = inputs_of(rng, 64, 1, 8, -1e-7)
    r, log_w, k, v, a, _ = inputs
    a[:] = a[0]
    inputs[5] = -a
    k[:] = -a
    state = np.zeros((1, 1, 8, 8), np.float32)
    y, after = expected_of(inputs, [64], state)
    found = wkv7_chunked(WkvInputs(*inputs), Layout.of([64]), state, Scratch(), is_fresh=True)
    np.testing.assert_allclose(found, y, atol=2e-5)
    np.testing.assert_allclose(state.swapaxes(-1, -2), after, atol=2e-5)
    assert r.shape == log_w.shape == v.shape


def test_output_is_the_same_where_the_state_is_not_kept():
    lengths = [40, 33, 17, 16, 2]
    inputs = inputs_of(np.random.default_rng(8), sum(lengths), 2, 8, -0.1)
    states = np.zeros((2, len(lengths), 2, 8, 8), np.float32)
    kept, dropped = (
        wkv7_chunked(
            WkvInputs(*inputs), Layout.of(lengths), states[i], Scratch(), is_fresh=True, is_kept=not i
        ).copy()
        for i in range(2)
    )
    assert np.array_equal(kept, dropped)


def test_scratch_left_by_another_unit_does_not_show():
    rng = np.random.default_rng(9)
    scratch, state = Scratch(), np.zeros((3, 1, 4, 4), np.float32)
    big = inputs_of(rng, 90, 1, 4, -0.2)
    wkv7_chunked(
        WkvInputs(*(1e3 * array for array in big[:1]), *big[1:]), Layout.of([40, 30, 20]), state, scratch
    )
    small = inputs_of(rng, 21, 1, 4, -0.2)
    found = wkv7_chunked(WkvInputs(*small), Layout.of([18, 3]), state[:2], scratch, is_fresh=True).copy()
    alone = wkv7_chunked(WkvInputs(*small), Layout.of([18, 3]), state[:2], Scratch(), is_fresh=True)
    assert np.array_equal(found, alone)
