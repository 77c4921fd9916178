"""WebDataset shards -> rows: tar files in which the files of one row stand together and share their name.

    0001.jpg  0001.txt  0001.json      one row of an image, a text and fields
    0002.png  0002.cls

Extensions: images, sounds and videos become parts; `txt` is a text part; `json` gives fields that rules see,
nested ones as `outer.inner`; any other, such as `cls`, is a field of that name with the file's text.

Source: webdataset/webdataset, `docs` ("The WebDataset Format"): the key is the path up to the first dot of
the file's name.
"""

from __future__ import annotations

import json
import tarfile
import zlib
from typing import TYPE_CHECKING, Any

from gooseguard.core.content import Part
from gooseguard.core.errors import ContentError, DataError
from gooseguard.data.sources.delimited import damaged
from gooseguard.data.sources.files import find_files
from gooseguard.data.sources.json_lines import flatten, open_bytes
from gooseguard.data.sources.media_files import SUFFIXES as MEDIA_SUFFIXES
from gooseguard.data.sources.media_files import check_part
from gooseguard.data.sources.source import Source
from gooseguard.data.sources.spec import Record, needed_spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gooseguard.data.sources.source import Faults, SourceConfig, SourceRow
    from gooseguard.data.sources.spec import Spec

SUFFIXES = (".tar", ".tar.gz", ".tgz")
"""What such files are called."""

MOST_MEMBER = 1 << 28
"""Bytes of one file within a shard."""


def read_shard(path: Path, name: str, spec: Spec, faults: Faults) -> Iterator[SourceRow]:
    """Read one shard, a row at a time.

    Raises:
        DataError: `faults` stops.
    """
    number, key = 0, None
    members: dict[str, bytes] = {}
    try:
        # Unzipped here: tarfile's own reading of a cut gzip header fails with TypeError (Python 3.11).
        with open_bytes(path) as stream, tarfile.open(fileobj=stream, mode="r|") as shard:
            for member in shard:
                if not member.isfile():
                    continue
                folder, slash, file = member.name.rpartition("/")
                stem, _, extension = file.partition(".")
                if folder + slash + stem != key:
                    yield from _make(members, key, name, number, spec, faults)
                    key, members, number = folder + slash + stem, {}, number + 1
                data = shard.extractfile(member)
                if member.size > MOST_MEMBER or data is None:
                    faults.add(name, f"{name}, row {number}: {extension[:20]} has {member.size:,} bytes")
                    continue
                members[extension.lower()] = data.read()
        yield from _make(members, key, name, number, spec, faults)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        faults.add(name, damaged(name, number, error))


def _make(
    members: dict[str, bytes], key: str | None, name: str, number: int, spec: Spec, faults: Faults
) -> Iterator[SourceRow]:
    if key is None or not members:
        return
    place = f"{name}, row {number}"
    try:
        parts, fields = _split(members, place)
        row = spec.make_row(Record(name, number, fields), parts or None, row_id=f"{name}/{key}")
    except DataError as error:
        faults.add(name, str(error))
        return
    yield row


def _split(members: dict[str, bytes], place: str) -> tuple[tuple[Part, ...], dict[str, Any]]:
    parts: list[Part] = []
    fields: dict[str, Any] = {}
    for extension, data in members.items():
        if f".{extension}" in MEDIA_SUFFIXES:
            parts.append(check_part(data, f"{place}, {extension}"))
            continue
        try:
            text = data.decode("utf-8")
            if extension == "json":
                value = json.loads(text)
                if not isinstance(value, dict):
                    raise DataError(f"{place}, json: is a {type(value).__name__}, expected an object")
                fields |= flatten(value)
            elif extension == "txt":
                parts.append(Part.from_text(text, f"{place}, txt"))
            else:
                fields[extension] = text.strip()
        except (ValueError, ContentError) as error:
            raise DataError(f"{place}, {extension[:20]}: cannot be read ({type(error).__name__})") from None
    return tuple(parts), fields


def open_web_dataset(root: Path, config: SourceConfig) -> tuple[Source, ...]:
    """Open a shard, or a folder of them, as the mapping file describes it.

    Raises:
        ConfigError: there is no such file, no mapping, or a wrong one.
    """
    spec = needed_spec("web_dataset", config.mapping)
    files = find_files(root, SUFFIXES, spec.card.name)

    def rows(faults: Faults) -> Iterator[SourceRow]:
        for file in files:
            name = file.relative_to(root).as_posix() if file != root else file.name
            yield from read_shard(file, name, spec, faults)

    return (Source(spec.card, root, files, rows),)
