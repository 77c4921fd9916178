"""Jigsaw Toxic Comment Classification (2018) -> rows: comments of Wikipedia's talk pages.

`train.csv` has labels beside the texts; `test.csv` has texts, and `test_labels.csv` the labels, in the same
order, where -1 says that a row was not used for scoring, and so carries no label.

Source: kaggle.com/competitions/jigsaw-toxic-comment-classification-challenge/data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gooseguard.core.errors import ConfigError
from gooseguard.data.sources.delimited import read_csv
from gooseguard.data.sources.files import walk
from gooseguard.data.sources.source import Source
from gooseguard.data.sources.spec import Record, packaged_spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gooseguard.data.sources.source import Faults, SourceConfig

LABELS = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")
"""Columns of labels, 0 or 1."""


def open_jigsaw_2018(root: Path, config: SourceConfig) -> tuple[Source, ...]:
    """Open the folder with `train.csv`, `test.csv` and `test_labels.csv`, or the first of them.

    Raises:
        ConfigError: neither training rows nor labelled test rows are there.
    """
    spec = packaged_spec("jigsaw_2018", config.mapping)
    train, test, labels = (
        (root, None, None)
        if root.is_file()
        else tuple(_file(root, name) for name in ("train.csv", "test.csv", "test_labels.csv"))
    )
    texts = tuple(file for file in (train, test if labels else None) if file is not None)
    if not texts:
        raise ConfigError(f"jigsaw_2018: {root} has no train.csv, and no test.csv with test_labels.csv")
    fallback = config.fallback_encoding

    def records(file: Path, name: str, faults: Faults) -> Iterator[Record]:
        split = "test" if file == test else "train"
        required = ("id", "comment_text") if file == test else ("id", "comment_text", *LABELS)
        rows = read_csv(file, name, faults, required, fallback=fallback)
        if file == test and labels is not None:
            rows = _with_labels(rows, labels, faults)
        for record in rows:
            yield Record(record.file, record.number, {**record.fields, "split": split})

    files = (*texts, labels) if labels is not None and test in texts else texts
    return (Source(spec.card, root, files, walk(spec, root, texts, records)),)


def _file(root: Path, name: str) -> Path | None:
    found = [path for path in (root / name, root / f"{name}.gz") if path.is_file()]
    return found[0] if found else None


def _with_labels(rows: Iterator[Record], path: Path, faults: Faults) -> Iterator[Record]:
    """Join texts and labels by their ids; both files have the same order, so that one row of each is held."""
    labels = read_csv(path, path.name, faults, ("id", *LABELS))
    waiting = next(labels, None)
    for record in rows:
        if waiting is None or waiting.fields["id"] != record.fields["id"]:
            faults.add(record.file, f"{record.place}: {path.name} has no labels for it at its place")
            # A skipped row of either file must not shift all others.
            while waiting is not None and waiting.number <= record.number:
                waiting = next(labels, None)
            continue
        yield Record(record.file, record.number, {**record.fields, **waiting.fields})
        waiting = next(labels, None)
