"""Civil Comments in its editions: fractions, votes, identities; and columns that are missing."""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gooseguard.core.errors import ConfigError, DataError
from gooseguard.data.sources.civil_comments import choose_files

sys.path.insert(0, str(Path(__file__).parent))
from published import rows_of, skipping, write_csv

LABELS = ["severe_toxicity", "obscene", "identity_attack", "insult", "threat"]
IDENTITIES = ["asian", "female", "homosexual_gay_or_lesbian"]
# The order of the columns of train.csv, some identities and reactions left out.
TRAIN = [
    "id", "target", "comment_text", *LABELS, *IDENTITIES, "created_date", "rating", "likes",
    "sexual_explicit", "identity_annotator_count", "toxicity_annotator_count",
]  # fmt: skip
ROW = ["59848", "0.4", "you <slur>,\nall of you", "0.0", "0.1", "0.3", "0.25", "0.0", "", "0.6", "0.4",
       "2015-09-29", "rejected", "0", "0.0", "4", "10"]  # fmt: skip


def test_train_csv_has_toxicity_as_target_and_keeps_fractions_votes_and_identities(tmp_path):
    write_csv(tmp_path / "train.csv", TRAIN, [ROW])
    [row] = rows_of("civil_comments", tmp_path)
    assert (row.example.id, row.split) == ("civil_comments/59848", "train")
    assert row.example.content.parts[0].text == "you <slur>,\nall of you"
    assert dict(row.example.labels) == pytest.approx(
        {
            "toxicity": 0.4, "toxicity/severe": 0.0, "profanity": 0.1, "hate": 0.3, "insult": 0.25,
            "threat": 0.0, "sexual": 0.0,
        }
    )  # fmt: skip
    assert {votes.n for votes in row.votes.values()} == {10}
    # At least half of those who were asked saw it.
    assert row.example.subgroups == ("female",)
    assert (row.native["female"], row.native["identity_annotator_count"]) == ("0.6", "4")


def test_all_data_csv_holds_every_row_with_its_split(tmp_path):
    header = [
        "id",
        "comment_text",
        "split",
        "toxicity",
        *LABELS,
        "sexual_explicit",
        "toxicity_annotator_count",
    ]
    write_csv(tmp_path / "all_data.csv", header, [["1", "a", "test", *["0.5"] * 7, "4"]])
    # The same rows by split: not read again.
    write_csv(tmp_path / "train.csv", TRAIN, [ROW])
    write_csv(tmp_path / "toxicity_individual_annotations.csv", ["id", "worker", "toxic"], [["1", "2", "0"]])
    [row] = rows_of("civil_comments", tmp_path)
    assert (row.split, row.example.labels["toxicity"]) == ("test", 0.5)


def test_the_parquet_edition_has_the_text_as_text_and_no_votes(tmp_path):
    columns = ["toxicity", *LABELS, "sexual_explicit"]
    for split in ("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001"):
        table = pa.table({"text": [split]} | {name: pa.array([0.25], pa.float32()) for name in columns})
        pq.write_table(table, tmp_path / f"{split}.parquet")
    rows = rows_of("civil_comments", tmp_path)
    assert [row.split for row in rows] == ["train", "train", "validation"]
    assert dict(rows[0].example.labels)["sexual"] == 0.25
    assert len({row.example.id for row in rows}) == 3
    assert (rows[0].votes, rows[0].example.subgroups) == ({}, ())


def test_a_missing_column_and_a_bad_fraction_are_named(tmp_path):
    write_csv(tmp_path / "train.csv", [name for name in TRAIN if name != "threat"], [ROW])
    with pytest.raises(DataError, match=r"train\.csv: has no column 'threat'; found 'id', 'target'"):
        rows_of("civil_comments", tmp_path)
    write_csv(tmp_path / "train.csv", TRAIN, [[*ROW[:1], "1.5", *ROW[2:]], [*ROW[:1], "", *ROW[2:]], ROW])
    rows, shown = skipping("civil_comments", tmp_path)
    assert len(rows) == 1
    assert shown == [
        "train.csv, row 1: field 'toxicity' is 1.5, expected 0 to 1",
        "train.csv, row 2: field 'toxicity' is empty; expected a label",
    ]


def test_a_folder_of_something_else_is_refused(tmp_path):
    write_csv(tmp_path / "other.csv", ["a"], [])
    with pytest.raises(ConfigError, match=r"holds neither all_data\.csv, train\.csv nor Parquet shards"):
        choose_files(tmp_path)
