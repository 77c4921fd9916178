"""Jigsaw 2018: training rows, and test rows joined with their labels, of which -1 is none."""

import sys
from pathlib import Path

import pytest

from gooseguard.core.errors import ConfigError, DataError
from gooseguard.data.sources.jigsaw_2018 import LABELS

sys.path.insert(0, str(Path(__file__).parent))
from published import opened, rows_of, skipping, write_csv


def write(folder, test_ids=("c", "d"), label_ids=("c", "d")):
    write_csv(folder / "train.csv", ["id", "comment_text", *LABELS], [["a", "x\ny", 1, 0, 1, 0, 0, 0]])
    write_csv(folder / "test.csv", ["id", "comment_text"], [[one, f"text {one}"] for one in test_ids])
    labels = {"c": [0, 0, 0, 0, 0, 1], "d": [-1] * 6, "e": [1] * 6}
    write_csv(folder / "test_labels.csv", ["id", *LABELS], [[one, *labels[one]] for one in label_ids])


def test_train_and_test(tmp_path):
    write(tmp_path)
    [source] = opened("jigsaw_2018", tmp_path)
    assert [file.name for file in source.files] == ["train.csv", "test.csv", "test_labels.csv"]
    train, test, unscored = source.rows()
    assert dict(train.example.labels) == {
        "toxicity": 1, "toxicity/severe": 0, "profanity": 1, "threat": 0, "insult": 0, "hate": 0,
    }  # fmt: skip
    assert (train.split, test.split, test.example.labels["hate"]) == ("train", "test", 1.0)
    assert dict(unscored.example.labels) == {}
    assert unscored.example.content.parts[0].text == "text d"


def test_one_file_alone_and_a_folder_of_nothing(tmp_path):
    write(tmp_path)
    assert len(rows_of("jigsaw_2018", tmp_path / "train.csv")) == 1
    (tmp_path / "train.csv").unlink()
    (tmp_path / "test_labels.csv").unlink()
    with pytest.raises(ConfigError, match=r"has no train.csv, and no test.csv with test_labels.csv"):
        opened("jigsaw_2018", tmp_path)


def test_labels_that_do_not_belong_to_the_texts_are_faults(tmp_path):
    write(tmp_path, test_ids=("c", "d", "e"), label_ids=("c", "e"))
    with pytest.raises(
        DataError, match=r"test\.csv, row 2: test_labels\.csv has no labels for it at its place"
    ):
        rows_of("jigsaw_2018", tmp_path)
    rows, shown = skipping("jigsaw_2018", tmp_path)
    assert len(shown) == 2
    assert [row.example.id for row in rows] == ["jigsaw_2018/a", "jigsaw_2018/c"]


def test_an_unknown_class_is_named(tmp_path):
    write(tmp_path)
    write_csv(tmp_path / "train.csv", ["id", "comment_text", *LABELS], [["a", "x", 2, 0, 0, 0, 0, 0]])
    with pytest.raises(
        DataError, match=r"train\.csv, row 1: field 'toxic': unknown class '2'; expected one of 1, 0"
    ):
        rows_of("jigsaw_2018", tmp_path)
