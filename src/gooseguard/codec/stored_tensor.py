"""A tensor as a file holds it; and bfloat16, which NumPy lacks, as its bits in uint16."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class StoredTensor(NamedTuple):
    """A tensor as a file holds it."""

    name: str
    """Such as "backbone.emb.weight"."""
    dtype: str
    """As safetensors writes it: "F32", "BF16" or "I8"."""
    data: npt.NDArray[Any]
    """Its values; of BF16 their bits, as uint16. C order."""


def to_bf16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Round finite float32 to bfloat16, ties to even; gives its bits, a new array of the same shape."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    is_odd = (bits >> np.uint32(16)) & np.uint32(1)
    return ((bits + (np.uint32(0x7FFF) + is_odd)) >> np.uint32(16)).astype(np.uint16)


def from_bf16(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Widen bfloat16, given as its bits, to float32; exact, a new array of the same shape."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def bytes_of(data: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Give the bytes of an array in C order, uint8 (N,); its own memory where it is in that order."""
    return np.ascontiguousarray(data).reshape(-1).view(np.uint8)
