"""Batches on disk: numbered in order, read again without change, held-out texts among them."""

import gzip

import pytest

from gooseguard.core.content import Content
from gooseguard.core.errors import ConfigError, DataError
from gooseguard.core.example import Example
from gooseguard.data import batches
from gooseguard.data.batches import (
    Reading,
    digest_inputs,
    raw_path,
    read_facts,
    read_held_out_texts,
    read_table,
    spill,
)
from gooseguard.data.recipe import HeldOutConfig
from gooseguard.data.sources.source import Faults, OnFault, SourceRow


def reading(name, n, *, bad=()):
    def rows(faults):
        for number in range(n):
            if number in bad:
                faults.add(f"{name}.csv", f"{name}.csv, row {number}: bad")
                continue
            text = Content.from_text(f"text {number}")
            yield SourceRow(Example(f"{name}/{number}", text, {}, (), name), {}, "")

    return Reading(name, rows, OnFault.SKIP)


def test_batches_are_numbered_over_all_sources(tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "BATCH_ROWS", 3)
    readings = [reading("a", 7, bad=(2,)), reading("none", 0), reading("b", 4)]
    found = [(number, each.name) for number, each in spill(readings, tmp_path, lambda _: False)]
    assert found == [(0, "a"), (1, "a"), (2, "b"), (3, "b")]
    ids = [read_table(raw_path(tmp_path, number), ["id"])["id"].to_pylist() for number in range(4)]
    assert ids == [["a/0", "a/1", "a/3"], ["a/4", "a/5", "a/6"], ["b/0", "b/1", "b/2"], ["b/3"]]
    facts = read_facts(tmp_path, 3)
    assert [(each.first_batch, each.n_batches, each.n_rows) for each in facts] == [
        (0, 2, 6),
        (2, 0, 0),
        (2, 2, 4),
    ]
    assert facts[0].faults == {"a.csv": 1}
    # A source that was read to its end is not read again; what is used up is not written again.
    for number in range(4):
        raw_path(tmp_path, number).unlink()
    (tmp_path / "raw" / "source-2.json").unlink()
    again = list(spill([reading("a", 0), readings[1], readings[2]], tmp_path, lambda number: number == 2))
    assert [number for number, _ in again] == [0, 1, 2, 3]
    assert [raw_path(tmp_path, number).is_file() for number in range(4)] == [False, False, False, True]


def test_reads_held_out_texts(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\ntwo\n", "utf-8")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "one"}\n{"text": "two", "x": 1}\n'))
    for name in ("a.txt", "a.jsonl.gz"):
        rows = read_held_out_texts(HeldOutConfig("h", str(tmp_path / name)), Faults())
        assert [row.example.content.parts[0].text for row in rows] == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "data", "error", "message"),
    [
        ("a.jsonl", b'{"text": "a"}\n{"txt": "b"}', DataError, "line 2: has no text"),
        ("a.jsonl", b"{", DataError, "line 1: is no JSON"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "one"}', mtime=0)[:-6], DataError, "EOFError"),
        ("a.txt", b"\xff", DataError, "UnicodeDecodeError"),
        ("a.csv", b"", ConfigError, "expected .jsonl"),
        ("gone.txt", None, DataError, "FileNotFoundError"),
    ],
)
def test_a_held_out_set_that_is_wrong_is_named(tmp_path, name, data, error, message):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(error, match=message):
        list(read_held_out_texts(HeldOutConfig("h", str(tmp_path / name)), Faults()))


def test_many_files_have_one_digest(tmp_path):
    files = []
    for number in range(101):
        path = tmp_path / str(number)
        path.write_bytes(bytes([number]))
        files.append((f"{number}.jpg", path))
    assert len(digest_inputs("set", files[:100])) == 100
    (name,) = digest_inputs("set", files)
    assert name == "set (101 files)"
    with pytest.raises(DataError, match=r"gone\.jpg"):
        digest_inputs("set", [("gone.jpg", tmp_path / "gone")])
