"""Hateful Memes -> rows: an image and the text on it.

JSON Lines (`train.jsonl`, `dev_seen.jsonl`, `test_unseen.jsonl`, …), one object a line: `id`, `img` (a path
such as `img/01235.png`), `label` (0 or 1; absent in the test files of the challenge) and `text`.

Source: Kiela et al., "The Hateful Memes Challenge", NeurIPS 2020; the README of the challenge's archive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gooseguard.core.content import Part
from gooseguard.core.errors import ContentError, DataError
from gooseguard.data.sources.files import find_files, walk
from gooseguard.data.sources.json_lines import SUFFIXES, read_json_lines
from gooseguard.data.sources.media_files import read_part
from gooseguard.data.sources.source import Source
from gooseguard.data.sources.spec import Record, packaged_spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gooseguard.data.sources.source import Faults, SourceConfig, SourceRow


def open_hateful_memes(root: Path, config: SourceConfig) -> tuple[Source, ...]:
    """Open the folder with the JSON Lines files and `img`.

    Raises:
        ConfigError: there is no such file.
    """
    spec = packaged_spec("hateful_memes", config.mapping)
    files = find_files(root, SUFFIXES, spec.card.name)
    folder = root.parent if root.is_file() else root

    def records(file: Path, name: str, faults: Faults) -> Iterator[Record]:
        split = file.name.partition(".")[0]
        for record in read_json_lines(file, name, faults, ("id", "img", "text")):
            yield Record(name, record.number, {**record.fields, "split": split})

    def make(record: Record) -> SourceRow:
        path = record.fields["img"]
        # A path that leads out of the folder is not the set's.
        if not isinstance(path, str) or not (folder / path).resolve().is_relative_to(folder.resolve()):
            raise DataError(f"{record.place}: img is no path within the folder")
        try:
            parts = (read_part(folder / path, path), Part.from_text(str(record.fields["text"])))
        except (DataError, ContentError) as error:
            raise DataError(f"{record.place}: {error}") from None
        return spec.make_row(record, parts, row_id=f"{record.fields['split']}/{record.fields['id']}")

    return (Source(spec.card, folder, files, walk(spec, folder, files, records, make)),)
