"""Pixels after a corruption, against the definitions in NumPy or counted."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from gooseguard.codec.image import read_frames
from gooseguard.codec.image_format import make_image_part
from gooseguard.core.errors import ContentError
from gooseguard.evaluation.image_corruption import corrupt_image


def make_part(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return make_image_part(buffer.getvalue(), "a.png")


def scene(height=60, width=80):
    """Smooth colours with an edge, uint8."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([2 * x, 3 * y, np.where(x > y, 220, 40)], -1)
    return pixels.astype(np.uint8)


def corrupted(pixels, kind, level, seed=0):
    part = corrupt_image(make_part(pixels), kind, level, np.random.default_rng(seed))
    assert part.origin == "a.png"
    return next(iter(read_frames(part.data))), part


def test_jpeg_is_what_pillow_writes_at_that_quality():
    for level, quality in enumerate((25, 18, 15, 10, 7)):
        buffer = io.BytesIO()
        Image.fromarray(scene()).save(buffer, "JPEG", quality=quality)
        found, part = corrupted(scene(), "jpeg", level)
        assert part.data == buffer.getvalue()
        assert part.media_type == "image/jpeg"
        assert found.shape == (60, 80, 3)


def test_noise_has_the_deviation_that_was_asked_for():
    grey = np.full((100, 100, 3), 128, np.uint8)
    for level, deviation in enumerate((0.08, 0.12, 0.18)):
        found = corrupted(grey, "noise", level)[0].astype(float) / 255
        assert (found - 128 / 255).std() == pytest.approx(deviation, rel=0.03)
        assert (found - 128 / 255).mean() == pytest.approx(0, abs=0.005)


def test_occlusion_covers_its_share_in_grey():
    white = np.full((100, 200, 3), 255, np.uint8)
    places = set()
    for level, share in enumerate((0.05, 0.1, 0.2, 0.3, 0.4)):
        for seed in (0, 1):
            is_covered = (corrupted(white, "occlusion", level, seed)[0] == 128).all(-1)
            assert is_covered.mean() == pytest.approx(share, abs=0.005)
            rows, columns = np.flatnonzero(is_covered.any(1)), np.flatnonzero(is_covered.any(0))
            assert is_covered[np.ix_(rows, columns)].all()
            places.add((level, int(rows[0]), int(columns[0])))
    assert len(places) == 10


def test_low_resolution_is_the_mean_of_squares():
    pixels = scene(40, 80)
    found = corrupted(pixels, "low-resolution", 4)[0]
    # At a scale of a quarter: means of four by four pixels, each shown four times.
    means = pixels.reshape(10, 4, 20, 4, 3).mean((1, 3))
    expected = means.repeat(4, 0).repeat(4, 1)
    assert np.abs(found - expected).max() <= 1


def test_blur_spreads_an_edge_more_at_each_level():
    step = np.zeros((224, 224, 3), np.uint8)
    step[:, 112:] = 255
    for level, deviation in enumerate((1, 2, 3, 4, 6)):
        profile = np.diff(corrupted(step, "blur", level)[0][100, :, 0].astype(float)) / 255
        places = np.arange(len(profile)) - 111
        assert (places * profile).sum() == pytest.approx(0, abs=0.1)
        # The derivative of a blurred edge is the Gaussian; Pillow's is made of three box blurs.
        assert np.sqrt((places**2 * profile).sum()) == pytest.approx(deviation, rel=0.1)


def test_overlaid_text_grows_line_by_line():
    grey = np.full((120, 160, 3), 128, np.uint8)
    shares = [(corrupted(grey, "overlaid-text", level)[0] != 128).any(-1).mean() for level in range(5)]
    assert 0.02 < shares[0] < 0.25
    assert all(one < two for one, two in itertools.pairwise(shares))


@pytest.mark.parametrize("kind", ["jpeg", "blur", "noise", "occlusion", "low-resolution", "overlaid-text"])
def test_an_image_of_one_pixel(kind):
    assert corrupted(np.zeros((1, 1, 3), np.uint8), kind, 4)[0].shape == (1, 1, 3)


def test_what_is_no_image_is_an_error():
    part = make_image_part(make_part(scene()).data[:60])
    with pytest.raises(ContentError):
        corrupt_image(part, "blur", 0, np.random.default_rng(0))
