"""An image, sound or video file -> a part, checked; and the generic reader of class folders.

    folder/
      porn/0001.jpg          the first folder of a path is the class, as `class`;
      normal/a/0002.png      the file's own path is `path`

Images are decoded once, so that one that cannot be read is found here and not in training. Of a video the
container is looked at: its size, and the duration that it names.

Source: ISO/IEC 14496-12 (boxes of MP4); Microsoft, "AVI RIFF File Reference".
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from gooseguard.core.content import Modality, Part
from gooseguard.core.errors import ContentError, DataError
from gooseguard.core.extras import needing
from gooseguard.data.sources.files import find_files, walk
from gooseguard.data.sources.source import Source
from gooseguard.data.sources.spec import Record, needed_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from gooseguard.data.sources.source import Faults, SourceConfig, SourceRow
    from gooseguard.data.sources.spec import Spec

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp")
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")
AUDIO_SUFFIXES = (".wav", ".mp3", ".flac", ".ogg", ".m4a")
SUFFIXES = tuple(
    form(suffix)
    for suffix in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES, *AUDIO_SUFFIXES)
    for form in (str.lower, str.upper)
)
"""What media files are called."""

MOST_BYTES = 1 << 29
"""Of one file."""

_MAGIC = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
)
_RIFF = {b"WEBP": "image/webp", b"AVI ": "video/x-msvideo", b"WAVE": "audio/wav"}


def read_part(path: Path, name: str) -> Part:
    """Read a media file; its origin is `name`.

    Raises:
        DataError: the file is missing, empty, too large, of no known format, or cannot be read.
        ConfigError: Pillow is not installed.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise DataError(f"{name}: has {size:,} bytes, expected at most {MOST_BYTES:,}")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror}); expected a media file") from None
    return check_part(data, name)


def check_part(data: bytes, name: str) -> Part:
    """Make a part of the bytes of a media file; its origin is `name`.

    Raises:
        DataError: as `read_part`.
        ConfigError: Pillow is not installed.
    """
    if not data:
        raise DataError(f"{name}: has no bytes; download it again")
    media_type = sniff(data)
    if not media_type:
        raise DataError(f"{name}: is no image, sound or video of a format that is known")
    modality = Modality(media_type.partition("/")[0])
    if modality is Modality.IMAGE:
        check_image(data, name)
    elif modality is Modality.VIDEO and (problem := video_problem(data, media_type)):
        raise DataError(f"{name}: {problem}")
    return Part(modality, data, media_type, name)


def sniff(data: bytes) -> str:
    """Give the media type that the first bytes say; empty where they say none."""
    for magic, media_type in _MAGIC:
        if data.startswith(magic):
            return media_type
    if data[:4] == b"RIFF":
        return _RIFF.get(data[8:12], "")
    if data[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
        return "audio/mp4" if data[8:11] == b"M4A" else "video/mp4"
    return ""


def check_image(data: bytes, name: str) -> None:
    """Decode an image whole, under the limits that scoring has too.

    Raises:
        DataError: it cannot be decoded.
        ConfigError: Pillow is not installed.
    """
    with needing("reading images needs", "data"):
        from gooseguard.codec.image import read_frames  # noqa: PLC0415  (the base install reads no images)
    try:
        for _ in read_frames(data):
            pass
    except ContentError as error:
        raise DataError(f"{name}: {error}; download it again") from None


def video_problem(data: bytes, media_type: str) -> str:
    """Say what is wrong with a video's container; empty where nothing is."""
    if media_type == "video/x-msvideo":
        at = data.find(b"avih", 0, 4096)
        if at < 0 or len(data) < at + 28:
            return "is an AVI without a header; download it again"
        return "" if struct.unpack_from("<I", data, at + 24)[0] else "is a video of no frames"
    if media_type == "video/mp4":
        moov = _box(data, 0, len(data), b"moov")
        if moov is None:
            return "is an MP4 without an index (moov), cut off or never finished; download it again"
        header = _box(data, *moov, b"mvhd")
        if header is None or header[1] - header[0] < 20:
            return "is an MP4 without a movie header; download it again"
        begin = header[0]
        duration = struct.unpack_from(
            ">Q" if data[begin] else ">I", data, begin + (24 if data[begin] else 16)
        )
        return "" if duration[0] else "is a video of zero length"
    return ""


def _box(data: bytes, begin: int, end: int, kind: bytes) -> tuple[int, int] | None:
    """Give where the contents of the first box of a kind begin and end."""
    while begin + 8 <= end:
        size = int.from_bytes(data[begin : begin + 4], "big")
        head = 8
        if size == 1 and begin + 16 <= end:
            size, head = int.from_bytes(data[begin + 8 : begin + 16], "big"), 16
        elif size == 0:
            size = end - begin
        if size < head or begin + size > end:
            return None
        if data[begin + 4 : begin + 8] == kind:
            return begin + head, begin + size
        begin += size
    return None


def media_rows(spec: Spec, root: Path, files: Sequence[Path]) -> Callable[[Faults], Iterator[SourceRow]]:
    """Give the function that reads files by class folder: `class` and `path` of each are what rules see.

    The class is the innermost folder that a rule names, else the innermost folder.
    """
    known = {value.lower() for rule in spec.labels if rule.field == "class" for value in rule.values}

    def records(file: Path, name: str, faults: Faults) -> Iterator[Record]:
        folders = name.split("/")[:-1]
        if not folders:
            faults.add(name, f"{name}: lies in no folder of a class; expected {spec.card.name} by class")
            return
        named = [folder for folder in folders if folder.lower() in known]
        yield Record(name, 0, {"class": (named or folders)[-1], "path": name})

    def make(record: Record) -> SourceRow:
        return spec.make_row(record, (read_part(root / record.file, record.file),), row_id=record.file)

    return walk(spec, root, files, records, make)


def open_media_folder(root: Path, config: SourceConfig) -> tuple[Source, ...]:
    """Open a folder of media files, one folder a class, as the mapping file describes it.

    Raises:
        ConfigError: there is no such folder, no mapping, or a wrong one.
    """
    spec = needed_spec("media_folder", config.mapping)
    files = find_files(root, SUFFIXES, spec.card.name)
    return (Source(spec.card, root, files, media_rows(spec, root, files)),)
