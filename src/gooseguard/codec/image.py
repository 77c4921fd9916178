"""Bytes of an image to its frames, and frames to the input of a CLIP tower. Knows no model.

An image from outside is never trusted: its format is told by its first bytes and decoded by the one decoder
of that format; its size is checked before a pixel is allocated; what is damaged or cut short is an error, not
a grey area. Transparency is laid on white, orientation is applied, 16 bits become 8, of an animation some
frames are taken.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from gooseguard.codec.image_format import EXPECTED, MAX_BYTES, ImageFormat, make_image_part
from gooseguard.core.errors import ArtefactError, ContentError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Pixels = npt.NDArray[np.uint8]

DECODERS: dict[ImageFormat, type[ImageFile.ImageFile]] = {
    ImageFormat.JPEG: JpegImagePlugin.JpegImageFile,
    ImageFormat.PNG: PngImagePlugin.PngImageFile,
    ImageFormat.WEBP: WebPImagePlugin.WebPImageFile,
    ImageFormat.GIF: GifImagePlugin.GifImageFile,
    ImageFormat.BMP: BmpImagePlugin.BmpImageFile,
    ImageFormat.AVIF: AvifImagePlugin.AvifImageFile,
}
"""Called by themselves and not through `Image.open`, which tries others and only warns of sizes."""

DAMAGE = (
    *(OSError, SyntaxError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RuntimeError),
    *(EOFError, ArithmeticError, AssertionError, MemoryError, struct.error, zlib.error),
)
"""What Pillow's decoders raise at altered files, found by altering whole ones."""

BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
"""What they raise where an image is of more than 179 million pixels, or of 89 where warnings are errors."""

PREPROCESSOR_FILE = "preprocessor_config.json"
"""Where the published layout of a CLIP model says how images are prepared."""

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of red, green and blue, 0..1. Source: openai/CLIP, `clip/clip.py`, `_transform`."""


LONGEST = 64
"""How many times as long as wide a frame may be before only its middle is resized."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What an image may take."""

    size_bytes: int = MAX_BYTES
    """Bytes of the file."""
    pixels: int = 64_000_000
    """Pixels of one frame."""
    frames: int = 1000
    """Frames of an animation."""
    animation_pixels: int = 1_000_000_000
    """Pixels of all its frames together: each is decoded on the way to the next."""
    sampled: int = 8
    """Frames of an animation that are looked at: the first, the last, and some between, evenly."""


DEFAULT_LIMITS = ImageLimits()


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a CLIP tower wants its images: shortest edge resized, centre cut out, channels normalised."""

    shortest_edge: int = 224
    """Pixels, at least `crop`."""
    crop: int = 224
    """Width and height of what is cut out, in pixels."""
    mean: tuple[float, float, float] = CLIP_MEAN
    """Of red, green and blue, 0..1."""
    std: tuple[float, float, float] = CLIP_STD
    """Of red, green and blue."""


def read_preprocessing(folder: Path) -> Preprocessing:
    """Read `preprocessor_config.json` as CLIP models are published with.

    Raises:
        ArtefactError: it is missing, or asks for what is not done here: its values are named.
    """
    path = folder / PREPROCESSOR_FILE
    try:
        table = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ArtefactError(
            f"{path}: cannot be read ({type(error).__name__}); expected the file as it was published"
        ) from None
    if not isinstance(table, dict):
        raise ArtefactError(f"{path}: is no JSON object; expected the file as it was published")
    # Both are written as a number too, by older releases.
    size, crop = table.get("size", 224), table.get("crop_size", 224)
    edge = size.get("shortest_edge") if isinstance(size, dict) else size
    crops = [crop.get("height"), crop.get("width")] if isinstance(crop, dict) else [crop, crop]
    mean, std = table.get("image_mean", CLIP_MEAN), table.get("image_std", CLIP_STD)
    findings = [
        f"{name} is {table[name]!r}, expected {wanted!r}"
        for name, wanted in (
            ("do_resize", True),
            ("do_center_crop", True),
            ("do_rescale", True),
            ("do_normalize", True),
            ("resample", int(Image.Resampling.BICUBIC)),
        )
        if table.get(name, wanted) != wanted
    ]
    if not (type(edge) is int and type(crops[0]) is int and crops[0] == crops[1] and 0 < crops[0] <= edge):
        findings.append(f"size {size!r} and crop_size {crop!r}, expected a square no larger than the edge")
    for name, values in (("image_mean", mean), ("image_std", std)):
        if not (len(values) == 3 and all(type(value) in (int, float) for value in values) and all(std)):
            findings.append(f"{name} is {values!r}, expected three numbers")
    if findings:
        raise ArtefactError(f"{path}: {'; '.join(findings)}; only CLIP's own preparation is known")
    # Checked above.
    assert type(edge) is int and type(crops[0]) is int
    return Preprocessing(edge, crops[0], tuple(mean), tuple(std))


def read_frames(data: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> Iterator[Pixels]:
    """Decode an image, frame by frame: only one is held at a time.

    Args:
        data: the file.
        limits: what it may take.

    Yields:
        uint8, (H, W, 3), red, green and blue; one, or of an animation up to `limits.sampled`.

    Raises:
        ContentError: no image, of another format, too large, damaged or incomplete.
    """
    kind = _check_data(data, limits)
    try:
        with DECODERS[kind](io.BytesIO(data)) as image:
            _check_size(image.size, limits)
            n_frame = getattr(image, "n_frames", 1)
            _check_animation(image.size, n_frame, limits)
            for place in sample_places(n_frame, limits.sampled):
                if place:
                    _seek(image, place, limits)
                yield _to_rgb(ImageOps.exif_transpose(image))
    except BOMBS:
        raise ContentError(
            f"the image ({kind.value}) has more than {limits.pixels} pixels; send a smaller one"
        ) from None
    except DAMAGE as error:
        raise ContentError(
            f"the image is damaged or incomplete ({kind.value}, {type(error).__name__}); {EXPECTED}"
        ) from None


def preprocess(
    data: bytes, preparation: Preprocessing, limits: ImageLimits = DEFAULT_LIMITS
) -> npt.NDArray[np.float32]:
    """Give what a CLIP tower reads of an image, float32, (F, 3, crop, crop), F frames.

    Raises:
        ContentError: as `read_frames`.
    """
    return np.stack([prepare(frame, preparation) for frame in read_frames(data, limits)])


def prepare(pixels: Pixels, preparation: Preprocessing) -> npt.NDArray[np.float32]:
    """Give what a CLIP tower reads of one frame, float32, (3, crop, crop); pixels uint8, (H, W, 3).

    The frame is resized by bicubic interpolation so that its shorter edge fits, and its centre is cut out.

    Source: transformers' `CLIPImageProcessorPil`, which this equals to 1 in 255 (tests/codec/test_image.py),
        but for frames longer than `LONGEST` times their width, of which only the middle is resized: a frame
        of one pixel by a million takes no more memory than another.
    """
    pixels = _middle(pixels)
    height, width = pixels.shape[:2]
    edge, crop, short = preparation.shortest_edge, preparation.crop, min(height, width)
    # The longer edge is cut to whole pixels, not rounded.
    size = (edge * width // short, edge * height // short)
    resized = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
    top, left = (size[1] - crop) // 2, (size[0] - crop) // 2
    cut = resized[top : top + crop, left : left + crop] * np.float32(1 / 255)
    scaled = (cut - np.asarray(preparation.mean, np.float32)) / np.asarray(preparation.std, np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def _middle(pixels: Pixels) -> Pixels:
    """Cut what is more than `LONGEST` times as long as wide, or as wide as long, around its middle."""
    for axis in (0, 1):
        side, most = pixels.shape[axis], LONGEST * pixels.shape[1 - axis]
        if side > most:
            # As odd or even as the whole, so that the middle stays the middle.
            most += (side - most) % 2
            begin = (side - most) // 2
            pixels = pixels[begin : begin + most] if axis == 0 else pixels[:, begin : begin + most]
    return pixels


def sample_places(n_frame: int, n_sampled: int) -> list[int]:
    """Give which frames to look at: the first, the last, and some between, evenly, in order."""
    places = np.linspace(0, n_frame - 1, min(n_frame, n_sampled))
    return sorted({round(place) for place in places.tolist()})


def _check_data(data: bytes, limits: ImageLimits) -> ImageFormat:
    """Check what can be told without a decoder; gives the format."""
    kind = ImageFormat(make_image_part(data, max_bytes=limits.size_bytes).media_type)
    if kind is ImageFormat.WEBP:
        # Its decoder makes room for the canvas as soon as it is opened.
        _check_size(_webp_size(data), limits)
    if kind is ImageFormat.GIF:
        # Its decoder makes room for whatever a later frame covers, and warns at most.
        for corner in _gif_corners(data):
            _check_size(corner, limits)
    return kind


def _check_size(size: tuple[int, int], limits: ImageLimits) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ContentError(f"the image is {width} by {height} pixels; {EXPECTED}")
    if width * height > limits.pixels:
        raise ContentError(
            f"the image is {width} by {height} pixels, {width * height} in all, more than {limits.pixels}; "
            "send a smaller one"
        )


def _check_animation(size: tuple[int, int], n_frame: int, limits: ImageLimits) -> None:
    if n_frame > limits.frames:
        raise ContentError(
            f"the animation has {n_frame} frames, more than {limits.frames}; send it in pieces"
        )
    if n_frame > 1 and n_frame * size[0] * size[1] > limits.animation_pixels:
        raise ContentError(
            f"the animation has {n_frame} frames of {size[0]} by {size[1]} pixels, more than "
            f"{limits.animation_pixels} in all; send a smaller or shorter one"
        )


def _seek(image: ImageFile.ImageFile, place: int, limits: ImageLimits) -> None:
    """Go to a frame; those before it are decoded on the way, and may be larger than the first."""
    for step in range(image.tell() + 1, place + 1):
        image.seek(step)
        _check_size(image.size, limits)


def _webp_size(data: bytes) -> tuple[int, int]:
    """Read width and height of a WebP file from its first chunk.

    Source: RFC 9649, sections 2.5 (VP8), 2.6 (VP8L), 2.7 (VP8X).
    """
    head = data[:30].ljust(30, b"\0")
    chunk = head[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF


def _gif_corners(data: bytes) -> Iterator[tuple[int, int]]:
    """Read how far each frame of a GIF reaches, right and down; a file that is cut short just ends.

    Source: GIF89a specification, sections 18 (logical screen descriptor) and 20 (image descriptor).
    """
    place, end = 13 + _gif_table(data[10:11]), len(data)
    while place < end:
        kind, place = data[place], place + 1
        if kind == 0x3B:
            return
        if kind == 0x21:
            place += 1
        elif kind == 0x2C:
            left, top, width, height = struct.unpack("<4H", data[place : place + 8].ljust(8, b"\0"))
            # A frame of nothing is the decoder's to judge.
            yield max(left + width, 1), max(top + height, 1)
            place += 9 + _gif_table(data[place + 8 : place + 9]) + 1
        else:
            continue
        while place < end and data[place]:
            place += 1 + data[place]
        place += 1


def _gif_table(flags: bytes) -> int:
    """Give the bytes of the colour table that a descriptor's flags promise."""
    return 3 * 2 ** ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _to_rgb(image: Image.Image) -> Pixels:
    """Give a decoded frame as uint8, (H, W, 3)."""
    if image.mode.startswith("I;16"):
        # `convert` would cut off what is above 255 and leave nearly all white.
        high = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(high[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"), dtype=np.uint8)
