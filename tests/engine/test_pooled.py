"""Sequences as arrays: what one engine keeps the other goes on from; anything else is refused."""

import numpy as np
import pytest

from gooseguard.codec.layout import RwkvConfig
from gooseguard.core.errors import EngineError
from gooseguard.engine.pooled import PooledState, empty_pool, from_arrays, to_arrays
from gooseguard.engine.reference import State

CONFIG = RwkvConfig(n_layer=2, n_embd=64, vocab_size=9, head_size=32)


def some_pool(seed=1):
    random = np.random.default_rng(seed)

    def draw(*shape):
        return random.standard_normal(shape, dtype=np.float32)

    state = State(draw(2, 1, 64), draw(2, 1, 2, 32, 32), draw(2, 1, 64))
    return PooledState(draw(64), draw(64).astype(np.float64), draw(64), 5, state)


def test_mean_is_of_the_tokens_so_far():
    pool = some_pool()
    assert np.array_equal(pool.mean, (pool.total / 5).astype(np.float32))
    assert not empty_pool(CONFIG).mean.any()


def test_there_and_back():
    arrays = to_arrays(some_pool())
    again = from_arrays(CONFIG, arrays)
    assert again.count == 5
    for name, array in to_arrays(again).items():
        assert np.array_equal(array, arrays[name])


def test_without_a_state_there_is_nothing_to_keep():
    with pytest.raises(EngineError, match="kept no state"):
        to_arrays(empty_pool(CONFIG))


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays.pop("last"),
        lambda arrays: arrays.update(more=np.zeros(1)),
        lambda arrays: arrays.update(wkv=arrays["wkv"][:1]),
        lambda arrays: arrays.update(total=arrays["total"].astype(np.float32)),
        lambda arrays: arrays.update(count=np.array([-1], np.int64)),
    ],
)
def test_other_arrays_are_refused(change):
    arrays = to_arrays(some_pool())
    change(arrays)
    with pytest.raises(EngineError, match="not of this model"):
        from_arrays(CONFIG, arrays)
