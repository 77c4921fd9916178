"""OLID: three levels, and test labels in files of their own."""

import sys
from pathlib import Path

import pytest

from gooseguard.core.errors import ConfigError, DataError

sys.path.insert(0, str(Path(__file__).parent))
from published import opened, rows_of, write_csv

HEADER = "id\ttweet\tsubtask_a\tsubtask_b\tsubtask_c\n"


def write(folder):
    # A quote in a tweet is only a quote.
    (folder / "olid-training-v1.0.tsv").write_text(
        HEADER
        + '1\t@USER "you <slur>\tOFF\tTIN\tIND\n2\tdamn rain\tOFF\tUNT\tNULL\n3\thello\tNOT\tNULL\tNULL\n'
    )
    (folder / "testset-levela.tsv").write_text("id\ttweet\n8\tgo away moron\n9\tnice\n7\tunlabelled\n")
    write_csv(folder / "labels-levela.csv", None, [["8", "OFF"], ["9", "NOT"]])
    write_csv(folder / "labels-levelb.csv", None, [["8", "TIN"]])
    write_csv(folder / "labels-levelc.csv", None, [["8", "IND"]])


def test_training_and_test_rows(tmp_path):
    write(tmp_path)
    rows = rows_of("olid", tmp_path)
    assert [(row.example.id, row.split, dict(row.example.labels)) for row in rows] == [
        ("olid/1", "train", {"toxicity": 1.0, "insult": 1.0}),
        ("olid/2", "train", {"toxicity": 1.0, "insult": 0.0}),
        ("olid/3", "train", {"toxicity": 0.0, "insult": 0.0}),
        ("olid/8", "test", {"toxicity": 1.0, "insult": 1.0}),
        ("olid/9", "test", {"toxicity": 0.0, "insult": 0.0}),
        ("olid/7", "test", {}),
    ]
    assert rows[0].example.content.parts[0].text == '@USER "you <slur>'
    [source] = opened("olid", tmp_path)
    assert len(source.files) == 5


def test_unknown_classes_columns_and_files_are_named(tmp_path):
    path = tmp_path / "olid-training-v1.0.tsv"
    path.write_text(HEADER + "1\ta\tOFFENSIVE\tTIN\tIND\n")
    with pytest.raises(
        DataError, match=r"row 1: field 'subtask_a': unknown class 'OFFENSIVE'; expected one of OFF"
    ):
        rows_of("olid", path)
    path.write_text("id\ttweet\n")
    with pytest.raises(DataError, match="has no column 'subtask_a'"):
        rows_of("olid", path)
    path.rename(tmp_path / "testset-levela.tsv")
    with pytest.raises(ConfigError, match=r"no testset-levela\.tsv with labels-levela\.csv"):
        opened("olid", tmp_path)
