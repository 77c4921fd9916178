"""The report of a dataset whose every number is known."""

import math

import pytest

from gooseguard.core.content import Content
from gooseguard.core.errors import ArtefactError
from gooseguard.core.example import Example
from gooseguard.core.manifest import Manifest, write_manifest
from gooseguard.data.arrow import import_arrow
from gooseguard.data.audit import audit, drift
from gooseguard.data.build import merge_labels
from gooseguard.data.shards import DatasetRow, write_shards
from gooseguard.data.sources.source import SourceRow
from gooseguard.data.tables import merge_records, to_record, to_table


def record(row_id, text, labels, *, cluster="", split="train", language="en"):
    content = Content.from_text(text, language)
    source = row_id.partition("/")[0]
    made = to_record(SourceRow(Example(row_id, content, labels, (), source), {}, ""), None)
    # A cluster is a key: 16 hex digits.
    return made | {"cluster": cluster and cluster.rjust(16, "0"), "split": split}


def write_dataset(folder, records):
    folder.mkdir()
    for split in ("train", "val", "test"):
        table = to_table([one for one in records if one["split"] == split])
        import_arrow("pyarrow.parquet").write_table(table, folder / f"{split}-00000.parquet")
    files = {path.name: "" for path in folder.iterdir()}
    write_manifest(folder, Manifest("dataset", 2, {}, {}, files, {"dropped": {"merged": 1}}))
    return folder


def merged(*records):
    made = merge_records(records, (), merge_labels)
    made.pop("disputed")
    return made


@pytest.fixture
def folder(tmp_path):
    rows = [
        merged(record("a/1", "x" * 30, {"hate": 1.0}, cluster="a1"), record("b/1", "x" * 30, {"hate": 0.0})),
        record("a/2", "x" * 60, {"hate": 1.0, "spam": 1.0}, cluster="a2"),
        record("b/2", "y" * 60, {"hate": 0.0, "spam": 0.0}, cluster="a2"),
        record("b/3", "z" * 60, {}, cluster="a3", split="val", language="de"),
        record("c/1", "z" * 61, {"spam": 0.25}, cluster="a3", split="test"),
    ]
    return write_dataset(tmp_path / "set", rows)


def test_counts_composition(folder):
    report = audit(folder)
    assert report["rows"]["split"] == {"train": 3, "val": 1, "test": 1}
    assert report["rows"]["source"] == {"a": 2, "b": 2, "c": 1}
    assert report["rows"]["language"] == {"en": 4, "de": 1}
    assert {name: n for name, n in report["lengths"].items() if n} == {"20-50": 1, "50-100": 4}
    # Each reading of a merged row counts for its own source: a said 1, b said 0.
    hate = report["categories"]["hate"]
    assert hate["sources"] == {
        "a": {"annotated": 2, "positive": 2}, "b": {"annotated": 2, "positive": 0},
    }  # fmt: skip
    assert (hate["positive_share"], hate["negatives_for_each_positive"]) == (0.5, 1.0)
    assert (hate["largest_source_of_positives"], hate["its_share_of_positives"]) == ("a", 1.0)
    assert report["categories"]["spam"]["coverage"] == 0.6


def test_names_what_a_trainer_should_know(folder):
    report = audit(folder)
    findings = report["findings"]
    assert findings["sources_all_positive"] == {"a": ["hate", "spam"]}
    assert findings["categories_with_positives_of_one_source"] == {"hate": "a", "spam": "a"}
    assert findings["rows_without_labels"] == 1
    assert report["duplicates"]["exact_across_sources"] == [["a/1", "b/1"]]
    assert report["duplicates"]["near_across_sources"] == [["a/2", "b/2"], ["b/3", "c/1"]]
    assert report["duplicates"]["pairs_of_sources"] == [
        {"sources": ["a", "b"], "exact": 1, "near": 1},
        {"sources": ["b", "c"], "exact": 0, "near": 1},
    ]
    assert report["leaks"] == [["b/3", "c/1"]]


def test_tells_the_drift_between_two_builds(folder, tmp_path):
    rows = [
        record("a/2", "x" * 60, {"hate": 0.0, "spam": 1.0}, split="val"),
        record("b/2", "y" * 60, {"hate": 0.0, "spam": 0.0}),
        record("d/1", "y" * 60, {}),
    ]
    found = drift(folder, write_dataset(tmp_path / "other", rows))
    assert (found["added"], found["removed"]) == (1, 3)
    assert found["moved_to_another_split"] == found["labels_changed"] == ["a/2"]
    assert found["positive_share"]["hate"] == [0.5, 0.0]
    # en 4, de 1 against en 3, de 0, half a row added to each count: shares 0.75, 0.25 and 0.875, 0.125.
    expected = 0.125 * math.log(0.875 / 0.75) - 0.125 * math.log(0.125 / 0.25)
    assert found["stability_index"]["language"] == round(expected, 4)


def test_a_dataset_without_clusters_is_refused(tmp_path):
    rows = [DatasetRow(Example("a/1", Content.from_text("x")), "train")]
    folder = write_shards(tmp_path / "set", {"train": rows}, {}, {}, {})
    with pytest.raises(ArtefactError, match="format version 1"):
        audit(folder)
