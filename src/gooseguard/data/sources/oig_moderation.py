r"""OIG-moderation -> rows: dialogues with tags of what is in them.

JSON Lines, `OIG_safety_v0.1.jsonl` and `OIG_safety_v0.2.jsonl`, one object a line:

    {"text": "User: …\nAssistant: …", "metadata": {"labels": ["needs_caution", …], "source": "prosocial"}}

The dialogue is judged whole. Rows without tags carry no label.

Source: huggingface.co/datasets/ontocord/OIG-moderation (README.md), and the notebook of its publishers that
writes the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gooseguard.core.errors import DataError
from gooseguard.data.sources.files import find_files, walk
from gooseguard.data.sources.json_lines import SUFFIXES, read_json_lines
from gooseguard.data.sources.source import Source
from gooseguard.data.sources.spec import Record, packaged_spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gooseguard.data.sources.source import Faults, SourceConfig, SourceRow

LABELS = "metadata.labels"


def open_oig_moderation(root: Path, config: SourceConfig) -> tuple[Source, ...]:
    """Open one version, or the folder with both.

    Raises:
        ConfigError: there is no file of it.
    """
    spec = packaged_spec("oig_moderation", config.mapping)
    files = find_files(root, SUFFIXES, spec.card.name)

    def records(file: Path, name: str, faults: Faults) -> Iterator[Record]:
        return read_json_lines(
            file, name, faults, ("text", "metadata.source"), fallback=config.fallback_encoding
        )

    def make(record: Record) -> SourceRow:
        tags = record.fields.get(LABELS) or []
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise DataError(f"{record.place}: {LABELS} is no list of tags")
        # Written with spaces, hyphens and underscores.
        read = [tag.strip().lower().replace(" ", "_").replace("-", "_") for tag in tags]
        return spec.make_row(Record(record.file, record.number, {**record.fields, LABELS: read}))

    return (Source(spec.card, root, files, walk(spec, root, files, records, make)),)
