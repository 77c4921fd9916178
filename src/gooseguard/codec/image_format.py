"""Bytes from outside to an image part, by what they begin like. Reads no pixels; needs no library."""

from __future__ import annotations

import base64
import binascii
import re
from enum import StrEnum

from gooseguard.core.content import Modality, Part
from gooseguard.core.errors import ContentError


class ImageFormat(StrEnum):
    """The formats that are read, by media type; no other is ever tried."""

    JPEG = "image/jpeg"
    PNG = "image/png"
    WEBP = "image/webp"
    GIF = "image/gif"
    BMP = "image/bmp"
    AVIF = "image/avif"


SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".avif"})
"""How the names of image files end, in lower case."""

HEAD_BYTES = 64
"""How much of a file `sniff` looks at."""

MAX_BYTES = 32 << 20
"""Bytes of an image file, unless the caller says otherwise."""

_DATA_URL = re.compile(
    r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[^;,]*)*(?P<base64>;base64)?,", re.ASCII
)

EXPECTED = "expected a whole JPEG, PNG, WebP, GIF, BMP or AVIF file"
"""What errors say."""

_SIGNATURES = {
    ImageFormat.JPEG: rb"\xff\xd8\xff",
    ImageFormat.PNG: rb"\x89PNG\r\n\x1a\n",
    ImageFormat.WEBP: rb"RIFF.{4}WEBP",
    ImageFormat.GIF: rb"GIF8[79]a",
    ImageFormat.BMP: rb"BM",
    # A box `ftyp` with the brand among the first ones: the file's own, or one it is compatible with.
    ImageFormat.AVIF: rb".{4}ftyp(?:avi[fs]|(?:mif1|msf1|miaf).{4}(?:.{4}){0,8}?avi[fs])",
}
_PATTERNS = {kind: re.compile(pattern, re.DOTALL) for kind, pattern in _SIGNATURES.items()}


def sniff(data: bytes) -> ImageFormat | None:
    """Tell which format a file begins like; `None`: none that is read.

    Source: the signatures are those of the formats' specifications (RFC 9649 for WebP, AV1 Image File Format
    v1.1, section 6 for the brands of AVIF).
    """
    head = data[:HEAD_BYTES]
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.match(head)), None)


def decode_data_url(url: str, max_bytes: int = MAX_BYTES) -> bytes:
    """Give the bytes of a `data:` URL. Its media type is not believed; `make_image_part` looks for itself.

    Source: RFC 2397; only the form with base64, in which images are sent.

    Raises:
        ContentError: it is none, not of base64, or of more than `max_bytes`.
    """
    head = _DATA_URL.match(url)
    if head is None or not head["base64"]:
        raise ContentError("the URL is no data URL of base64; expected data:image/png;base64,…")
    text = url[head.end() :]
    # Four characters are three bytes; what is longer is not decoded first.
    if len(text) // 4 * 3 > max_bytes + 3:
        raise ContentError(f"the image has more than {max_bytes} bytes; send a smaller one")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ContentError("the data URL holds no valid base64; expected data:image/png;base64,…") from None


def make_image_part(data: bytes, origin: str = "", max_bytes: int = MAX_BYTES) -> Part:
    """Make an image part; a look at size and first bytes, the pixels are not read.

    Raises:
        ContentError: it is empty, too large, or begins like no format that is read.
    """
    if not data:
        raise ContentError(f"the image is empty (0 bytes); {EXPECTED}")
    if len(data) > max_bytes:
        raise ContentError(f"the image has {len(data)} bytes, more than {max_bytes}; send a smaller one")
    kind = sniff(data)
    if kind is None:
        raise ContentError(f"the image is of no format that is read here; {EXPECTED}")
    return Part(Modality.IMAGE, data, kind.value, origin)
