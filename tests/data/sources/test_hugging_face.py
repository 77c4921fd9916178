"""Folders of `save_to_disk`: Arrow streams with class names beside them."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from gooseguard.core.content import Modality
from gooseguard.core.errors import ConfigError, DataError
from gooseguard.data.sources.hugging_face import open_hugging_face
from gooseguard.data.sources.source import Faults, OnFault, SourceConfig

MAPPING = """
name = "mine"
title = "M"
licence = "x"
citation = "x"
meaning = "x"
[[labels]]
field = "label"
category = "hate"
values = { hate = 1, none = 0 }
"""


def save(folder, rows, state=None):
    folder.mkdir(parents=True)
    table = pa.table({"text": [text for text, _ in rows], "label": pa.array([label for _, label in rows])})
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as file,
        pa.ipc.new_stream(file, table.schema) as out,
    ):
        out.write_table(table)
    features = {
        "text": {"dtype": "string", "_type": "Value"},
        "label": {"names": ["none", "hate"], "_type": "ClassLabel"},
    }
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    names = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": None}
    (folder / "state.json").write_text(json.dumps(names | (state or {})))


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "saved"
    save(root / "train", [("you <slur>", 1), ("hello", 0), ("unlabelled", -1)])
    save(root / "test", [("a", 0)])
    (root / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    return root


def read(root, faults=None, select=()):
    (root.parent / "m.toml").write_text(MAPPING)
    config = SourceConfig("hugging_face", str(root), select, mapping=str(root.parent / "m.toml"))
    [source] = open_hugging_face(root, config)
    return list(source.rows(faults))


def test_class_labels_are_read_by_name_and_minus_one_is_none(root):
    rows = read(root)
    assert [(row.split, dict(row.example.labels)) for row in rows] == [
        ("train", {"hate": 1.0}), ("train", {"hate": 0.0}), ("train", {}), ("test", {"hate": 0.0}),
    ]  # fmt: skip
    assert [row.split for row in read(root, select=["test"])] == ["test"]
    assert len(read(root / "train")) == 3


def test_what_is_wrong_with_a_folder_is_said(root):
    with pytest.raises(ConfigError, match="has no split 'dev'; expected one of train, test"):
        read(root, select=["dev"])
    save(root.parent / "chosen", [("a", 0)], {"_indices_data_files": [{"filename": "indices.arrow"}]})
    with pytest.raises(ConfigError, match=r"chosen: keeps a selection of its rows; call flatten_indices\(\)"):
        read(root.parent / "chosen")
    with pytest.raises(
        ConfigError, match=r"state\.json: FileNotFoundError; expected a folder of save_to_disk"
    ):
        read(root.parent)


def test_a_damaged_stream_is_named(root):
    path = root / "train" / "data-00000-of-00001.arrow"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DataError, match=r"train/data-00000-of-00001.arrow, after row 0: is damaged"):
        read(root)
    faults = Faults(OnFault.SKIP)
    assert len(read(root, faults)) == 1
    assert faults.counts.total() == 1


def test_reads_what_the_library_itself_wrote(tmp_path):
    (tmp_path / "m.toml").write_text(MAPPING + '[columns]\nimage = "image"\n')
    root = Path(__file__).with_name("saved_to_disk")
    [source] = open_hugging_face(root, SourceConfig("hugging_face", "x", mapping=str(tmp_path / "m.toml")))
    rows = list(source.rows())
    # As saved_to_disk.py says.
    assert [(row.split, dict(row.example.labels)) for row in rows] == [
        ("train", {"hate": 1.0}), ("train", {"hate": 0.0}), ("test", {}),
    ]  # fmt: skip
    kinds = [[part.modality for part in row.example.content.parts] for row in rows]
    assert kinds == [[Modality.IMAGE, Modality.TEXT]] * 2 + [[Modality.IMAGE]]
    assert rows[0].example.content.parts[1].text == "you <slur>"
