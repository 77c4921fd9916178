"""SBIC: annotations gathered by post and annotator, and the aggregated files."""

import sys
from pathlib import Path

import pytest

from gooseguard.core.errors import ConfigError, DataError
from gooseguard.data.rules import Votes

sys.path.insert(0, str(Path(__file__).parent))
from published import opened, rows_of, write_csv

SINGLE = [
    "whoTarget", "intentYN", "sexYN", "offensiveYN", "WorkerId", "HITId", "post", "targetMinority",
    "targetCategory", "targetStereotype", "dataSource",
]  # fmt: skip
ANNOTATIONS = [
    # One annotator names two groups: two rows, one vote.
    ["1.0", "1.0", "0.0", "1.0", "w1", "h1", "a post", "women", "gender", "x", "r/jokes"],
    ["1.0", "1.0", "0.0", "1.0", "w1", "h1", "a post", "black folks", "race", "y", "r/jokes"],
    ["0.0", "0.0", "0.0", "0.5", "w2", "h1", "a post", "", "", "", "r/jokes"],
    # Not offensive: whom it targets was not asked.
    ["", "0.0", "1.0", "0.0", "w3", "h1", "a post", "", "", "", "r/jokes"],
    ["", "0.0", "0.0", "0.0", "w1", "h2", "another", "", "", "", "t/x"],
]


def test_annotations_of_a_post_are_its_votes(tmp_path):
    write_csv(tmp_path / "SBIC.v2.trn.csv", SINGLE, ANNOTATIONS)
    first, second = rows_of("sbic", tmp_path)
    assert dict(first.example.labels) == pytest.approx({"toxicity": 0.5, "hate": 1 / 3, "sexual": 1 / 3})
    assert first.votes["toxicity"] == Votes(3, (1.0, 0.5, 0.0))
    assert first.weights == {"sexual": 0.5}
    assert first.example.subgroups == ("women", "black folks")
    assert (first.split, first.place) == ("train", "SBIC.v2.trn.csv, row 1")
    assert dict(second.example.labels) == {"toxicity": 0.0, "hate": 0.0, "sexual": 0.0}


def test_aggregated_files_are_read_where_there_are_no_others(tmp_path):
    header = [
        "post", "targetMinority", "targetCategory", "targetStereotype", "whoTarget", "intentYN", "sexYN",
        "offensiveYN", "hasBiasedImplication",
    ]  # fmt: skip
    rows = [
        ["a post", '["women"]', "[]", "[]", "0.5", "0.5", "0.0", "0.75", "0"],
        ["b", "[]", "[]", "[]", "", "0.0", "0.0", "0.0", "1"],
    ]
    write_csv(tmp_path / "SBIC.v2.agg.dev.csv", header, rows)
    first, second = rows_of("sbic", tmp_path)
    assert dict(first.example.labels) == {"toxicity": 0.75, "hate": 0.5, "sexual": 0.0}
    assert (first.example.subgroups, first.split) == (("women",), "dev")
    assert second.example.labels["hate"] == 0.0
    write_csv(tmp_path / "SBIC.v2.dev.csv", SINGLE, ANNOTATIONS)
    [source] = opened("sbic", tmp_path)
    assert [file.name for file in source.files] == ["SBIC.v2.dev.csv"]


def test_missing_columns_and_files_are_named(tmp_path):
    write_csv(tmp_path / "SBIC.v2.tst.csv", ["post"], [])
    with pytest.raises(DataError, match=r"SBIC\.v2\.tst\.csv: has no column 'targetMinority'; found 'post'"):
        rows_of("sbic", tmp_path)
    (tmp_path / "SBIC.v2.tst.csv").rename(tmp_path / "x.csv")
    with pytest.raises(ConfigError, match=r"has no SBIC\.v2\.trn\.csv"):
        opened("sbic", tmp_path)
