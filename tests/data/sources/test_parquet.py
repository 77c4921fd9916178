"""Parquet shards as records, and what a changed schema or a damaged file says."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gooseguard.core.errors import DataError
from gooseguard.data.sources.parquet import open_parquet, schema_change
from gooseguard.data.sources.source import Faults, OnFault, SourceConfig

MAPPING = """
name = "mine"
title = "M"
licence = "x"
citation = "x"
meaning = "x"
[[labels]]
field = "toxicity"
category = "toxicity"
range = [0, 1]
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "m.toml").write_text(MAPPING)
    (tmp_path / "rows").mkdir()
    for number in range(2):
        table = pa.table(
            {"text": [f"a{number}", f"b{number}"], "toxicity": pa.array([0.25, None], pa.float32())}
        )
        pq.write_table(table, tmp_path / "rows" / f"train-{number}.parquet")
    return tmp_path / "rows"


def read(folder, faults=None):
    config = SourceConfig("parquet", str(folder), mapping=str(folder.parent / "m.toml"))
    [source] = open_parquet(folder, config)
    # Twice: a source may be read again.
    list(source.rows(Faults(OnFault.SKIP)))
    return list(source.rows(faults))


def test_reads_shards_in_order(folder):
    rows = read(folder)
    assert [row.example.content.parts[0].text for row in rows] == ["a0", "b0", "a1", "b1"]
    assert [dict(row.example.labels) for row in rows] == [{"toxicity": 0.25}, {}] * 2
    assert rows[3].place == "train-1.parquet, row 2"


def test_a_shard_of_another_schema_is_named_with_column_and_row(folder):
    changed = pa.table({"text": ["c"], "toxicity": ["high"]})
    pq.write_table(changed, folder / "train-1.parquet")
    with pytest.raises(
        DataError, match=r"train-1.parquet, from row 1: column 'toxicity' is string, not float"
    ):
        read(folder)
    faults = Faults(OnFault.SKIP)
    assert len(read(folder, faults)) == 2
    assert faults.counts == {"train-1.parquet": 1}
    assert schema_change(pa.schema([("a", pa.int8())]), pa.schema([]), []) == "has no column 'a'"


def test_the_first_shard_without_a_column_is_a_wrong_layout(folder):
    pq.write_table(pa.table({"words": ["c"]}), folder / "train-0.parquet")
    with pytest.raises(DataError, match=r"train-0.parquet: has no column 'text'; found 'words'"):
        read(folder)


@pytest.mark.parametrize("damage", ["cut", "empty", "middle", "name"])
def test_a_damaged_shard_is_named(folder, damage):
    path = folder / "train-1.parquet"
    data = path.read_bytes()
    broken = {
        "cut": data[:-20],
        "empty": b"",
        "middle": data[:30] + b"\x00" * 60 + data[90:],
        # A column's name that is not UTF-8.
        "name": data.replace(b"toxicity", b"toxicit\xe9"),
    }[damage]
    path.write_bytes(broken)
    with pytest.raises(DataError, match=r"train-1\.parquet, after row 0: is damaged or no Parquet"):
        read(folder)


def test_a_text_that_is_not_utf_8_is_a_fault_of_its_row(folder):
    # Binary that is said to be text: Arrow does not look at it when it is written.
    texts = pa.array([b"a", b"caf\xe9", b"c"]).view(pa.string())
    pq.write_table(
        pa.table({"text": texts, "toxicity": pa.array([0.0] * 3, pa.float32())}), folder / "train-1.parquet"
    )
    with pytest.raises(DataError, match=r"train-1\.parquet, row 2: holds text that is not UTF-8"):
        read(folder)
    rows = read(folder, Faults(OnFault.SKIP))
    assert [row.example.content.parts[0].text for row in rows] == ["a0", "b0", "a", "c"]
