import importlib.util
from pathlib import Path

import numpy as np
import pytest

from gooseguard.codec.layout import RwkvConfig
from gooseguard.core.errors import EngineError
from gooseguard.engine import reference

_spec = importlib.util.spec_from_file_location(
    "random_model", Path(__file__).parents[1] / "parity" / "random_model.py"
)
random_model = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(random_model)

CONFIG = RwkvConfig(
    n_layer=2, n_embd=16, vocab_size=20, head_size=4, n_ffn=24, rank_w=3, rank_a=2, rank_v=2, rank_g=5
)


@pytest.fixture(scope="module")
def tensors():
    return random_model.random_tensors(CONFIG, np.random.default_rng(3))


def tokens(n_sequences, length, seed=0):
    return np.random.default_rng(seed).integers(0, CONFIG.vocab_size, (n_sequences, length))


def row(*values):
    """One token of one head of one sequence."""
    return np.array(values, dtype=np.float64).reshape(1, 1, 1, -1)


def test_wkv7_one_token_by_hand():
    # S = [[1, 2], [3, 4]] (value, key); S a = [1 - 2, 3 - 4] = [-1, -1].
    # S diag(w) = [[.5, 2], [1.5, 4]]; (S a) b^T = [[-2, 0], [-2, 0]]; v k^T = [[0, 10], [0, 30]].
    state = np.array([[1.0, 2.0], [3.0, 4.0]])[None, None]
    y, after = reference.wkv7(row(1, 1), row(0.5, 1), row(0, 10), row(1, 3), row(1, -1), row(2, 0), state)
    assert after[0, 0].tolist() == [[-1.5, 12.0], [-0.5, 34.0]]
    assert y[0, 0, 0].tolist() == [10.5, 33.5]
    assert state[0, 0].tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_wkv7_without_removal_is_a_decayed_sum():
    rng = np.random.default_rng(1)
    r, k, v = rng.normal(size=(3, 2, 9, 3, 4))
    w = np.full((2, 9, 3, 4), 0.9)
    zeros = np.zeros_like(w)
    y, after = reference.wkv7(r, w, k, v, zeros, zeros, np.zeros((2, 3, 4, 4)))
    weights = 0.9 ** np.arange(8, -1, -1)
    expected = np.einsum("t,bthi,bthj->bhij", weights, v, k)
    np.testing.assert_allclose(after, expected, rtol=1e-12)
    np.testing.assert_allclose(y[:, -1], np.einsum("bhij,bhj->bhi", expected, r[:, -1]), rtol=1e-12)


def test_wkv7_removal_replaces_what_a_key_held():
    # A full removal (a = -k, b = k, |k| = 1, no decay) and a write leave only the new value under the key.
    key = row(0.6, 0.8)
    state = np.einsum("i,j->ij", [5.0, -7.0], [0.6, 0.8])[None, None]
    y, _ = reference.wkv7(key, row(1, 1), key, row(1, 2), -key, key, state)
    np.testing.assert_allclose(y[0, 0, 0], [1, 2], atol=1e-12)


@pytest.mark.parametrize("cuts", [(4,), (1, 2), (0, 7), (3, 3, 6)])
def test_pieces_give_what_one_call_gives(tensors, cuts):
    ids = tokens(3, 7)
    whole, end = reference.forward(CONFIG, tensors, ids, dtype=np.float64)
    state, pieces = None, []
    for piece in np.split(ids, cuts, axis=1):
        hidden, state = reference.forward(CONFIG, tensors, piece, state, dtype=np.float64)
        pieces.append(hidden)
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, atol=1e-12)
    for name in ("attention_shift", "wkv", "ffn_shift"):
        np.testing.assert_allclose(getattr(state, name), getattr(end, name), atol=1e-12)


def test_sequences_do_not_see_each_other(tensors):
    ids = tokens(3, 6)
    together, _ = reference.forward(CONFIG, tensors, ids, dtype=np.float64)
    for i in range(3):
        alone, _ = reference.forward(CONFIG, tensors, ids[i : i + 1], dtype=np.float64)
        np.testing.assert_allclose(together[i], alone[0], atol=1e-12)


def test_a_token_does_not_see_later_ones(tensors):
    ids = tokens(1, 6)
    whole, _ = reference.forward(CONFIG, tensors, ids, dtype=np.float64)
    begin, _ = reference.forward(CONFIG, tensors, ids[:, :4], dtype=np.float64)
    np.testing.assert_allclose(whole[:, :4], begin, atol=1e-12)


def test_no_tokens_leave_the_state_as_it_was(tensors):
    _, state = reference.forward(CONFIG, tensors, tokens(2, 3))
    hidden, after = reference.forward(CONFIG, tensors, tokens(2, 0), state)
    assert hidden.shape == (2, 0, CONFIG.n_embd)
    for name in ("attention_shift", "wkv", "ffn_shift"):
        assert np.array_equal(getattr(after, name), getattr(state, name))


def test_value_residual_of_layer_0_is_not_read(tensors):
    ids = tokens(1, 5)
    plain, _ = reference.forward(CONFIG, tensors, ids)
    extra = {f"blocks.0.att.v{i}": tensors[f"blocks.1.att.v{i}"] for i in range(3)}
    found, _ = reference.forward(CONFIG, tensors | extra, ids)
    assert np.array_equal(plain, found)


def test_precision_follows_dtype(tensors):
    for dtype in (np.float32, np.float64):
        hidden, state = reference.forward(CONFIG, tensors, tokens(1, 4), dtype=dtype)
        arrays = [
            hidden,
            state.attention_shift,
            state.wkv,
            state.ffn_shift,
            reference.logits(tensors, hidden),
        ]
        assert [array.dtype for array in arrays] == [dtype] * 5


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((1, 2)), "float64"),
        (np.zeros(2, int), "1 axes"),
        (np.array([[0, 20]]), "expected 0 to 19"),
        (np.array([[-1, 0]]), "ids from -1"),
    ],
)
def test_refuses_bad_tokens(tensors, bad, message):
    with pytest.raises(EngineError, match=message):
        reference.forward(CONFIG, tensors, bad)


def test_refuses_a_state_of_another_batch(tensors):
    with pytest.raises(EngineError, match="attention_shift"):
        reference.forward(CONFIG, tensors, tokens(2, 3), reference.zero_state(CONFIG, 1))
