"""Rounding to bfloat16: to the nearest, ties to even."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.codec.stored_tensor import from_bf16, to_bf16


# Ties go to the even one: 1 + 2^-8 is between 0x3f80 and 0x3f81, 1 + 3 * 2^-8 between 0x3f81 and 0x3f82.
@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (1.0, 0x3F80),
        (-2.5, 0xC020),
        (0.0, 0x0000),
        (-0.0, 0x8000),
        (1 + 2**-8, 0x3F80),
        (1 + 2**-8 + 2**-20, 0x3F81),
        (1 + 3 * 2**-8, 0x3F82),
        (3.3895313892515355e38, 0x7F7F),
        (2**-149, 0x0000),
    ],
)
def test_bf16_of_known_numbers(value, bits):
    assert to_bf16(np.array([value], np.float32)).tolist() == [bits]


@settings(max_examples=60, deadline=None)
@given(st.floats(-(2.0**127), 2.0**127, width=32))
def test_bf16_is_the_nearest(value):
    exact = np.array([value], np.float32)
    bits = to_bf16(exact)
    rounded = float(from_bf16(bits)[0])
    for step in (-1, 1):
        magnitude = (int(bits[0]) & 0x7FFF) + step
        if 0 <= magnitude < 0x7F80:
            neighbour = from_bf16(np.array([int(bits[0]) & 0x8000 | magnitude], np.uint16))
            assert abs(value - rounded) <= abs(value - float(neighbour[0]))
    assert to_bf16(from_bf16(bits)).tolist() == bits.tolist()
