"""Perceptual hashes: small changes move few bits, other images move many."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from gooseguard.core.errors import ContentError
from gooseguard.data.images import hamming, hash_bands, perceptual_hash


def draw(seed, size=(200, 160)):
    generator = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(generator.integers(0, 256, 3).tolist()))
    pen = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, w, h = (generator.random(4) * [size[0], size[1], 90, 90]).tolist()
        pen.ellipse((x, y, x + w + 5, y + h + 5), fill=tuple(generator.integers(0, 256, 3).tolist()))
    return image


def encode(image, form="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def distance(one, other):
    return int(hamming(np.array([one], np.uint64), np.array([other], np.uint64))[0])


@pytest.mark.parametrize("seed", range(5))
def test_small_changes_move_few_bits(seed):
    image = draw(seed)
    original = perceptual_hash(encode(image))
    changed = [
        encode(image, "JPEG", quality=40),
        encode(image.resize((100, 80), Image.Resampling.LANCZOS)),
        encode(ImageEnhance.Brightness(image).enhance(1.15)),
        encode(image.convert("L")),
    ]
    assert max(distance(original, perceptual_hash(data)) for data in changed) <= 6


def test_other_images_move_many_bits():
    hashes = [perceptual_hash(encode(draw(seed))) for seed in range(20)]
    assert min(distance(a, b) for a, b in itertools.combinations(hashes, 2)) > 6


def test_what_is_no_image_is_refused():
    with pytest.raises(ContentError):
        perceptual_hash(b"no image")
    with pytest.raises(ContentError):
        perceptual_hash(encode(draw(0))[:200])


def test_hamming_counts_bits():
    left, right = np.array([0, 2**64 - 1, 5], np.uint64), np.array([0, 0, 6], np.uint64)
    assert hamming(left, right).tolist() == [0, 64, 2]


def test_hashes_of_at_most_six_differing_bits_share_a_band():
    generator = np.random.default_rng(1)
    hashes = generator.integers(0, 2**64, 500, dtype=np.uint64)
    flipped = hashes.copy()
    for row in range(500):
        for bit in generator.choice(64, 6, replace=False).tolist():
            flipped[row] ^= np.uint64(1 << bit)
    assert hash_bands(hashes).shape == (28, 500)
    assert (hash_bands(hashes) == hash_bands(flipped)).any(axis=0).all()
