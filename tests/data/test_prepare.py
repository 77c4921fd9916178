"""One batch, cleaned and indexed."""

import numpy as np

from gooseguard.core.content import Content
from gooseguard.core.example import Example
from gooseguard.core.scorer import Span
from gooseguard.data.batches import raw_path, read_table, write_table
from gooseguard.data.cleaning import CleanConfig
from gooseguard.data.dedup import dedup_key
from gooseguard.data.prepare import PrepareTask, prepare, prepared_path
from gooseguard.data.sources.source import SourceRow
from gooseguard.data.split import split_point
from gooseguard.data.tables import to_record, to_records, to_table

TEXTS = ("Good &amp; evil", "...", "write to someone@example.org now", "good 😀 evil")


def prepare_texts(work, **options):
    (work / "raw").mkdir(parents=True)
    rows = [
        SourceRow(
            Example(f"x/{i}", Content.from_text(text), {"hate": 1.0, "spam": 0.0}, (), "x"), {}, "",
            spans=(Span(0, len(text) - 4, len(text), "hate", 1.0),) if i == 0 else (),
        )
        for i, text in enumerate(TEXTS)
    ]  # fmt: skip
    write_table(raw_path(work, 3), to_table([to_record(row, None) for row in rows]))
    return prepare(PrepareTask(str(work), 3, 7, CleanConfig(), **options))


def test_cleans_drops_and_indexes(tmp_path):
    summary = prepare_texts(tmp_path, categories=("spam",))
    assert (summary["rows"], summary["dropped"]) == (3, {"no_letters": 1})
    assert summary["done"]["masked_email"] == 1
    records = to_records(read_table(prepared_path(tmp_path, 3) / "rows.arrow"))
    assert [record["parts"][0]["text"] for record in records] == [
        "Good & evil", "write to [email] now", "good 😀 evil",
    ]  # fmt: skip
    assert records[0]["labels"] == {"spam": 0.0}
    # "evil" stands four characters earlier than it did.
    assert (records[0]["spans"][0]["begin"], records[0]["spans"][0]["end"]) == (7, 11)
    with np.load(prepared_path(tmp_path, 3) / "index.npz") as index:
        keys = [f"{key:016x}" for key in index["key"].tolist()]
        assert keys == [dedup_key(record["parts"][0]["text"]) for record in records]
        assert index["point"].tolist() == [split_point(key, 7) for key in keys]
        # They share a key; a symbol says something, so that they are not the same.
        assert keys[0] == keys[2]
        assert index["exact"][0].tolist() != index["exact"][2].tolist()
        assert index["offsets"].tolist() == [0, 5, 5 + len("write to email now") - 4, 24]
    assert not raw_path(tmp_path, 3).exists()
    # What is done is not done again: the raw rows are gone.
    assert prepare(PrepareTask(str(tmp_path), 3, 7, CleanConfig())) == summary


def test_no_held_out_text_is_dropped(tmp_path):
    assert prepare_texts(tmp_path, is_held_out=True)["rows"] == 4
