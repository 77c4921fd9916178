"""SBIC (Social Bias Inference Corpus, v2) -> rows: posts with what annotators say they imply.

`SBIC.v2.trn.csv`, `.dev.csv` and `.tst.csv` have one row for each annotation and each group or stereotype
that it names; `SBIC.v2.agg.*.csv` have one row a post, with means. Of a folder with both, the single
annotations are read, for they say more.

Source: the `README.md` in SBIC.v2.tgz, maartensap.com/social-bias-frames.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gooseguard.core.errors import ConfigError
from gooseguard.data.sources.delimited import read_csv
from gooseguard.data.sources.files import find_files, walk
from gooseguard.data.sources.source import Source
from gooseguard.data.sources.spec import Record, packaged_spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gooseguard.data.sources.source import Faults, SourceConfig

SPLITS = {"trn": "train", "dev": "dev", "tst": "test"}
LABELS = ("offensiveYN", "intentYN", "sexYN", "whoTarget")
"""Columns of labels; 1 of whoTarget is a group, 0 a person, empty nobody."""


def open_sbic(root: Path, config: SourceConfig) -> tuple[Source, ...]:
    """Open a file, or the folder with them.

    Raises:
        ConfigError: there is no file of it.
    """
    spec = packaged_spec("sbic", config.mapping)
    files = [file for file in find_files(root, (".csv",), spec.card.name) if file.name.startswith("SBIC.v2.")]
    single = [file for file in files if ".agg." not in file.name]
    chosen = tuple(file for split in SPLITS for file in (single or files) if file.stem.endswith(f".{split}"))
    if not chosen:
        raise ConfigError(
            f"sbic: {root} has no SBIC.v2.trn.csv, .dev.csv or .tst.csv, nor the aggregated ones"
        )

    def records(file: Path, name: str, faults: Faults) -> Iterator[Record]:
        rows = read_csv(
            file, name, faults, ("post", "targetMinority", *LABELS), fallback=config.fallback_encoding
        )
        split = SPLITS[file.stem.rpartition(".")[2]]
        for record in _aggregated(rows) if ".agg." in file.name else _by_post(rows):
            yield Record(name, record.number, {**record.fields, "split": split})

    return (Source(spec.card, root, chosen, walk(spec, root, chosen, records)),)


def _who(cells: dict[str, Any]) -> Any:  # noqa: ANN401  (a cell)
    # Annotators who find nothing offensive are not asked whom it targets: nobody.
    return "0" if not cells["whoTarget"] and cells["offensiveYN"] in ("0", "0.0") else cells["whoTarget"]


def _aggregated(rows: Iterator[Record]) -> Iterator[Record]:
    for record in rows:
        cells = dict(record.fields)
        try:
            groups = json.loads(cells["targetMinority"] or "[]")
        except ValueError:
            groups = [cells["targetMinority"]]
        cells |= {"whoTarget": _who(cells), "targetMinority": groups if isinstance(groups, list) else []}
        yield Record(record.file, record.number, cells)


def _by_post(rows: Iterator[Record]) -> Iterator[Record]:
    """Gather what each annotator says of each post, once; posts in the order of their first row.

    As published, a file has at most 113,000 rows; what is held is labels, not rows.
    """
    posts: dict[str, tuple[Record, set[str], dict[str, None]]] = {}
    for record in rows:
        cells = dict(record.fields)
        worker = cells.get("WorkerId") or str(record.number)
        post, workers, groups = posts.setdefault(
            cells["post"],
            (
                Record(record.file, record.number, {"post": cells["post"], **{name: [] for name in LABELS}}),
                set(),
                {},
            ),
        )
        if cells["targetMinority"]:
            groups[cells["targetMinority"]] = None
        if worker in workers:
            continue
        workers.add(worker)
        for name in LABELS:
            post.fields[name].append(_who(cells) if name == "whoTarget" else cells[name])
    for post, _, groups in posts.values():
        yield Record(post.file, post.number, {**post.fields, "targetMinority": list(groups)})
