import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.codec.layout import RwkvConfig
from gooseguard.core.errors import ArtefactError, ConfigError, EngineError
from gooseguard.engine import reference
from gooseguard.engine.portable import PortableBackbone

_spec = importlib.util.spec_from_file_location(
    "random_model", Path(__file__).parents[1] / "parity" / "random_model.py"
)
random_model = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(random_model)

CONFIG = RwkvConfig(
    n_layer=3, n_embd=32, vocab_size=50, head_size=8, n_ffn=64, rank_w=4, rank_a=3, rank_v=5, rank_g=6
)
TENSORS = random_model.random_tensors(CONFIG, np.random.default_rng(2))
BACKBONE = PortableBackbone(CONFIG, TENSORS)
RAGGED = (0, 1, 2, 15, 16, 17, 31, 33, 0, 70, 1, 47)
ATOL = 2e-5


def texts(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, CONFIG.vocab_size, length) for length in lengths]


def expected_of(tokens, state=None):
    hidden, after = reference.forward(CONFIG, TENSORS, tokens[None], state, dtype=np.float64)
    return hidden[0], after


def assert_same_state(found, expected):
    for name in ("attention_shift", "wkv", "ffn_shift"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-4)


def assert_same_pool(found, expected, *, has_state=True):
    assert found.count == expected.count
    for name in ("last", "mean", "maximum"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=ATOL)
        assert getattr(found, name).dtype == np.float32
    if has_state:
        assert_same_state(found.state, expected.state)


@pytest.mark.parametrize("unit_tokens", [1, 20, 64, 1000])
def test_ragged_texts_give_what_the_reference_gives(unit_tokens):
    sequences = texts(RAGGED)
    found = PortableBackbone(CONFIG, TENSORS, unit_tokens=unit_tokens).run(sequences)
    for tokens, (hidden, state) in zip(sequences, found, strict=True):
        expected, after = expected_of(tokens)
        assert hidden.dtype == np.float32
        np.testing.assert_allclose(hidden, expected, atol=ATOL)
        assert_same_state(state, after)


def test_goes_on_from_states():
    starts = [
        expected_of(tokens)[1] if i % 3 else None for i, tokens in enumerate(texts(RAGGED[::-1], seed=1))
    ]
    sequences = texts(RAGGED)
    for tokens, start, (hidden, state) in zip(
        sequences, starts, BACKBONE.run(sequences, starts), strict=True
    ):
        expected, after = expected_of(tokens, start)
        np.testing.assert_allclose(hidden, expected, atol=ATOL)
        assert_same_state(state, after)


def test_pool_is_last_mean_and_maximum_of_run():
    sequences = texts(RAGGED)
    for tokens, pooled in zip(sequences, BACKBONE.pool(sequences), strict=True):
        if len(tokens) == 0:
            continue
        hidden, state = expected_of(tokens)
        assert pooled.count == len(tokens)
        np.testing.assert_allclose(pooled.last, hidden[-1], atol=ATOL)
        np.testing.assert_allclose(pooled.mean, hidden.mean(axis=0), atol=ATOL)
        np.testing.assert_allclose(pooled.total, hidden.sum(axis=0), atol=ATOL * len(tokens))
        np.testing.assert_allclose(pooled.maximum, hidden.max(axis=0), atol=ATOL)
        assert_same_state(pooled.state, state)


@settings(deadline=None, max_examples=12)
@given(st.lists(st.integers(0, 150), max_size=5), st.integers(1, 64))
def test_pieces_give_what_one_call_gives(cuts, unit_tokens):
    tokens = texts([150])[0]
    backbone = PortableBackbone(CONFIG, TENSORS, unit_tokens=unit_tokens)
    pooled = None
    for piece in np.split(tokens, sorted(cuts)):
        (pooled,) = backbone.pool([piece], [pooled])
    assert_same_pool(pooled, BACKBONE.pool([tokens])[0])


def test_token_by_token_gives_what_one_call_gives():
    sequences = texts([60, 60])
    pools = [None, None]
    for t in range(60):
        pools = BACKBONE.pool([tokens[t : t + 1] for tokens in sequences], pools)
    for found, expected in zip(pools, BACKBONE.pool(sequences), strict=True):
        assert_same_pool(found, expected)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 90), max_size=30), st.integers(1, 90), st.booleans())
def test_company_does_not_show(others, length, keep_state):
    text = texts([length], seed=4)[0]
    (alone,) = BACKBONE.pool([text], keep_state=keep_state)
    middle = len(others) // 2
    around = texts(others, seed=5)
    sequences = [*around[:middle], text, *around[middle:]]
    found = BACKBONE.pool(sequences, keep_state=keep_state)[middle]
    assert_same_pool(found, alone, has_state=keep_state)


def test_threads_change_nothing():
    sequences = texts([*range(1, 60), 300])
    one = PortableBackbone(CONFIG, TENSORS, unit_tokens=64).pool(sequences)
    three = PortableBackbone(CONFIG, TENSORS, threads=3, unit_tokens=64).pool(sequences)
    for a, b in zip(one, three, strict=True):
        assert np.array_equal(a.last, b.last)
        assert np.array_equal(a.total, b.total)
        assert np.array_equal(a.maximum, b.maximum)


def test_nothing_in_nothing_out():
    assert BACKBONE.run([]) == []
    assert BACKBONE.pool([]) == []


def test_an_empty_text_leaves_everything_as_it_was():
    (hidden, state), *_ = BACKBONE.run([[]])
    assert hidden.shape == (0, CONFIG.n_embd)
    assert_same_state(state, reference.zero_state(CONFIG, 1))
    (empty,) = BACKBONE.pool([[]])
    assert empty.count == 0
    assert not empty.last.any()
    assert not empty.mean.any()
    assert not empty.maximum.any()
    (some,) = BACKBONE.pool(texts([9]))
    (after,) = BACKBONE.pool([[]], [some])
    assert after is some
    ((_, same),) = BACKBONE.run([[]], [some.state])
    assert same is some.state


def test_results_are_not_written_over_by_later_calls():
    first = BACKBONE.pool(texts([40, 20]))
    copies = [(pool.last.copy(), pool.total.copy(), pool.state.wkv.copy()) for pool in first]
    BACKBONE.pool(texts([40, 20], seed=9), first)
    for pool, (last, total, wkv) in zip(first, copies, strict=True):
        assert np.array_equal(pool.last, last)
        assert np.array_equal(pool.total, total)
        assert np.array_equal(pool.state.wkv, wkv)


def test_large_values_overflow_nowhere():
    # Every sigmoid and tanh far into saturation; a warning would fail the test.
    tensors = {name: tensor * 100 if "att." in name else tensor for name, tensor in TENSORS.items()}
    for pooled in PortableBackbone(CONFIG, tensors).pool(texts(RAGGED)):
        assert np.isfinite(pooled.last).all()


def test_refuses_to_go_on_without_a_state():
    (pooled,) = BACKBONE.pool(texts([5]), keep_state=False)
    assert pooled.state is None
    with pytest.raises(EngineError, match="keep_state=True"):
        BACKBONE.pool(texts([5]), [pooled])


def test_refuses_what_does_not_fit():
    finch = RwkvConfig(n_layer=1, n_embd=32, vocab_size=50, head_size=8, version="x060")
    with pytest.raises(ArtefactError, match=r"time_maa_g is missing"):
        PortableBackbone(finch, TENSORS)
    with pytest.raises(ConfigError, match="threads is 0"):
        PortableBackbone(CONFIG, TENSORS, threads=0)
    with pytest.raises(ArtefactError, match=r"ln_out.bias is missing"):
        PortableBackbone(CONFIG, {name: t for name, t in TENSORS.items() if name != "ln_out.bias"})
    with pytest.raises(EngineError, match="1 states for 2 sequences"):
        BACKBONE.run(texts([1, 2]), [None])
    with pytest.raises(EngineError, match="expected 0 to 49"):
        BACKBONE.pool([np.array([50])])
    with pytest.raises(EngineError, match="attention_shift"):
        BACKBONE.run(texts([1]), [reference.zero_state(CONFIG, 2)])
