"""An image to a worse one, at five levels: its first frame, decoded, corrupted and written again.

Strengths of blur, occlusion and text are shares of the image, so that small and large ones suffer alike. What
is lossless stays so but for `jpeg`. Sources: `corruption.py`.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from gooseguard.codec.image import read_frames
from gooseguard.codec.image_format import make_image_part

if TYPE_CHECKING:
    from gooseguard.core.content import Part

JPEG_QUALITIES = (25, 18, 15, 10, 7)
"""Of Pillow's encoder."""

BLUR_SHARES = (1 / 224, 2 / 224, 3 / 224, 4 / 224, 6 / 224)
"""Standard deviation of the Gaussian, of the shorter edge."""

NOISE_DEVIATIONS = (0.08, 0.12, 0.18, 0.26, 0.38)
"""Of the Gaussian, where 1 is from black to white."""

COVERED_SHARES = (0.05, 0.1, 0.2, 0.3, 0.4)
"""Of the area, by one grey rectangle of the image's own shape."""

SCALES = (0.6, 0.5, 0.4, 0.3, 0.25)
"""Of both edges, before it is enlarged again."""

N_LINES = (1, 2, 3, 4, 5)
"""Lines of text across the image."""

LINE_SHARE = 0.14
"""Height of a line, of the image's."""

WORDS = ("lorem", "ipsum", "dolor", "sit", "amet", "elit", "sed", "magna")
"""What the overlaid text says: nothing."""

GREY = (128, 128, 128)


def corrupt_image(part: Part, kind: str, level: int, rng: np.random.Generator) -> Part:
    """Corrupt an image part.

    Args:
        part: its first frame is what is left of an animation.
        kind: jpeg, blur, noise, occlusion, low-resolution or overlaid-text.
        level: 0 to 4.
        rng: of what is random in it.

    Raises:
        ContentError: it cannot be decoded.
    """
    image = Image.fromarray(next(iter(read_frames(part.data))))
    buffer = io.BytesIO()
    if kind == "jpeg":
        image.save(buffer, "JPEG", quality=JPEG_QUALITIES[level])
    else:
        change = {
            "blur": _blur,
            "noise": _add_noise,
            "occlusion": _cover,
            "low-resolution": _shrink,
            "overlaid-text": _write_over,
        }[kind]
        change(image, level, rng).save(buffer, "PNG")
    return make_image_part(buffer.getvalue(), part.origin)


def _blur(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    del rng
    return image.filter(ImageFilter.GaussianBlur(BLUR_SHARES[level] * min(image.size)))


def _add_noise(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image, dtype=np.float32) / 255
    noisy = pixels + rng.normal(0, NOISE_DEVIATIONS[level], pixels.shape)
    return Image.fromarray(np.rint(np.clip(noisy, 0, 1) * 255).astype(np.uint8))


def _cover(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    width, height = (max(1, round(edge * COVERED_SHARES[level] ** 0.5)) for edge in image.size)
    left, top = (
        int(rng.integers(edge - side + 1)) for edge, side in zip(image.size, (width, height), strict=True)
    )
    image.paste(GREY, (left, top, left + width, top + height))
    return image


def _shrink(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    del rng
    width, height = (max(1, round(edge * SCALES[level])) for edge in image.size)
    return image.resize((width, height), Image.Resampling.BOX).resize(image.size, Image.Resampling.BOX)


def _write_over(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    """Write lines of white words, edged in black, from edge to edge, evenly spread from top to bottom."""
    draw = ImageDraw.Draw(image)
    size = max(4, round(image.height * LINE_SHARE))
    font = ImageFont.load_default(size)
    for line in range(N_LINES[level]):
        y = (line + 0.5) / N_LINES[level] * image.height - size / 2
        text = ""
        while draw.textlength(text, font) < image.width:
            text += f"{WORDS[int(rng.integers(len(WORDS)))]} "
        draw.text((0, y), text, "white", font, stroke_width=max(1, size // 12), stroke_fill="black")
    return image
