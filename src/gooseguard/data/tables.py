"""Rows of sources <-> Arrow tables in the schema of a dataset. Knows no folder and no order of stages.

The schema is that of datasets of format version 2 (docs/formats.md). Labels that nobody gave are absent
from the maps. A part that is no text is a file: the table names it by `path` and `sha256`, the bytes lie
elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from gooseguard.core.content import Content, Modality, Part
from gooseguard.core.errors import DataError
from gooseguard.core.example import Example
from gooseguard.data.arrow import import_arrow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    import pyarrow as pa

    from gooseguard.data.sources.source import SourceRow

Record = dict[str, Any]
"""One row as the table holds it, with maps as dicts."""

MAPS = ("labels", "weights", "votes", "vote_counts")
"""Columns that are maps from a category."""

MEDIA = "media"
"""Folder of the files that parts name, beside the tables."""


def schema() -> pa.Schema:
    """Give the columns of a dataset of format version 2."""
    arrow = import_arrow()
    text, number = arrow.string(), arrow.float32()
    part = arrow.struct([(name, text) for name in ("modality", "text", "path", "sha256", "media_type")])
    span = arrow.struct(
        [
            ("part", arrow.int32()),
            ("begin", arrow.int32()),
            ("end", arrow.int32()),
            ("category", text),
            ("score", number),
        ]
    )
    return arrow.schema(
        [
            arrow.field("id", text, nullable=False),
            arrow.field("parts", arrow.list_(part), nullable=False),
            arrow.field("context", arrow.list_(part), nullable=False),
            arrow.field("labels", arrow.map_(text, number), nullable=False),
            arrow.field("weights", arrow.map_(text, number), nullable=False),
            arrow.field("votes", arrow.map_(text, arrow.list_(number))),
            arrow.field("vote_counts", arrow.map_(text, arrow.int32())),
            arrow.field("spans", arrow.list_(span), nullable=False),
            arrow.field("subgroups", arrow.list_(text), nullable=False),
            arrow.field("source", text, nullable=False),
            arrow.field("native", text, nullable=False),
            arrow.field("split", text, nullable=False),
            arrow.field("rationale", text),
            arrow.field("language", text),
            arrow.field("cluster", text, nullable=False),
        ]
    )


def to_record(row: SourceRow, store: Callable[[Part], str]) -> Record:
    """Make the record of a row as it was read, of no split and no cluster yet.

    Args:
        row: as a source gave it.
        store: keeps the bytes of a part that is no text; gives the path that names them.
    """
    example, votes = row.example, row.votes
    native = [{"id": example.id, "split": row.split, "native": dict(row.native)}]
    return {
        "id": example.id,
        "parts": [_to_part(part, store) for part in example.content.parts],
        "context": [_to_part(part, store) for part in example.content.context],
        "labels": example.annotated,
        "weights": dict(row.weights),
        "votes": {name: list(vote.values) for name, vote in votes.items() if vote.values} or None,
        "vote_counts": {name: vote.n for name, vote in votes.items()} or None,
        "spans": [
            {name: getattr(span, name) for name in ("part", "begin", "end", "category", "score")}
            for span in row.spans
        ],
        "subgroups": list(example.subgroups),
        "source": example.source,
        "native": json.dumps(native, ensure_ascii=False),
        "split": "",
        "rationale": example.rationale,
        "language": example.content.language,
        "cluster": "",
    }


def to_example(record: Record, load: Callable[[str], bytes]) -> Example:
    """Make the example of a record.

    Args:
        record: one row of a table.
        load: gives the bytes behind a part's path.
    """
    parts, context = (
        tuple(
            Part.from_text(part["text"])
            if part["modality"] == Modality.TEXT
            else Part(Modality(part["modality"]), load(part["path"]), part["media_type"] or "")
            for part in record[name]
        )
        for name in ("parts", "context")
    )
    return Example(
        record["id"],
        Content(parts, context, record["language"]),
        record["labels"],
        tuple(record["subgroups"]),
        record["source"],
        record["rationale"],
    )


def with_example(record: Record, example: Example, categories: Collection[str] | None = None) -> Record:
    """Give the record with the texts, labels and language of an example that was made of it.

    Args:
        record: whose media the example still has, in order.
        example: its texts may have changed or gone.
        categories: categories whose labels are kept; `None` keeps all.

    Raises:
        DataError: the example has a medium that the record has not.
    """

    def no_store(_: Part) -> str:
        raise DataError(f"row {record['id']!r}: has a medium that it was not read with")

    changed = dict(record)
    for name, parts in (("parts", example.content.parts), ("context", example.content.context)):
        media = iter([part for part in record[name] if part["modality"] != Modality.TEXT])
        changed[name] = [
            _to_part(part, no_store) if part.modality is Modality.TEXT else next(media) for part in parts
        ]
    changed["labels"] = {
        category: label
        for category, label in example.annotated.items()
        if categories is None or category in categories
    }
    changed["language"] = example.content.language
    return changed


def to_table(records: Sequence[Record]) -> pa.Table:
    """Make a table of records."""
    arrow = import_arrow()
    arrays = []
    for field in schema():
        values: list[Any] = [record[field.name] for record in records]
        if field.name in MAPS:
            values = [None if value is None else list(value.items()) for value in values]
        arrays.append(arrow.array(values, field.type))
    return arrow.Table.from_arrays(arrays, schema=schema())


def to_records(table: pa.Table) -> list[Record]:
    """Give the records of a table, or of some of its columns."""
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    for name in MAPS:
        if name in columns:
            columns[name] = [None if value is None else dict(value) for value in columns[name]]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def merge_records(records: Sequence[Record], weak: Iterable[str], merge: Callable[..., Any]) -> Record:
    """Make one record of those of one content: the first, with the labels, subgroups and origins of all.

    Votes and spans are those of the first that has any: the same people may stand behind two readings.

    Args:
        records: of one content, oldest first.
        weak: sources whose labels count only where no other labels the category.
        merge: `build.merge_labels`.

    Returns:
        The record; under `disputed` the categories on which the readings differ.
    """
    weak_names = frozenset(weak)
    first = dict(records[0])
    labels, disputed = merge(
        [record["labels"] for record in records], [record["source"] in weak_names for record in records]
    )
    first["labels"] = labels
    first["weights"] = _greatest_weights(records, labels)
    for name in ("votes", "vote_counts", "spans"):
        first[name] = next((record[name] for record in records if record[name]), first[name])
    first["subgroups"] = list(dict.fromkeys(name for record in records for name in record["subgroups"]))
    native = [
        # What each reading said, beside what became of them together.
        entry | {"labels": record["labels"]}
        for record in records
        for entry in json.loads(record["native"])
    ]
    first["native"] = json.dumps(native, ensure_ascii=False)
    first["disputed"] = sorted(disputed)
    return first


def _greatest_weights(records: Sequence[Record], labels: Mapping[str, float]) -> dict[str, float]:
    weights = {
        category: max(
            record["weights"].get(category, 1.0) for record in records if category in record["labels"]
        )
        for category in labels
    }
    return {category: weight for category, weight in weights.items() if weight != 1.0}


def _to_part(part: Part, store: Callable[[Part], str]) -> dict[str, str | None]:
    digest = hashlib.sha256(part.data).hexdigest()
    if part.modality is Modality.TEXT:
        return {
            "modality": "text", "text": part.text, "path": None, "sha256": digest, "media_type": "text/plain",
        }  # fmt: skip
    if not part.data:
        raise DataError(f"a part of modality {part.modality} is empty; expected the bytes of a file")
    return {
        "modality": str(part.modality),
        "text": None,
        "path": store(part),
        "sha256": digest,
        "media_type": part.media_type,
    }
