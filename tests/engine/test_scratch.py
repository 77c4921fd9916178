import numpy as np

from gooseguard.engine.scratch import Scratch


def test_gives_the_same_memory_again_and_grows():
    scratch = Scratch()
    first = scratch("a", 3, 4)
    assert first.shape == (3, 4)
    assert first.dtype == np.float32
    assert not first.any()
    first[:] = 7
    assert (scratch("a", 2, 2) == 7).all()
    assert scratch("a", 5, 5).shape == (5, 5)
    assert np.shares_memory(scratch("a", 5, 5), scratch("a", 1))


def test_names_are_apart():
    scratch = Scratch()
    assert not np.shares_memory(scratch("a", 4), scratch("b", 4))
