"""Images -> perceptual hashes, which small changes of size, quality and brightness leave nearly the same.

The hash is the sign of 64 low frequencies of the image's discrete cosine transform against their median.

Source: C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010, 3.2.1 (DCT
based hash).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from gooseguard.core.extras import needing

SIDE = 32
"""Pixels of each side of the small grey image that is transformed."""
LOW = 8
"""Frequencies of each axis that are kept, from the second on: the first is the mean."""

U64 = npt.NDArray[np.uint64]


def perceptual_hash(data: bytes) -> int:
    """Give the 64 bits of an image, of an animation those of its first frame.

    Raises:
        ConfigError: Pillow is not installed.
        ContentError: the bytes are no image that can be decoded, or one beyond the limits of `codec.image`.
    """
    with needing("datasets with images need", "data"):
        from PIL import Image  # noqa: PLC0415

        from gooseguard.codec.image import read_frames  # noqa: PLC0415
    frame = next(iter(read_frames(data)))
    small = Image.fromarray(frame).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    grey = np.asarray(small, np.float64)
    basis = _cosines()
    low = (basis @ grey @ basis.T).ravel()
    # Rounded, so that a last bit of a product decides nothing: equal frequencies fall on one side.
    bits = np.round(low, 6) > np.round(np.median(low), 6)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@cache
def _cosines() -> npt.NDArray[np.float64]:
    """Give rows 1..8 of the DCT-II, float64, (8, 32)."""
    k = np.arange(1, LOW + 1)[:, None]
    n = np.arange(SIDE)[None, :]
    return np.asarray(np.cos(np.pi * k * (2 * n + 1) / (2 * SIDE)))


def hamming(left: U64, right: U64) -> npt.NDArray[np.int64]:
    """Give in how many bits the hashes `left[i]` and `right[i]` differ; uint64, (n,) each; int64, (n,)."""
    differing = (left ^ right)[:, None].view(np.uint8)
    return np.asarray(np.unpackbits(differing, axis=1).sum(axis=1), np.int64)


def hash_bands(hashes: U64) -> npt.NDArray[np.uint32]:
    """Give the pairs of bytes of each hash, uint32, (28, n): hashes of at most 6 differing bits share one.

    6 bits spoil at most 6 of 8 bytes; the two that are left are one of the 28 pairs.
    """
    octets = hashes[:, None].view(np.uint8).astype(np.uint32)
    return np.stack([octets[:, a] << 8 | octets[:, b] for a in range(8) for b in range(a + 1, 8)])
