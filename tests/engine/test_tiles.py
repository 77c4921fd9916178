"""Tiles: where each weight goes, worked by hand, and that nothing is lost."""

import numpy as np
import pytest

from gooseguard.engine.tiles import dequantise, quantise, tile, untile


@pytest.mark.parametrize(("dtype", "group"), [("F32", 1), ("BF16", 2), ("I8", 4)])
def test_each_weight_has_its_place(dtype, group):
    matrix = np.arange(1, 34 * 5 + 1, dtype=np.int32).reshape(34, 5)
    tiles = tile(matrix, dtype)
    assert tiles.shape == (2, -(-5 // group), 32, group)
    for n in (0, 1, 31, 32, 33):
        for k in range(5):
            assert tiles[n // 32, k // group, n % 32, k % group] == matrix[n, k]
    # All else is padding.
    assert np.count_nonzero(tiles) == matrix.size
    np.testing.assert_array_equal(untile(tiles, (34, 5)), matrix)


def test_matrices_of_one_tensor_follow_each_other():
    matrices = np.random.default_rng(1).integers(1, 99, (5, 34, 7))
    tiles = tile(matrices, "BF16")
    assert tiles.shape == (5, 2, 4, 32, 2)
    for found, matrix in zip(tiles, matrices, strict=True):
        np.testing.assert_array_equal(found, tile(matrix, "BF16"))
    np.testing.assert_array_equal(untile(tiles, (5, 34, 7)), matrices)


def test_quantised_by_hand():
    """Row 0: the largest is 12.7, a step 0.1. Row 1: nothing but zeros. Ties go to the even one."""
    matrix = np.array([[12.7, -0.26, 0.06], [0, 0, 0], [-127, 0.5, 1.5]], np.float32)
    stored, scale = quantise(matrix)
    assert stored.tolist() == [[127, -3, 1], [0, 0, 0], [-127, 0, 2]]
    np.testing.assert_allclose(scale, [0.1, 0, 1.0], rtol=1e-6)
    np.testing.assert_allclose(
        dequantise(stored, scale), [[12.7, -0.3, 0.1], [0, 0, 0], [-127, 0, 2]], rtol=1e-6
    )
