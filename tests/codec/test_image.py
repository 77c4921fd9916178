import io
import json
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from gooseguard.codec.image import (
    CLIP_STD,
    ImageLimits,
    Preprocessing,
    prepare,
    preprocess,
    read_frames,
    read_preprocessing,
    sample_places,
)
from gooseguard.core.errors import ArtefactError, ContentError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")

LOSSLESS = {"PNG": {}, "BMP": {}, "WEBP": {"lossless": True}}

RED, BLUE = (255, 0, 0), (0, 0, 255)


def save(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def two_halves(width=40, height=20):
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def only_frame(data, **limits):
    (frame,) = read_frames(data, ImageLimits(**limits))
    return frame


def is_near(pixel, colour, most=40):
    return np.abs(np.asarray(pixel, dtype=int) - colour).max() <= most


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_decodes(form):
    frame = only_frame(save(two_halves(), form))
    assert (frame.dtype, frame.shape) == (np.uint8, (20, 40, 3))
    assert is_near(frame[10, 3], RED)
    assert is_near(frame[10, 36], BLUE)


@pytest.mark.parametrize("form", LOSSLESS)
def test_lossless_formats_keep_every_pixel(form):
    pixels = noise(19, 23)
    assert np.array_equal(only_frame(save(Image.fromarray(pixels), form, **LOSSLESS[form])), pixels)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_orientation_is_applied(form):
    exif = Image.Exif()
    # 6: the camera was turned; to be shown, rows become columns from the right.
    exif[0x0112] = 6
    frame = only_frame(save(two_halves(), form, exif=exif))
    assert frame.shape == (40, 20, 3)
    assert is_near(frame[3, 10], RED)
    assert is_near(frame[36, 10], BLUE)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "AVIF"])
def test_what_is_transparent_is_white(form):
    image = two_halves().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 10, 20))
    frame = only_frame(save(image, form))
    assert is_near(frame[10, 3], (255, 255, 255))
    assert is_near(frame[10, 15], RED)


def test_palettes_with_a_transparent_colour_are_white_there():
    image = two_halves().quantize(4)
    frame = only_frame(save(image, "PNG", transparency=image.getpixel((0, 0))))
    assert is_near(frame[10, 3], (255, 255, 255))
    assert is_near(frame[10, 36], BLUE)


def test_half_transparent_is_half_white():
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    # 255 * (1 - 128 / 255) = 127.
    assert np.abs(only_frame(save(image, "PNG")).astype(int) - 127).max() <= 1


def test_print_colours_become_screen_colours():
    frame = only_frame(save(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert is_near(frame[4, 4], RED)


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_has_three_equal_channels(mode):
    frame = only_frame(save(Image.new("L", (8, 8), 255).convert(mode), "PNG"))
    assert np.array_equal(frame, np.full((8, 8, 3), 255))


def test_sixteen_bits_become_eight():
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16) * 256 + 77
    frame = only_frame(save(Image.fromarray(ramp), "PNG"))
    assert np.array_equal(frame[:, :, 1], np.arange(256).reshape(16, 16))


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "AVIF"])
def test_frames_of_an_animation_are_sampled_from_first_to_last(form):
    greys = [Image.fromarray(noise(8, 8, seed) // 32 + 20 * seed) for seed in range(11)]
    data = save(greys[0], form, save_all=True, append_images=greys[1:], duration=100)
    frames = list(read_frames(data, ImageLimits(sampled=3)))
    means = [int(frame.mean()) for frame in frames]
    # Frame f has a mean of 3.5 + 20 f; the first, the middle one and the last of eleven.
    assert [round((mean - 3.5) / 20) for mean in means] == [0, 5, 10]


def test_places_are_even_and_hold_first_and_last():
    assert sample_places(1, 8) == [0]
    assert sample_places(3, 8) == [0, 1, 2]
    assert sample_places(100, 4) == [0, 33, 66, 99]
    assert sample_places(100, 1) == [0]


@pytest.mark.parametrize("form", FORMATS)
def test_cut_short_anywhere_is_an_error(form):
    data = save(Image.fromarray(noise(40, 50)), form)
    for size in range(0, len(data) - 16, len(data) // 25):
        with pytest.raises(ContentError, match="JPEG, PNG, WebP, GIF, BMP or AVIF"):
            list(read_frames(data[:size]))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("form", FORMATS)
def test_altered_bytes_give_pixels_or_a_content_error_and_nothing_else(form):
    rng = np.random.default_rng(5)
    exif = {"exif": Image.Exif()} if form in ("JPEG", "PNG", "WEBP", "AVIF") else {}
    if exif:
        exif["exif"][0x0112] = 3
    data = save(Image.fromarray(noise(30, 40)), form, **exif)
    n_error = 0
    for _ in range(150):
        altered = bytearray(data)
        for _ in range(int(rng.integers(1, 8))):
            altered[int(rng.integers(0, min(len(altered), 300)))] = int(rng.integers(0, 256))
        try:
            assert all(frame.dtype == np.uint8 for frame in read_frames(bytes(altered)))
        except ContentError:
            n_error += 1
    assert n_error > 10


def test_limits_say_what_was_found():
    data = save(two_halves(), "PNG")
    with pytest.raises(ContentError, match=r"40 by 20 pixels, 800 in all, more than 799"):
        list(read_frames(data, ImageLimits(pixels=799)))
    assert only_frame(data, pixels=800).shape == (20, 40, 3)
    with pytest.raises(ContentError, match=rf"{len(data)} bytes, more than 50"):
        list(read_frames(data, ImageLimits(size_bytes=50)))
    frames = [two_halves(), two_halves(30), two_halves(20)]
    animation = save(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(ContentError, match="3 frames, more than 2"):
        list(read_frames(animation, ImageLimits(frames=2)))
    with pytest.raises(ContentError, match="3 frames of 40 by 20 pixels, more than 2399"):
        list(read_frames(animation, ImageLimits(animation_pixels=2399)))


@pytest.mark.parametrize("data", [b"", b"not an image", b"%PDF-1.7 ", b"II*\0" + bytes(64)])
def test_what_is_no_image_is_an_error(data):
    with pytest.raises(ContentError, match=r"empty|no format"):
        list(read_frames(data))


BOMBS = """
import resource, sys, pathlib
from gooseguard.codec.image import read_frames
from gooseguard.core.errors import ContentError
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
# The smallest of the images would take 300 MB.
resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20),) * 2)
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        next(read_frames(path.read_bytes()))
    except ContentError as error:
        print(path.name, error)
"""


def bombs():
    """A few bytes each, that say they are of more pixels than may be."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    size = (10_000, 10_000)
    jpeg = save(Image.new("RGB", (16, 16)), "JPEG")
    frame = jpeg.index(b"\xff\xc0") + 5
    bmp = save(Image.new("RGB", (16, 16)), "BMP")
    gif = save(Image.new("P", (16, 16)), "GIF")
    avif = save(Image.new("RGB", (16, 16)), "AVIF")
    extent = avif.index(b"ispe") + 8
    header = struct.pack("<I", 10) + bytes(4) + (size[0] - 1).to_bytes(3, "little") * 2
    body = save(Image.new("RGB", (16, 16)), "WEBP")[12:]
    webp = b"WEBPVP8X" + header + body
    return {
        "png": b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(99)))
        + chunk(b"IEND", b""),
        "jpeg": jpeg[:frame] + struct.pack(">HH", *size) + jpeg[frame + 4 :],
        "bmp": bmp[:18] + struct.pack("<ii", *size) + bmp[26:],
        "gif": gif[:6] + struct.pack("<HH", *size) + gif[10:],
        "webp": b"RIFF" + struct.pack("<I", len(webp)) + webp,
        "avif": avif[:extent] + struct.pack(">II", *size) + avif[extent + 8 :],
    }


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_an_image_of_too_many_pixels_is_refused_before_they_are_allocated(tmp_path):
    for name, data in bombs().items():
        (tmp_path / name).write_bytes(data)
    run = subprocess.run(
        [sys.executable, "-c", BOMBS, str(tmp_path)], capture_output=True, text=True, check=False
    )
    lines = run.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["avif", "bmp", "gif", "jpeg", "png", "webp"], run.stderr
    for line in lines:
        # libavif compares the box with the picture itself, and finds the lie first.
        assert "10000 by 10000 pixels" in line or line.startswith("avif"), line


def test_an_animation_whose_later_frame_is_too_large_is_refused():
    small, large = two_halves(8, 8), two_halves(60, 60)
    data = bytearray(save(small, "GIF", save_all=True, append_images=[Image.new("RGB", (8, 8), BLUE)]))
    # The second frame's descriptor: say that it is larger than the canvas.
    second = data.index(b"\x2c", data.index(b"\x2c") + 1)
    data[second + 5 : second + 9] = struct.pack("<HH", *large.size)
    with pytest.raises(ContentError, match=r"more than 100;"):
        list(read_frames(bytes(data), ImageLimits(pixels=100)))


@pytest.mark.filterwarnings("default::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [(12_000, 9_000), (65_535, 65_535)], ids=["pillow warns", "pillow refuses"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_frame_that_outgrows_its_canvas_is_refused(place, side, recwarn):
    data = bytearray(
        save(Image.new("P", (8, 8)), "GIF", save_all=True, append_images=[Image.new("RGB", (8, 8), BLUE)])
    )
    at = data.index(b"\x2c")
    if place:
        at = data.index(b"\x2c", at + 1)
    data[at + 5 : at + 9] = struct.pack("<HH", *side)
    with pytest.raises(ContentError, match=rf"is {side[0]} by {side[1]} pixels, .*more than 64000000"):
        list(read_frames(bytes(data)))
    # Before Pillow saw it.
    assert not recwarn.list


SHAPES = [
    (224, 224),
    (1, 1),
    (1, 40),
    (41, 1),
    (500, 333),
    (333, 500),
    (50, 80),
    (700, 2000),
    (2000, 700),
    (7, 5),
]


@pytest.mark.parametrize("edge", [30, 224])
def test_preparation_equals_transformers(edge):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    theirs = CLIPImageProcessorPil(size={"shortest_edge": edge}, crop_size={"height": edge, "width": edge})
    for height, width in SHAPES:
        image = Image.fromarray(noise(height, width))
        expected = np.asarray(theirs(images=image, return_tensors="np")["pixel_values"][0])
        got = prepare(np.asarray(image), Preprocessing(edge, edge))
        assert (got.dtype, got.shape) == (np.float32, expected.shape)
        steps = np.abs(got - expected) * np.reshape(CLIP_STD, (3, 1, 1)) * 255
        assert steps.max() <= 1, (height, width)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF"])
def test_transparent_images_are_prepared_as_transformers_does(form):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    image = Image.fromarray(noise(60, 40)).convert("RGBA")
    image.putalpha(Image.fromarray((noise(60, 40, 1)[:, :, 0] > 128).astype(np.uint8) * 255))
    data = save(image, form)
    expected = CLIPImageProcessorPil()(images=Image.open(io.BytesIO(data)), return_tensors="np")
    got = preprocess(data, Preprocessing())
    steps = np.abs(got - expected["pixel_values"]) * np.reshape(CLIP_STD, (1, 3, 1, 1)) * 255
    assert steps.max() <= 1


def test_a_hair_of_an_image_takes_no_more_memory_than_another():
    # Resized whole it would be 224 by 67,200,000 pixels.
    pixels = np.zeros((1, 300_001, 3), dtype=np.uint8)
    pixels[:, 150_000] = 255
    got = prepare(pixels, Preprocessing())
    assert got.shape == (3, 224, 224)
    # The one white pixel is in the middle, where it covers what is cut out.
    assert (got[0, :, 100:124] > 1.5).all()


def test_all_frames_are_prepared():
    frames = [Image.new("RGB", (20, 10), (20 * number, 0, 0)) for number in range(5)]
    data = save(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert preprocess(data, Preprocessing(8, 8)).shape == (5, 3, 8, 8)


def write_preprocessor(folder, **changes):
    table = {
        "crop_size": 336,
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "size": 336,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(table | changes))


def test_the_published_preparation_is_read(tmp_path):
    write_preprocessor(tmp_path)
    assert read_preprocessing(tmp_path) == Preprocessing(336, 336)
    write_preprocessor(
        tmp_path, size={"shortest_edge": 400}, crop_size={"height": 336, "width": 336}, image_std=[1, 1, 2]
    )
    assert read_preprocessing(tmp_path) == Preprocessing(400, 336, std=(1, 1, 2))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"resample": 2}, "resample is 2, expected 3"),
        ({"do_center_crop": False}, "do_center_crop is False"),
        ({"size": 200}, "size 200 and crop_size 336"),
        ({"size": {"height": 336, "width": 336}}, "expected a square"),
        ({"image_mean": [0.5]}, "image_mean is"),
        ({"image_std": [0, 1, 1]}, "image_mean|image_std"),
    ],
)
def test_another_preparation_is_refused(tmp_path, changes, found):
    write_preprocessor(tmp_path, **changes)
    with pytest.raises(ArtefactError, match=found):
        read_preprocessing(tmp_path)


def test_no_preparation_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match="cannot be read"):
        read_preprocessing(tmp_path)
