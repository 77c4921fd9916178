"""BeaverTails -> rows: answers of a language model to a question, each judged by one annotator.

JSON Lines (`train.jsonl.gz`, `test.jsonl.gz` in `round0/30k` and `round0/330k`), one object a line: `prompt`,
`response`, `category` (14 names to true or false) and `is_safe`. The answer is judged, the question is its
context. A pair stands there once an annotator: equal rows are brought together when a dataset is built.

Source: huggingface.co/datasets/PKU-Alignment/BeaverTails (README.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gooseguard.data.sources.files import find_files, walk
from gooseguard.data.sources.json_lines import SUFFIXES, read_json_lines
from gooseguard.data.sources.source import Source
from gooseguard.data.sources.spec import Record, packaged_spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gooseguard.data.sources.source import Faults, SourceConfig


def open_beavertails(root: Path, config: SourceConfig) -> tuple[Source, ...]:
    """Open a file, or a folder with them; the 30k set is a part of the 330k one: name the one you want.

    Raises:
        ConfigError: there is no such file.
    """
    spec = packaged_spec("beavertails", config.mapping)
    files = find_files(root, SUFFIXES, spec.card.name)
    required = (spec.columns.text, spec.columns.context, *(rule.field for rule in spec.labels))

    def records(file: Path, name: str, faults: Faults) -> Iterator[Record]:
        split = file.name.partition(".")[0]
        for record in read_json_lines(file, name, faults, required, fallback=config.fallback_encoding):
            yield Record(name, record.number, {**record.fields, "split": split})

    return (Source(spec.card, root, files, walk(spec, root, files, records)),)
