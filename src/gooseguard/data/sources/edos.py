"""EDOS (SemEval-2023 task 10) -> rows: posts of Reddit and Gab labelled for sexism.

`edos_labelled_aggregated.csv` has `rewire_id, text, label_sexist, label_category, label_vector, split`, one
row a post; `edos_labelled_individual_annotations.csv` has `annotator` too, and one row an annotation, three a
post. Of a folder with both, the single annotations are read, for they say more.

Source: github.com/rewire-online/edos, `README.md`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gooseguard.core.errors import ConfigError
from gooseguard.data.sources.delimited import read_csv
from gooseguard.data.sources.files import find_files, walk
from gooseguard.data.sources.source import Source
from gooseguard.data.sources.spec import Record, packaged_spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gooseguard.data.sources.source import Faults, SourceConfig

COLUMNS = ("rewire_id", "text", "label_sexist", "label_category", "label_vector", "split")
LABELS = COLUMNS[2:5]
INDIVIDUAL = "edos_labelled_individual_annotations.csv"
AGGREGATED = "edos_labelled_aggregated.csv"


def open_edos(root: Path, config: SourceConfig) -> tuple[Source, ...]:
    """Open either file, or the folder with them.

    Raises:
        ConfigError: there is neither.
    """
    spec = packaged_spec("edos", config.mapping)
    found = {file.name: file for file in find_files(root, (".csv",), spec.card.name)}
    file = root if root.is_file() else found.get(INDIVIDUAL, found.get(AGGREGATED))
    if file is None:
        raise ConfigError(f"edos: {root} has neither {INDIVIDUAL} nor {AGGREGATED}")

    def records(file: Path, name: str, faults: Faults) -> Iterator[Record]:
        rows = read_csv(file, name, faults, COLUMNS, fallback=config.fallback_encoding)
        return _by_post(rows) if file.name == INDIVIDUAL else rows

    return (Source(spec.card, root, (file,), walk(spec, root, (file,), records)),)


def _by_post(rows: Iterator[Record]) -> Iterator[Record]:
    """Gather the annotations of each post, in the order of their first. As published, 60,000 short rows."""
    posts: dict[str, Record] = {}
    for record in rows:
        cells = record.fields
        post = posts.setdefault(
            cells["rewire_id"],
            Record(record.file, record.number, {**cells, **{name: [] for name in LABELS}}),
        )
        for name in LABELS:
            post.fields[name].append(cells[name])
    yield from posts.values()
