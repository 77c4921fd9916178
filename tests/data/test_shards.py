"""Dataset folders: what is written is what is read, and half of one is none."""

import hashlib
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.core.content import Content, Modality, Part
from gooseguard.core.errors import ArtefactError, ConfigError, DataError
from gooseguard.core.example import Example
from gooseguard.data import shards
from gooseguard.data.shards import DatasetRow, read_columns, read_dataset_manifest, read_split, write_shards


def row(row_id, text="good morning", labels=None, split="train", **fields):
    return DatasetRow(Example(row_id, Content.from_text(text, "en"), labels or {}, **fields), split)


def write(folder, rows):
    return write_shards(folder, {"train": rows}, {"seed": 1}, {"a.gz": "0" * 64}, {"count": len(rows)})


def test_reads_back_every_field(tmp_path):
    example = Example(
        "a/1",
        Content((Part.from_text("one"), Part.from_text("two")), (), None),
        {"hate": 1.0, "insult": 0.25},
        ("women", "men"),
        "a",
        "it attacks a group",
    )
    rows = [DatasetRow(example, "train", '[{"x": 1}]', {"hate": (1.0, 0.0)}), row("a/2", "né 🐍\u2028")]
    folder = write(tmp_path / "set", rows)
    assert list(read_split(folder, "train")) == rows
    assert list(read_split(folder, "val")) == []
    manifest = read_dataset_manifest(folder)
    assert (manifest.kind, manifest.format_version, manifest.facts) == ("dataset", 1, {"count": 2})
    data = (folder / "train-00000.parquet").read_bytes()
    assert manifest.files["train-00000.parquet"] == hashlib.sha256(data).hexdigest()


LABELS = st.dictionaries(st.sampled_from(["hate", "insult", "spam"]), st.sampled_from([0.0, 0.5, 1.0]))


@settings(deadline=None, max_examples=25)
@given(labels=st.lists(LABELS, max_size=9), shard_rows=st.integers(1, 4))
def test_columns_are_the_rows(tmp_path_factory, labels, shard_rows):
    rows = [
        row(f"a/{index}", f"text {index}", given_labels, source="a")
        for index, given_labels in enumerate(labels)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD_ROWS", shard_rows)
        folder = write(tmp_path_factory.mktemp("d") / "set", rows)
    columns = read_columns(folder, "train", ["insult", "threat", "hate"])
    expected = np.array(
        [[one.get(name, np.nan) for name in ("insult", "threat", "hate")] for one in labels], np.float32
    ).reshape(len(labels), 3)
    np.testing.assert_array_equal(columns.labels, expected)
    assert columns.labels.dtype == np.float32
    assert columns.ids == [f"a/{index}" for index in range(len(rows))]
    assert columns.texts == [f"text {index}" for index in range(len(rows))]
    assert columns.sources == ["a"] * len(rows)
    assert columns.languages == ["en"] * len(rows)
    assert len(list(folder.glob("train-*.parquet"))) == max(1, -(-len(rows) // shard_rows))


def test_columns_refuse_rows_of_several_parts(tmp_path):
    content = Content((Part.from_text("one"), Part.from_text("two")))
    folder = write(tmp_path / "set", [row("a/1"), DatasetRow(Example("a/2", content), "train")])
    with pytest.raises(DataError, match="dataset set, train: holds rows that are not one text"):
        read_columns(folder, "train", ["hate"])


def test_leaves_nothing_behind_when_writing_fails(tmp_path):
    image = Content((Part(Modality.IMAGE, b"\x89PNG", "image/png"),))
    with pytest.raises(DataError, match="row 'a/2': has a part of modality image"):
        write(tmp_path / "set", [row("a/1"), DatasetRow(Example("a/2", image), "train")])
    assert list(tmp_path.iterdir()) == []


def test_does_not_overwrite(tmp_path):
    folder = write(tmp_path / "set", [row("a/1")])
    with pytest.raises(ConfigError, match="dataset set: exists already"):
        write(folder, [row("a/2")])
    assert [found.example.id for found in read_split(folder, "train")] == ["a/1"]


def test_refuses_incomplete_folders_and_unknown_splits(tmp_path):
    folder = write(tmp_path / "set", [row("a/1")])
    with pytest.raises(ConfigError, match="split is 'dev', expected one of train, val, test"):
        read_columns(folder, "dev", [])
    (folder / "val-00000.parquet").unlink()
    with pytest.raises(ArtefactError, match=r"val-00000\.parquet"):
        read_columns(folder, "val", [])
    (folder / "manifest.json").unlink()
    with pytest.raises(ArtefactError, match=r"manifest\.json"):
        list(read_split(folder, "train"))


def test_says_how_to_install_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigError, match=r"pip install 'gooseguard\[data\]'"):
        write(tmp_path / "set", [row("a/1")])
