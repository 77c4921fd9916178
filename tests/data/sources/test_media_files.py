"""Media files as parts: formats by their first bytes, damage found, classes by folder."""

import io
import struct

import pytest
from PIL import Image

from gooseguard.core.content import Modality
from gooseguard.core.errors import DataError
from gooseguard.data.sources.media_files import check_part, open_media_folder, read_part, sniff, video_problem
from gooseguard.data.sources.source import Faults, OnFault, SourceConfig


def picture(kind="PNG", colour="red"):
    stream = io.BytesIO()
    Image.new("RGB", (16, 8), colour).save(stream, kind)
    return stream.getvalue()


def box(kind, contents):
    return struct.pack(">I", len(contents) + 8) + kind + contents


def mp4(duration=1000):
    """An MP4 with an index and no picture: version 0 of mvhd has the duration at byte 16 of its contents."""
    header = struct.pack(">IIIII", 0, 0, 0, 1000, duration) + bytes(80)
    return (
        box(b"ftyp", b"isom\x00\x00\x02\x00") + box(b"mdat", bytes(32)) + box(b"moov", box(b"mvhd", header))
    )


def avi(n_frames=30):
    """An AVI header: dwTotalFrames is the fifth field of avih."""
    avih = struct.pack("<5I", 33333, 0, 0, 0, n_frames) + bytes(36)
    body = b"AVI LIST" + struct.pack("<I", 68) + b"hdrlavih" + struct.pack("<I", len(avih)) + avih
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (picture("JPEG"), "image/jpeg"),
        (picture("PNG"), "image/png"),
        (picture("GIF"), "image/gif"),
        (picture("WEBP"), "image/webp"),
        (picture("BMP"), "image/bmp"),
        (mp4(), "video/mp4"),
        (avi(), "video/x-msvideo"),
    ],
)
def test_the_first_bytes_say_what_a_file_is(data, media_type):
    part = check_part(data, "a")
    assert (part.media_type, part.modality, part.data) == (media_type, Modality(media_type[:5]), data)
    assert sniff(data) == media_type


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "has no bytes"),
        (b"hello, I am no picture", "no image, sound or video"),
        (picture("JPEG")[:200], "is damaged or incomplete"),
        (picture("PNG")[:-30], "is damaged or incomplete"),
        (mp4(0), "is a video of zero length"),
        (mp4()[:-40], "without an index"),
        (box(b"ftyp", b"isom") + box(b"mdat", bytes(64)), "without an index"),
        (avi(0), "is a video of no frames"),
        (avi()[:40], "without a header"),
    ],
)
def test_a_damaged_file_is_named(data, message):
    with pytest.raises(DataError, match=f"porn/7.bin: .*{message}"):
        check_part(data, "porn/7.bin")


def test_a_movie_header_of_version_1_has_wide_fields():
    header = b"\x01\x00\x00\x00" + struct.pack(">QQIQ", 0, 0, 1000, 0) + bytes(80)
    data = box(b"ftyp", b"isom") + box(b"moov", box(b"mvhd", header))
    assert video_problem(data, "video/mp4") == "is a video of zero length"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a\.png: cannot be read \(No such file"):
        read_part(tmp_path / "a.png", "a.png")


def test_the_class_is_the_folder_that_a_rule_names(tmp_path):
    (tmp_path / "m.toml").write_text(
        'name = "mine"\ntitle = "M"\nlicence = "x"\ncitation = "x"\nmeaning = "x"\n'
        '[[labels]]\nfield = "class"\ncategory = "violence"\nvalues = { fight = 1, calm = 0 }\n'
    )
    root = tmp_path / "media"
    for name, data in {
        "train/fight/b/2.png": picture(colour="blue"),
        "calm/1.jpg": picture("JPEG"),
        "calm/2.mp4": mp4(0),
        "other/3.png": picture(),
        "4.png": picture(),
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    [source] = open_media_folder(
        root, SourceConfig("media_folder", str(root), mapping=str(tmp_path / "m.toml"))
    )
    faults = Faults(OnFault.SKIP)
    rows = list(source.rows(faults))
    assert [(row.example.id, dict(row.example.labels)) for row in rows] == [
        ("mine/calm/1.jpg", {"violence": 0.0}),
        ("mine/train/fight/b/2.png", {"violence": 1.0}),
    ]
    assert rows[1].example.content.parts[0].origin == "train/fight/b/2.png"
    assert [message.partition("; expected")[0] for message in faults.shown] == [
        "4.png: lies in no folder of a class",
        "calm/2.mp4: is a video of zero length",
        "other/3.png: field 'class': unknown class 'other'",
    ]
