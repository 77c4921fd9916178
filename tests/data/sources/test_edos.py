"""EDOS: single annotations gathered by post, or the aggregated file."""

import sys
from pathlib import Path

import pytest

from gooseguard.core.errors import ConfigError, DataError
from gooseguard.data.rules import Votes
from gooseguard.data.sources.edos import AGGREGATED, COLUMNS, INDIVIDUAL

sys.path.insert(0, str(Path(__file__).parent))
from published import opened, rows_of, write_csv

THREAT = ("sexist", "1. threats, plans to harm and incitement", "1.1 threats of harm")
OTHER = ("sexist", "2. derogation", "2.1 descriptive attacks")
NONE = ("not sexist", "none", "none")


def test_single_annotations_are_votes(tmp_path):
    header = ["rewire_id", "text", "annotator", "label_sexist", "label_category", "label_vector", "split"]
    rows = [["s-1", "a", who, *said, "train"] for who, said in (("1", THREAT), ("2", OTHER), ("3", NONE))]
    rows += [["s-2", "b", "1", *NONE, "dev"]]
    write_csv(tmp_path / INDIVIDUAL, header, rows)
    write_csv(tmp_path / AGGREGATED, list(COLUMNS), [["s-1", "a", *THREAT, "train"]])
    first, second = rows_of("edos", tmp_path)
    assert dict(first.example.labels) == pytest.approx({"hate": 2 / 3, "threat": 1 / 3})
    assert first.votes["hate"] == Votes(3, (1.0, 1.0, 0.0))
    assert first.native["label_vector"] == [THREAT[2], OTHER[2], NONE[2]]
    assert (first.example.id, first.split, second.split) == ("edos/s-1", "train", "dev")


def test_the_aggregated_file(tmp_path):
    write_csv(
        tmp_path / AGGREGATED, list(COLUMNS), [["s-1", "a", *THREAT, "train"], ["s-2", "b", *NONE, "test"]]
    )
    first, second = rows_of("edos", tmp_path)
    assert (dict(first.example.labels), first.votes) == ({"hate": 1.0, "threat": 1.0}, {})
    assert dict(second.example.labels) == {"hate": 0.0, "threat": 0.0}


def test_unknown_classes_columns_and_files_are_named(tmp_path):
    path = tmp_path / AGGREGATED
    write_csv(path, list(COLUMNS), [["s-1", "a", "sexist", "5. new", "none", "train"]])
    with pytest.raises(DataError, match=r"row 1: field 'label_category': unknown class '5\. new'"):
        rows_of("edos", path)
    write_csv(path, list(COLUMNS[:-1]), [])
    with pytest.raises(DataError, match="has no column 'split'"):
        rows_of("edos", path)
    path.rename(tmp_path / "x.csv")
    with pytest.raises(ConfigError, match=f"has neither {INDIVIDUAL} nor"):
        opened("edos", tmp_path)
