"""HateXplain -> rows: posts of Twitter and Gab with three annotators each, and the words that they marked.

`dataset.json` maps post id to `{"post_tokens": […], "annotators": [{"label", "annotator_id", "target": […]}],
"rationales": [[0, 1, …], …]}`; `post_id_divisions.json` maps train, val and test to ids. Posts on whose class
no two annotators agree are in no division; they are read too, with their votes.

Source: github.com/hate-alert/HateXplain, `Data/README.md`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gooseguard.core.content import Part
from gooseguard.core.errors import ContentError, DataError
from gooseguard.core.scorer import Span
from gooseguard.data.sources.files import need_files, walk
from gooseguard.data.sources.source import Source
from gooseguard.data.sources.spec import Record, packaged_spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from gooseguard.data.sources.source import Faults, SourceConfig, SourceRow
    from gooseguard.data.sources.spec import Spec

DATASET, DIVISIONS = "dataset.json", "post_id_divisions.json"


def open_hatexplain(root: Path, config: SourceConfig) -> tuple[Source, ...]:
    """Open the folder with both files (`Data` of the repository).

    Raises:
        ConfigError: one of them is missing.
    """
    spec = packaged_spec("hatexplain", config.mapping)
    files = need_files(root, (DATASET, DIVISIONS), spec.card.name)
    dataset, divisions = files

    def records(file: Path, name: str, faults: Faults) -> Iterator[Record]:
        split_of = {
            post: split
            for split, posts in _read(divisions).items()
            for post in posts
            if isinstance(post, str)
        }
        # One document, 12 MB as published: read whole.
        for number, (post_id, post) in enumerate(_read(file).items(), 1):
            if not isinstance(post, dict):
                faults.add(name, f"{name}, row {number}: is a {type(post).__name__}, expected an object")
                continue
            yield Record(name, number, {**post, "id": post_id, "split": split_of.get(post_id, "")})

    def make(record: Record) -> SourceRow:
        return _make(record, spec)

    return (Source(spec.card, root, files, walk(spec, root, (dataset,), records, make)),)


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name}: {type(error).__name__}; expected one JSON object") from None
    if not isinstance(value, dict):
        raise DataError(f"{path.name}: is a {type(value).__name__}, expected an object")
    return value


def _make(record: Record, spec: Spec) -> SourceRow:
    post = record.fields
    try:
        tokens = [str(token) for token in post["post_tokens"]]
        said = post["annotators"]
        labels = [one["label"] for one in said]
        targets = [target for one in said for target in one["target"]]
        rationales = [[int(mark) for mark in marks] for marks in post["rationales"]]
    except (KeyError, TypeError, ValueError):
        raise DataError(
            f"{record.place}: is of another layout; expected post_tokens, annotators and rationales"
        ) from None
    try:
        text = Part.from_text(" ".join(tokens))
    except ContentError as error:
        raise DataError(f"{record.place}: {error}") from None
    cells = {
        "id": post["id"],
        "split": post["split"],
        "label": labels,
        # Whom two annotators see attacked.
        "target": sorted({target for target in targets if targets.count(target) > 1}),
    }
    row = spec.make_row(Record(record.file, record.number, cells), (text,))
    category = "hate" if row.example.annotated.get("hate", 0.0) >= 0.5 else "toxicity"
    spans = tuple(Span(0, begin, end, category, share) for begin, end, share in marked(tokens, rationales))
    return spec.make_row(Record(record.file, record.number, cells), (text,), spans=spans)


def marked(tokens: Sequence[str], rationales: Sequence[Sequence[int]]) -> list[tuple[int, int, float]]:
    """Give the runs of words that half of those who marked any did mark: begin, end and least share."""
    rationales = [marks for marks in rationales if len(marks) == len(tokens)]
    runs: list[tuple[int, int, float]] = []
    begin, is_open = 0, False
    for position, token in enumerate(tokens):
        share = sum(marks[position] for marks in rationales) / len(rationales) if rationales else 0.0
        if share >= 0.5:
            first, _, least = runs.pop() if is_open else (begin, 0, share)
            runs.append((first, begin + len(token), min(least, share)))
        is_open = share >= 0.5
        begin += len(token) + 1
    return runs
