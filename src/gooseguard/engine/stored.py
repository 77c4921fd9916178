"""Float32 tensors to what an engine file holds, and back: which dtype each is rounded to, which lie in tiles.

With dtype "f32" all tensors are F32. With "bf16" matrices (more than one axis longer than 1) are BF16, the
few vectors stay F32, those of x052 and x060 that are written a head a row among them. With "int8" the large
matrices of the blocks are I8, each with the scales of its output channels beside it as `NAME.scale` (F32);
all else is as in "bf16". Matrices that are multiplied with lie in tiles. Knows no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from gooseguard.codec.stored_tensor import StoredTensor, from_bf16, to_bf16
from gooseguard.core.errors import ArtefactError
from gooseguard.engine.tiles import dequantise, quantise, tile, tile_shape, untile

DTYPES = ("f32", "bf16", "int8")
"""What weights can be stored as."""

SCALE = ".scale"
"""What the name of an int8 matrix is followed by in the name of its scales."""

Shape = tuple[int, ...]
"""Of a tensor."""

# The large matrices of a block are stored (out, in), low-rank factors (in, out), as officially.
_WEIGHT = re.compile(
    r"(^|\.)blocks\.\d+\.(att|ffn)\.(receptance|key|value|output|gate)\.weight$|(^|\.)head\.weight$"
)
_FACTOR = re.compile(r"(^|\.)blocks\.\d+\.att\.([wavg]|time_decay_w|time_maa_w)[12]$")
_HEAD_VECTOR = re.compile(r"\.att\.(time_decay|time_faaaa)$")


def is_tiled(name: str) -> bool:
    """Tell whether the tensor `name` lies in tiles."""
    return _WEIGHT.search(name) is not None or _FACTOR.search(name) is not None


def stored_dtype(name: str, shape: Shape, dtype: str) -> str:
    """Give what a tensor is stored as in a file of `dtype`: "F32", "BF16" or "I8"."""
    is_matrix = sum(size > 1 for size in shape) > 1 and not _HEAD_VECTOR.search(name)
    if dtype == "f32" or not is_matrix:
        return "F32"
    return "I8" if dtype == "int8" and _WEIGHT.search(name) else "BF16"


def expected_tensors(shapes: Mapping[str, Shape], dtype: str) -> dict[str, tuple[str, Shape]]:
    """Give stored dtype and shape of each tensor in a file of `dtype` of a model with these `shapes`."""
    expected: dict[str, tuple[str, Shape]] = {}
    for name, shape in shapes.items():
        stored = stored_dtype(name, shape, dtype)
        matrices = _channels(name, shape)
        expected[name] = stored, tile_shape(stored, matrices) if matrices else shape
        if stored == "I8":
            expected[f"{name}{SCALE}"] = "F32", shape[:1]
    return expected


def _channels(name: str, shape: Shape) -> Shape | None:
    """Give (…, output channels, input channels) of matrices that lie in tiles; `None` of another tensor."""
    if not is_tiled(name):
        return None
    *lead, n, k = shape
    return (*lead, k, n) if _FACTOR.search(name) else shape


def store(name: str, tensor: npt.NDArray[np.float32], dtype: str) -> list[StoredTensor]:
    """Round a tensor to what a file of `dtype` holds, still in its own shape; int8 matrices give two.

    Raises:
        ArtefactError: a number is too large for bfloat16.
    """
    stored = stored_dtype(name, tensor.shape, dtype)
    if stored == "F32":
        return [StoredTensor(name, stored, np.ascontiguousarray(tensor, dtype="<f4"))]
    if stored == "I8":
        values, scale = quantise(tensor)
        return [StoredTensor(name, stored, values), StoredTensor(f"{name}{SCALE}", "F32", scale)]
    bits = to_bf16(tensor)
    if not np.isfinite(from_bf16(bits)).all():
        raise ArtefactError(
            f"engine file: {name} holds a number too large for bfloat16; export with dtype f32"
        )
    return [StoredTensor(name, stored, bits.astype("<u2", copy=False))]


def laid_out(tensor: StoredTensor) -> StoredTensor:
    """Give a stored tensor as it lies in a file: in tiles, if it is one of those."""
    if not is_tiled(tensor.name):
        return tensor
    matrix = tensor.data.swapaxes(-1, -2) if _FACTOR.search(tensor.name) else tensor.data
    return tensor._replace(data=tile(matrix, tensor.dtype))


def taken_out(tensor: StoredTensor, shape: Shape) -> StoredTensor:
    """Give a tensor as it lies in a file back in its own shape; undoes `laid_out`."""
    channels = _channels(tensor.name, shape)
    if channels is None:
        return tensor
    matrix = untile(tensor.data, channels)
    return tensor._replace(data=matrix.swapaxes(-1, -2) if _FACTOR.search(tensor.name) else matrix)


class WidenedTensors(Mapping[str, npt.NDArray[np.float32]]):
    """The tensors of a model as float32, widened one at a time, when asked for."""

    def __init__(self, stored: Mapping[str, StoredTensor], shapes: Mapping[str, Shape]) -> None:
        """Take tensors as they lie in a file, and the model's own shapes; neither is copied."""
        self._stored = stored
        self._shapes = shapes

    def __getitem__(self, name: str) -> npt.NDArray[np.float32]:
        shape = self._shapes[name]
        _, dtype, data = taken_out(self._stored[name], shape)
        if dtype == "BF16":
            return from_bf16(data)
        if dtype == "I8":
            return dequantise(data, self._stored[f"{name}{SCALE}"].data)
        return np.asarray(data, dtype=np.float32)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def lay_out_all(tensors: Mapping[str, npt.NDArray[Any]], dtype: str) -> dict[str, StoredTensor]:
    """Give float32 tensors of a model as a file of `dtype` holds them, by name."""
    return {
        stored.name: laid_out(stored)
        for name, tensor in tensors.items()
        for stored in store(name, np.asarray(tensor, dtype=np.float32), dtype)
    }
