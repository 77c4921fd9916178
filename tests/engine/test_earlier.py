"""RWKV-6 and RWKV-5.2 in fast NumPy against the definition in float64."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.codec.layout import RwkvConfig
from gooseguard.engine import reference
from gooseguard.engine.earlier import wkv6_packed
from gooseguard.engine.packing import Layout
from gooseguard.engine.portable import PortableBackbone
from gooseguard.engine.scratch import Scratch

_spec = importlib.util.spec_from_file_location(
    "random_model", Path(__file__).parents[1] / "parity" / "random_model.py"
)
random_model = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(random_model)

CONFIGS = {
    "x052": RwkvConfig(n_layer=3, n_embd=32, vocab_size=50, head_size=8, n_ffn=64, version="x052"),
    "x060": RwkvConfig(
        n_layer=3, n_embd=32, vocab_size=50, head_size=8, n_ffn=64, rank_w=4, version="x060", rank_mix=3
    ),
}
RAGGED = (0, 1, 2, 15, 16, 17, 0, 70, 1, 47)
ATOL = 2e-5

version = pytest.mark.parametrize("version", CONFIGS)


def make(version):
    config = CONFIGS[version]
    return config, random_model.random_tensors(config, np.random.default_rng(2))


@version
@pytest.mark.parametrize("unit_tokens", [1, 20, 384])
def test_ragged_texts_and_their_state(version, unit_tokens):
    config, tensors = make(version)
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, 50, length) for length in RAGGED]
    found = PortableBackbone(config, tensors, unit_tokens=unit_tokens, threads=2).run(sequences)
    for tokens, (hidden, state) in zip(sequences, found, strict=True):
        expected, after = reference.forward(config, tensors, tokens[None], dtype=np.float64)
        np.testing.assert_allclose(hidden, expected[0], atol=ATOL)
        for name in reference.State.__slots__:
            np.testing.assert_allclose(getattr(state, name), getattr(after, name), rtol=1e-4, atol=1e-4)


@version
def test_pieces_of_a_text_are_the_text(version):
    config, tensors = make(version)
    backbone = PortableBackbone(config, tensors)
    tokens = np.random.default_rng(1).integers(0, 50, 80)
    expected, _ = reference.forward(config, tensors, tokens[None], dtype=np.float64)
    pool = None
    for piece in np.split(tokens, [1, 20, 20, 63]):
        (pool,) = backbone.pool([piece], [pool])
    np.testing.assert_allclose(pool.last, expected[0, -1], atol=ATOL)
    np.testing.assert_allclose(pool.mean, expected[0].mean(axis=0), atol=ATOL)
    np.testing.assert_allclose(pool.maximum, expected[0].max(axis=0), atol=ATOL)
    # Without its state, and in other company.
    others = [tokens[:9], tokens, tokens[:30]]
    found = backbone.pool(others, keep_state=False)[1]
    np.testing.assert_allclose(found.mean, pool.mean, atol=ATOL)


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=5).map(lambda found: sorted(found, reverse=True)),
    st.sampled_from([1, 4, 8]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_is_the_recurrence_at_any_decay(lengths, head_size, is_fixed, seed):
    rng = np.random.default_rng(seed)
    shape = (sum(lengths), 2, head_size)
    r, k, v = rng.normal(size=(3, *shape)).astype(np.float32)
    # From nothing kept to everything kept.
    w = rng.choice([0.0, 1e-30, 0.3, 0.999, 1.0], shape[1:] if is_fixed else shape).astype(np.float32)
    u = rng.normal(size=shape[1:]).astype(np.float32)
    before = rng.normal(size=(len(lengths), 2, head_size, head_size)).astype(np.float32)
    state = before.swapaxes(-1, -2).copy()
    rows = [array.reshape(-1, 2 * head_size) for array in (r, w, k, v)]
    found = wkv6_packed(*rows, u, Layout.of(lengths), state, Scratch()).reshape(shape)
    whole = np.broadcast_to(w, shape)
    begin = 0
    for i, length in enumerate(lengths):
        own = [array[None, begin : begin + length].astype(np.float64) for array in (r, whole, k, v)]
        y, after = reference.wkv6(*own, u, before[i : i + 1].astype(np.float64))
        np.testing.assert_allclose(found[begin : begin + length], y[0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(state[i].swapaxes(-1, -2), after[0], rtol=1e-4, atol=1e-4)
        begin += length


def test_a_rate_that_would_overflow_is_a_decay_of_0():
    config, tensors = make("x060")
    for i in range(config.n_layer):
        tensors[f"blocks.{i}.att.time_decay"] = np.full((1, 1, 32), 200.0, np.float32)
    tokens = np.random.default_rng(1).integers(0, 50, 12)
    ((hidden, _),) = PortableBackbone(config, tensors).run([tokens])
    with np.errstate(over="ignore"):
        expected, _ = reference.forward(config, tensors, tokens[None], dtype=np.float64)
    np.testing.assert_allclose(hidden, expected[0], atol=ATOL)
