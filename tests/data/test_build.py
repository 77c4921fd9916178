"""The stage, from files in the published layout to a dataset folder."""

import gzip
import json

import numpy as np
import pytest

from gooseguard.core.content import Content
from gooseguard.core.errors import ConfigError, DataError
from gooseguard.core.example import Example
from gooseguard.data import build as stage
from gooseguard.data.build import BuildConfig, build, merge_duplicates, merge_labels, read_keys
from gooseguard.data.dedup import dedup_key
from gooseguard.data.mapping import SourceMapping, SourceSet
from gooseguard.data.shards import read_dataset_manifest, read_split
from gooseguard.data.sources.source import SourceRow

LABELS = {"rude": "insult", "sexual": "sexual", "identity": "hate"}


def source_set(name, group="open"):
    return SourceSet(
        name, group, f"{group}/{name}.jsonl.gz", "MIT", "a/b@0", "en", "rude", weak=group == "weak"
    )


def write_set(root, source, rows):
    path = root / source.path
    path.parent.mkdir(exist_ok=True, parents=True)
    lines = [
        json.dumps({"text": text, "split": "all", "lang": "en", "native": {}, "y": labels})
        for text, labels in rows
    ]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Two sets of mild texts: one read by people, one weak."""
    sets = (source_set("people"), source_set("forum", "weak"))
    monkeypatch.setattr(stage, "read_mapping", lambda: SourceMapping(LABELS, sets))
    rows = [
        ("You moron!", {"rude": 1}),
        ("you MORON", {"rude": 0, "identity": 0}),
        ("nice picture", {"sexual": 0}),
        ("   ", {"rude": 0}),
        ("x" * 60, {"rude": 0}),
        ("ordinary words without a label", {}),
    ]
    # Seven of 300 numbers each: no two texts are near duplicates.
    words = np.random.default_rng(0).integers(0, 300, (363, 7))
    rows += [
        (" ".join(f"{word * 7919 % 9973:05}" for word in text), {"rude": int(text[0]) % 2}) for text in words
    ]
    write_set(tmp_path / "in", sets[0], rows)
    write_set(
        tmp_path / "in",
        sets[1],
        [("Nice picture.", {"sexual": 1, "rude": 1}), ("what a night", {"sexual": 1})],
    )
    return tmp_path / "in"


def rows_of(folder):
    return [row for split in ("train", "val", "test") for row in read_split(folder, split)]


def test_builds_a_dataset(root, tmp_path):
    steps = []
    config = BuildConfig(str(root), longest=59)
    folder = build(config, tmp_path / "set", lambda step, done, total: steps.append((step, done, total)))
    by_id = {row.example.id: row for row in rows_of(folder)}
    # Means of what people said; a weak label counts only where they said nothing, and in its categories.
    assert dict(by_id["people/1"].example.labels) == {"insult": 0.5, "hate": 0.0}
    assert "people/2" not in by_id
    assert dict(by_id["people/3"].example.labels) == {"sexual": 0.0}
    assert dict(by_id["forum/2"].example.labels) == {"sexual": 1.0}
    assert dict(by_id["people/6"].example.labels) == {}
    assert [entry["id"] for entry in json.loads(by_id["people/1"].native)] == ["people/1", "people/2"]
    facts = read_dataset_manifest(folder).facts
    assert facts["dropped"] == {"empty": 1, "too_long": 1}
    assert facts["merged_into_others"] == 2
    assert facts["equal_texts_with_different_labels"] == {"insult": 1, "sexual": 1}
    assert sum(counts["rows"] for counts in facts["counts"].values()) == len(by_id)
    assert steps[0] == ("read", 0, 2)
    assert steps[-1] == ("write", 1, 1)


def test_manifest_counts_are_those_of_the_rows(root, tmp_path):
    folder = build(BuildConfig(str(root)), tmp_path / "set")
    counts = read_dataset_manifest(folder).facts["counts"]
    for split in ("train", "val", "test"):
        labels = [row.example.annotated for row in read_split(folder, split)]
        assert counts[split]["rows"] == len(labels)
        assert counts[split]["unlabelled"] == labels.count({})
        assert counts[split]["categories"]["insult"] == {
            "annotated": sum("insult" in one for one in labels),
            "positive": sum(one.get("insult", 0.0) >= 0.5 for one in labels),
        }


def test_two_builds_are_equal(root, tmp_path):
    one, other = (build(BuildConfig(str(root)), tmp_path / name) for name in ("one", "other"))
    assert read_dataset_manifest(one).files == read_dataset_manifest(other).files


def test_held_out_texts_stay_in_test_under_another_seed(root, tmp_path):
    first = build(BuildConfig(str(root)), tmp_path / "first")
    keys = stage.test_keys(first)
    path = first / "test-keys.txt"
    assert path.read_text().split() == keys
    assert keys == sorted({dedup_key(row.example.content.parts[0].text) for row in read_split(first, "test")})
    assert len(keys) > 20
    second = build(BuildConfig(str(root), seed=7, held_out=str(path)), tmp_path / "second")
    assert set(keys) <= set(stage.test_keys(second))
    assert not set(keys) <= set(stage.test_keys(build(BuildConfig(str(root), seed=7), tmp_path / "third")))


def test_one_key_is_never_in_two_splits(root, tmp_path):
    write_set(
        root,
        source_set("people"),
        [(f"you are {face}", {"rude": n % 2}) for n, face in enumerate("🐍👍🐸😀" * 2)],
    )
    folder = build(BuildConfig(str(root), groups=("open",)), tmp_path / "set")
    rows = rows_of(folder)
    # Emoji tell texts apart, yet not splits.
    assert len(rows) == 4
    assert len({row.split for row in rows}) == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"val_fraction": 1.5}, "val_fraction is 1.5"),
        ({"similarity": 0.0}, "similarity is 0.0"),
        ({"groups": ("closed",)}, "groups: 'closed' holds no set"),
        ({"held_out": "nowhere.txt"}, r"held_out nowhere\.txt: FileNotFoundError"),
    ],
)
def test_refuses_wrong_settings(root, tmp_path, fields, message):
    with pytest.raises(ConfigError, match=message):
        build(BuildConfig(str(root), **fields), tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_refuses_to_overwrite_before_it_reads(tmp_path):
    with pytest.raises(ConfigError, match="exists already"):
        build(BuildConfig("nowhere"), tmp_path)


def test_refuses_sets_without_text(root, tmp_path):
    write_set(root, source_set("people"), [(" ", {})])
    with pytest.raises(DataError, match="hold no usable text"):
        build(BuildConfig(str(root), groups=("open",)), tmp_path / "set")


def test_refuses_a_line_that_is_no_key(tmp_path):
    path = tmp_path / "keys.txt"
    path.write_text("0123456789abcdef\n0123456789ABCDEF\n")
    with pytest.raises(ConfigError, match=r"held_out keys\.txt, line 2: is no key; expected 16 hex digits"):
        read_keys(path)


@pytest.mark.parametrize(
    ("labels", "is_weak", "merged", "disputed"),
    [
        ([{"hate": 1.0}], [False], {"hate": 1.0}, set()),
        ([{"hate": 1.0}, {"hate": 0.0}, {"hate": 1.0}], [False] * 3, {"hate": 2 / 3}, {"hate"}),
        ([{"hate": 1.0}, {"spam": 0.0}], [False] * 2, {"hate": 1.0, "spam": 0.0}, set()),
        ([{"sexual": 1.0}, {"sexual": 0.0}], [True, False], {"sexual": 0.0}, {"sexual"}),
        ([{"sexual": 1.0}, {"sexual": 0.0}], [True, True], {"sexual": 0.5}, {"sexual"}),
        ([{"sexual": 1.0}, {"hate": 0.0}], [True, False], {"sexual": 1.0, "hate": 0.0}, set()),
        ([{}, {}], [False, True], {}, set()),
    ],
)
def test_merges_labels(labels, is_weak, merged, disputed):
    assert merge_labels(labels, is_weak) == (merged, disputed)


def test_merging_keeps_the_first_id_and_all_subgroups():
    rows = [
        SourceRow(Example("a/1", Content.from_text("Hello."), {}, ("women",), "a"), {"v": 1}, "train"),
        SourceRow(Example("b/1", Content.from_text("hello"), {}, ("men", "women"), "b"), {}, "all"),
    ]
    (merged,), facts = merge_duplicates(rows, frozenset())
    assert (merged.example.id, merged.example.source, merged.example.subgroups) == (
        "a/1",
        "a",
        ("women", "men"),
    )
    assert merged.example.content.parts[0].text == "Hello."
    assert facts["rows_read"] == 2
    assert facts["merged_into_others"] == 1
