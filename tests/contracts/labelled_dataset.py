"""A small dataset folder in the published format, with marked words and images, written by column."""

import hashlib

import pyarrow as pa
import pyarrow.parquet as pq

from gooseguard.core.manifest import Manifest, digest_file, write_manifest

PART = pa.struct([(name, pa.string()) for name in ("modality", "text", "path", "sha256")])
SPAN = pa.struct(
    [
        ("part", pa.int32()),
        ("begin", pa.int32()),
        ("end", pa.int32()),
        ("category", pa.string()),
        ("score", pa.float32()),
    ]
)
SCHEMA = pa.schema(
    [
        ("id", pa.string()), ("parts", pa.list_(PART)), ("labels", pa.map_(pa.string(), pa.float32())),
        ("votes", pa.map_(pa.string(), pa.list_(pa.float32()))), ("subgroups", pa.list_(pa.string())),
        ("source", pa.string()), ("native", pa.string()), ("split", pa.string()), ("rationale", pa.string()),
        ("language", pa.string()), ("context", pa.list_(PART)), ("spans", pa.list_(SPAN)),
    ]
)  # fmt: skip


def row(number, text, labels, marked=None, image=None):
    """Give a row; `marked` is (category, words)."""
    parts = [{"modality": "image", "text": None, "path": image, "sha256": ""}] if image else []
    if text:
        digest = hashlib.sha256(text.encode()).hexdigest()
        parts.append({"modality": "text", "text": text, "path": None, "sha256": digest})
    spans = []
    if marked:
        category, words = marked
        begin = text.index(words)
        place = {"part": len(parts) - 1, "begin": begin, "end": begin + len(words)}
        spans = [{**place, "category": category, "score": 1.0}]
    return {
        "id": f"a/{number}", "parts": parts, "labels": list(labels.items()), "votes": None, "subgroups": [],
        "source": "a", "native": "[]", "split": "", "rationale": None, "language": "en", "spans": spans,
        "context": [],
    }  # fmt: skip


def write(folder, rows):
    """Write a dataset: split -> rows."""
    folder.mkdir(parents=True)
    for split in ("train", "val", "test"):
        table = pa.Table.from_pylist([{**one, "split": split} for one in rows.get(split, [])], schema=SCHEMA)
        pq.write_table(table, folder / f"{split}-00000.parquet")
    files = {path.name: digest_file(path) for path in sorted(folder.iterdir())}
    write_manifest(folder, Manifest("dataset", 1, {}, {}, files, {}))
    return folder


def some_rows(n, begin=0):
    """Give rows of two kinds: insults with a marked placeholder, and friendly ones."""
    return [
        row(number, f"you are a <slur> number {number}", {"insult": 1.0, "threat": 0.0}, ("insult", "<slur>"))
        if number % 2
        else row(number, f"have a nice day number {number}", {"insult": 0.0, "threat": 0.0})
        for number in range(begin, begin + n)
    ]
