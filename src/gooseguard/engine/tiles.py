"""Matrices to the tiles that the native kernels read, and back: the one layout of an engine file.

A matrix of N output and K input channels is cut into tiles of 32 output channels; missing ones are zeros.
Inside a tile come groups of input channels, 4 bytes wide (1 of F32, 2 of BF16, 4 of I8; missing ones are
zeros), and inside a group the 32 channels, each with its group side by side:

    tiles[n // 32, k // g, n % 32, k % g] = matrix[n, k]

Any instruction set of 4 to 32 lanes reads that from front to back. Of several matrices in one tensor,
(…, N, K), the tiles of each come one after another. An I8 matrix stands for stored * scale, a scale an output
channel. Knows no file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

TILE = 32
"""Output channels of a tile."""

GROUP = {"F32": 1, "BF16": 2, "I8": 4}
"""Input channels of a group, by stored dtype."""

LARGEST_I8 = 127
"""Stored weights lie within plus and minus this."""


def tile_shape(dtype: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Give the shape of the tiles of matrices (…, N, K) = `shape` stored as `dtype`."""
    *lead, n, k = shape
    group = GROUP[dtype]
    return *lead, -(-n // TILE), -(-k // group), TILE, group


def tile(matrix: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """Give the tiles of matrices (…, N, K), (…, N / 32, K / g, 32, g), a new array of the same type."""
    *lead, tiles, groups, _, group = tile_shape(dtype, matrix.shape)
    *_, n, k = matrix.shape
    padded = np.zeros((*lead, tiles * TILE, groups * group), matrix.dtype)
    padded[..., :n, :k] = matrix
    return np.ascontiguousarray(padded.reshape(*lead, tiles, TILE, groups, group).swapaxes(-3, -2))


def untile(tiles: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Give the matrices (…, N, K) = `shape` of their tiles, a new array of the same type."""
    *lead, n_tiles, groups, _, group = tiles.shape
    padded = tiles.swapaxes(-3, -2).reshape(*lead, n_tiles * TILE, groups * group)
    *_, n, k = shape
    return np.ascontiguousarray(padded[..., :n, :k])


def quantise(matrix: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Round a matrix (N, K) to int8, ties to even; gives it and its scales (N,): largest of a row / 127."""
    scale = (np.abs(matrix).max(axis=1) / np.float32(LARGEST_I8)).astype(np.float32)
    divisor = np.where(scale > 0, scale, np.float32(1.0))[:, None]
    stored = np.clip(np.rint(matrix / divisor), -LARGEST_I8, LARGEST_I8).astype(np.int8)
    return stored, scale


def dequantise(stored: npt.NDArray[np.int8], scale: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Give the float32 matrix (N, K) that int8 weights and their scales (N,) stand for."""
    return stored.astype(np.float32) * scale[:, None]
