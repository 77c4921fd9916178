"""Working memory that is allocated once and used again: fresh pages cost more than the sums done on them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
"""float32."""


class Scratch:
    """Named float32 buffers that grow to the largest shape asked for. For one thread at a time."""

    def __init__(self) -> None:
        self._buffers: dict[str, Float32Array] = {}

    def __call__(self, name: str, *shape: int) -> Float32Array:
        """Give the buffer `name` as an array of `shape`; holds whatever was there, finite from the start."""
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size:
            buffer = self._buffers[name] = np.zeros(size, dtype=np.float32)
        return buffer[:size].reshape(shape)
