"""ToxiGen: statements that people rated, and those labelled by what was asked for."""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gooseguard.core.errors import ConfigError, DataError

sys.path.insert(0, str(Path(__file__).parent))
from published import opened, rows_of, write_csv

RATED = ["text", "target_group", "factual?", "toxicity_ai", "toxicity_human", "actual_method"]
WRITTEN = ["prompt", "generation", "generation_method", "group", "prompt_label", "roberta_prediction"]


def test_ratings_from_one_to_five_become_labels_from_zero_to_one(tmp_path):
    write_csv(
        tmp_path / "annotated_train.csv",
        RATED,
        [["a", "women", "", "2.0", "5.0", "alice"], ["b", "asian", "", "1", "2.0", "topk"]],
    )
    write_csv(tmp_path / "annotated_test.csv", RATED, [["c", "women", "", "2.0", "1.0", "alice"]])
    write_csv(tmp_path / "toxigen.csv", WRITTEN, [["p", "d", "topk", "women", "1", "0.9"]])
    rated, written = opened("toxigen", tmp_path)
    assert (written.card.weak, rated.card.weak, written.card.group) == (True, False, "weak")
    rows = list(rated.rows())
    # The files in order of their names.
    assert [(row.split, row.example.labels["hate"]) for row in rows] == [
        ("test", 0.0),
        ("train", 1.0),
        ("train", 0.25),
    ]
    assert rows[2].example.subgroups == ("asian",)
    [row] = written.rows()
    assert (row.example.source, dict(row.example.labels), row.example.content.parts[0].text) == (
        "toxigen_generated", {"hate": 1.0}, "d",
    )  # fmt: skip
    assert len(opened("toxigen", tmp_path, select=("toxigen",))) == 1


def test_the_parquet_edition(tmp_path):
    table = pa.table({"text": ["a"], "target_group": ["women"], "toxicity_human": [3.0]})
    pq.write_table(table, tmp_path / "train-00000-of-00001.parquet")
    [row] = rows_of("toxigen", tmp_path)
    assert row.example.labels["hate"] == 0.5


def test_what_is_missing_is_named(tmp_path):
    write_csv(tmp_path / "annotated_train.csv", ["text"], [])
    with pytest.raises(DataError, match=r"annotated_train\.csv: has no column 'target_group'"):
        rows_of("toxigen", tmp_path)
    with pytest.raises(ConfigError, match="has no file of toxigen_generated"):
        opened("toxigen", tmp_path, select=("toxigen_generated",))
    with pytest.raises(ConfigError, match="has no set 'hate'; expected toxigen or toxigen_generated"):
        opened("toxigen", tmp_path, select=("hate",))
