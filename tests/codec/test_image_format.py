import base64
import io

import pytest
from PIL import Image

from gooseguard.codec.image_format import ImageFormat, decode_data_url, make_image_part, sniff
from gooseguard.core.content import Modality, Part
from gooseguard.core.errors import ContentError


@pytest.mark.parametrize("kind", ImageFormat)
def test_what_pillow_writes_is_told_by_its_first_bytes(kind):
    buffer = io.BytesIO()
    Image.new("RGB", (5, 4)).save(buffer, kind.name)
    assert sniff(buffer.getvalue()) is kind


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"II*\0",
        b"%PDF-1.7",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"RIFF\0\0\0\0WAVE",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41",
        b"\x89PNG\r\n\x1a",
    ],
)
def test_other_formats_are_none(data):
    assert sniff(data) is None


def test_avif_under_a_general_brand_is_told():
    assert sniff(b"\0\0\0\x20ftypmif1\0\0\0\0mif1avifmiaf") is ImageFormat.AVIF


GIF = b"GIF89a" + bytes(20)


def test_a_part_has_the_media_type_that_its_bytes_say():
    assert make_image_part(GIF, "a.png") == Part(Modality.IMAGE, GIF, "image/gif", "a.png")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"<svg/>", "no format that is read"),
        (bytes(27), "27 bytes, more than 26"),
    ],
)
def test_what_makes_no_part(data, found):
    with pytest.raises(ContentError, match=found):
        make_image_part(data, max_bytes=26)


@pytest.mark.parametrize(
    "head", ["data:image/png;base64,", "data:;base64,", "data:image/svg+xml;charset=utf-8;base64,"]
)
def test_data_urls(head):
    assert decode_data_url(head + base64.b64encode(GIF).decode()) == GIF


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://example.com/a.png", "no data URL"),
        ("data:image/png,raw", "no data URL of base64"),
        ("data:image/png;base64,@@@@", "no valid base64"),
        ("data:image/png;base64,AAA", "no valid base64"),
        ("data:image/png;base64,\u00e9AAA", "no valid base64"),
        ("data:image/png;base64," + "AAAA" * 20, "more than 26 bytes"),
        ("", "no data URL"),
    ],
)
def test_what_is_no_data_url(url, found):
    with pytest.raises(ContentError, match=found):
        decode_data_url(url, 26)
