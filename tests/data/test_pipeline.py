"""The stage, from files of a user to a dataset folder: same bytes, nothing moved, nothing half done."""

import gzip
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from gooseguard.core.errors import ArtefactError, ConfigError, DataError
from gooseguard.data import batches
from gooseguard.data.dedup import dedup_key
from gooseguard.data.executor import LocalExecutor, SerialExecutor
from gooseguard.data.pipeline import build_dataset
from gooseguard.data.recipe import (
    DataRecipe,
    DuplicateConfig,
    HeldOutAction,
    HeldOutConfig,
    PlanConfig,
    SplitConfig,
)
from gooseguard.data.shards import read_columns, read_dataset_manifest, read_split
from gooseguard.data.sources.source import OnFault, SourceConfig

MAPPING = """
name = "{name}"
title = "M"
licence = "CC0-1.0"
citation = "nobody/nothing@0"
meaning = "1: rude"
faults = "made by a test"
[columns]
text = "text"
[[labels]]
field = "rude"
category = "insult"
values = {{ 1 = 1, 0 = 0 }}
"""
SPLITS = ("train", "val", "test")


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(batches, "BATCH_ROWS", 40)


def make_texts(n, seed=0):
    """Texts of which no two are near duplicates: seven of 300 words of five letters each."""
    words = np.random.default_rng(seed).integers(0, 300, (n, 7))
    letters = str.maketrans("0123456789", "ekmoprstuv")
    return [" ".join(f"{word * 7919 % 9973:05}" for word in text).translate(letters) for text in words]


def write_source(folder, name, rows, **options):
    """Write JSON Lines and their mapping; give the source of a recipe."""
    folder.mkdir(exist_ok=True, parents=True)
    mapping = folder / f"{name}.toml"
    mapping.write_text(MAPPING.format(name=name), "utf-8")
    path = folder / f"{name}.jsonl.gz"
    lines = [json.dumps({"text": text, "rude": rude}) for text, rude in rows]
    path.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
    return SourceConfig("json_lines", str(path), mapping=str(mapping), **options)


@pytest.fixture
def recipe(tmp_path):
    """Two sources of 150 rows: the second repeats some of the first, exactly and nearly."""
    texts = make_texts(300)
    first = [(text, row % 2) for row, text in enumerate(texts[:150])]
    second = [(text, 1) for text in texts[150:280]]
    second += [(text.replace(" ", ", ").upper(), 1) for text, _ in first[:10]]
    second += [(text + " x", 0) for text, _ in first[10:20]]
    sources = (
        write_source(tmp_path / "in", "first", first),
        write_source(tmp_path / "in", "second", second),
    )
    return DataRecipe("mine", sources, plans=(PlanConfig("balanced", cap=50),), shard_rows=100)


def rows_of(folder):
    return {row.example.id: row for split in SPLITS for row in read_split(folder, split)}


def splits_of(folder):
    return {dedup_key(row.example.content.parts[0].text): row.split for row in rows_of(folder).values()}


def bytes_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_builds_a_dataset(recipe, tmp_path):
    steps = []
    folder = build_dataset(recipe, tmp_path / "set", SerialExecutor(), lambda *step: steps.append(step))
    rows = rows_of(folder)
    facts = read_dataset_manifest(folder).facts
    assert facts["rows_read"] == 300
    # Ten rows of the second source say what rows of the first say; 1 and 0 or 1 of them agree in half.
    assert facts["dropped"] == {"merged": 10}
    assert facts["equal_contents_with_different_labels"] == {"insult": 5}
    assert len(rows) == 290
    merged = rows["first/first.jsonl.gz/1"]
    assert dict(merged.example.labels) == {"insult": 0.5}
    assert [entry["id"] for entry in json.loads(merged.native)] == [
        "first/first.jsonl.gz/1", "second/second.jsonl.gz/131",
    ]  # fmt: skip
    # The text of the oldest row, not of the one that was merged into it.
    assert merged.example.content.parts[0].text == make_texts(1)[0]
    near = [rows[f"second/second.jsonl.gz/{number}"] for number in range(141, 151)]
    old = [rows[f"first/first.jsonl.gz/{number}"] for number in range(11, 21)]
    assert [row.split for row in near] == [row.split for row in old]
    assert [row.cluster for row in near] == [dedup_key(row.example.content.parts[0].text) for row in old]
    assert facts["near_duplicate_pairs"] == 10
    assert facts["clusters"] == {"count": 280, "rows_with_near_duplicates": 20, "largest": 2}
    counted = Counter(row.split for row in rows.values())
    assert {split: facts["counts"][split]["rows"] for split in SPLITS} == counted
    assert [step for step, _, _ in steps][-1] == "draw plans"
    assert "first" in (folder / "card.md").read_text("utf-8")
    assert not list(tmp_path.glob(".*"))


def test_training_on_a_plan_is_naming_it(recipe, tmp_path):
    folder = build_dataset(recipe, tmp_path / "set", SerialExecutor())
    full = read_columns(folder, "train", ["insult"])
    drawn = read_columns(folder, "train", ["insult"], plan="balanced")
    assert max(Counter(drawn.sources).values()) == 50
    assert set(drawn.ids) < set(full.ids)
    texts = dict(zip(full.ids, full.texts, strict=True))
    assert drawn.texts == [texts[row_id] for row_id in drawn.ids]
    plans = read_dataset_manifest(folder).facts["plans"]
    assert plans["original"]["rows"] == len(full.ids)
    assert plans["balanced"]["rows"] == len(drawn.ids)


def test_bytes_do_not_depend_on_workers_or_on_where_files_lie(recipe, tmp_path):
    one = build_dataset(recipe, tmp_path / "one", SerialExecutor())
    (tmp_path / "in").rename(tmp_path / "elsewhere")
    moved = tuple(
        replace(
            source,
            path=source.path.replace("/in/", "/elsewhere/"),
            mapping=source.mapping.replace("/in/", "/elsewhere/"),
        )
        for source in recipe.sources
    )
    # Workers are new processes: they know nothing of the batch size of this test, and need not.
    other = build_dataset(replace(recipe, sources=moved), tmp_path / "other", LocalExecutor(2))
    assert bytes_of(one) == bytes_of(other)


class Interrupted(SerialExecutor):
    """Stops after some items, as a kill does."""

    def __init__(self, after):
        self.after = after

    def map(self, function, items):
        for item in items:
            if not self.after:
                raise KeyboardInterrupt
            self.after -= 1
            yield function(item)


# tests/failures kills it before every write.
@pytest.mark.parametrize("after", [1, 9])
def test_goes_on_where_it_was_stopped(recipe, tmp_path, after):
    expected = bytes_of(build_dataset(recipe, tmp_path / "whole", SerialExecutor()))
    with pytest.raises(KeyboardInterrupt):
        # 8 batches, then the shards of each split.
        build_dataset(recipe, tmp_path / "set", Interrupted(after))
    assert not (tmp_path / "set").exists()
    assert bytes_of(build_dataset(recipe, tmp_path / "set", SerialExecutor())) == expected


def test_what_was_left_by_another_recipe_is_not_used(recipe, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build_dataset(recipe, tmp_path / "set", Interrupted(2))
    other = replace(recipe, seed=1)
    with pytest.raises(ArtefactError, match="--restart"):
        build_dataset(other, tmp_path / "set", SerialExecutor())
    build_dataset(other, tmp_path / "set", SerialExecutor(), restart=True)
    with pytest.raises(ConfigError, match="exists already"):
        build_dataset(recipe, tmp_path / "set", SerialExecutor())


def test_nothing_moves_when_a_source_is_added(recipe, tmp_path):
    before = splits_of(build_dataset(recipe, tmp_path / "before", SerialExecutor()))
    third = [(text + " y", 1) for text in make_texts(60)] + [(text, 0) for text in make_texts(50, seed=9)]
    added = write_source(tmp_path / "in", "third", third)
    after = splits_of(
        build_dataset(replace(recipe, sources=(*recipe.sources, added)), tmp_path / "after", SerialExecutor())
    )
    assert len(after) > len(before) + 90
    assert {key: after[key] for key in before} == before


def test_nothing_moves_when_a_source_is_put_first_and_the_earlier_build_is_named(recipe, tmp_path):
    before_folder = build_dataset(recipe, tmp_path / "before", SerialExecutor())
    before = splits_of(before_folder)
    # Near duplicates of every row of the first source, now older than they.
    added = write_source(tmp_path / "in", "zeroth", [(text + " z", 1) for text in make_texts(150)])
    first = replace(recipe, sources=(added, *recipe.sources))
    moved = splits_of(build_dataset(first, tmp_path / "moved", SerialExecutor()))
    assert {key: moved.get(key) for key in before} != before
    kept = replace(first, split=SplitConfig(previous=str(before_folder)))
    after = splits_of(build_dataset(kept, tmp_path / "after", SerialExecutor()))
    assert {key: after[key] for key in before} == before


def test_a_row_between_two_splits_is_dropped_and_counted(tmp_path):
    words = make_texts(160)
    # 83 characters in common, 16 of their own: J(a, b) = 79 / 111, J(a, c) = J(b, c) = 79 / 95.
    common = [f"{words[2 * i]} {words[2 * i + 1]}" for i in range(40)]
    pairs = [(f"{c} {words[80 + i][:15]}", f"{c} {words[120 + i][:15]}") for i, c in enumerate(common)]
    first = write_source(tmp_path / "in", "first", [(text, 1) for pair in pairs for text in pair])
    second = write_source(tmp_path / "in", "second", [(text, 1) for text in common])
    before = splits_of(build_dataset(DataRecipe("a", (first,)), tmp_path / "before", SerialExecutor()))
    folder = build_dataset(DataRecipe("b", (first, second)), tmp_path / "after", SerialExecutor())
    after = splits_of(folder)
    assert {key: after[key] for key in before} == before
    ends = [{before[dedup_key(text)] for text in pair} for pair in pairs]
    expected = [found.copy().pop() if len(found) == 1 else None for found in ends]
    assert [after.get(dedup_key(text)) for text in common] == expected
    n_bridges = expected.count(None)
    assert 5 < n_bridges < 35
    assert read_dataset_manifest(folder).facts["dropped"] == {"bridges_splits": n_bridges}


def test_held_out_texts_and_what_is_near_them_are_dropped(recipe, tmp_path):
    texts = make_texts(20)
    (tmp_path / "suite.jsonl").write_text(
        "\n".join(json.dumps({"text": text}) for text in (texts[0].upper(), texts[15] + " q")), "utf-8"
    )
    held = HeldOutConfig("suite", str(tmp_path / "suite.jsonl"))
    folder = build_dataset(replace(recipe, held_out=(held,)), tmp_path / "set", SerialExecutor())
    ids = set(rows_of(folder))
    # Row 1 and its copy; row 16 and its near copy, both near the held-out text.
    gone = {"first/first.jsonl.gz/1", "first/first.jsonl.gz/16", "second/second.jsonl.gz/146"}
    assert not gone & ids
    facts = read_dataset_manifest(folder).facts
    assert facts["dropped"] == {"held_out/suite": 4, "merged": 9}
    assert facts["held_out"] == {"suite": 4}
    assert len(ids) == 287


@pytest.mark.parametrize("suffix", [".txt", ".keys"])
def test_keys_of_an_earlier_test_set_are_test_rows(recipe, tmp_path, suffix):
    texts = make_texts(150)
    keys = sorted(dedup_key(text) for text in texts[5:15])
    path = tmp_path / f"keys{suffix}"
    path.write_text("".join(f"{key}\n" for key in keys), "ascii")
    held = HeldOutConfig("starter", str(path), HeldOutAction.TEST)
    if suffix != ".txt":
        with pytest.raises(ConfigError, match=r"expected \.jsonl"):
            build_dataset(replace(recipe, held_out=(held,)), tmp_path / "set", SerialExecutor())
        return
    folder = build_dataset(replace(recipe, held_out=(held,)), tmp_path / "set", SerialExecutor())
    rows = rows_of(folder)
    for number in range(6, 16):
        assert rows[f"first/first.jsonl.gz/{number}"].split == "test"
    for number in range(141, 146):
        # Near copies of rows 11 to 15.
        assert rows[f"second/second.jsonl.gz/{number}"].split == "test"
    assert set(keys) <= set((folder / "test-keys.txt").read_text("ascii").split())
    drop = replace(held, action=HeldOutAction.DROP)
    folder = build_dataset(replace(recipe, held_out=(drop,)), tmp_path / "dropped", SerialExecutor())
    assert read_dataset_manifest(folder).facts["held_out"] == {"starter": 20}


def test_near_duplicates_are_dropped_where_the_recipe_says_so(recipe, tmp_path):
    recipe = replace(recipe, duplicates=DuplicateConfig(near="drop"))
    folder = build_dataset(recipe, tmp_path / "set", SerialExecutor())
    assert read_dataset_manifest(folder).facts["dropped"] == {"merged": 10, "near_duplicate": 10}


def test_a_faulty_row_stops_or_is_counted(recipe, tmp_path):
    bad = write_source(tmp_path / "in", "bad", [(text, 1) for text in make_texts(5, seed=3)] + [("x y", 7)])
    with pytest.raises(DataError, match=r"bad.jsonl.gz, row 6.*unknown class '7'"):
        build_dataset(replace(recipe, sources=(bad,)), tmp_path / "set", SerialExecutor())
    skipping = replace(recipe, sources=(replace(bad, on_fault=OnFault.SKIP),))
    folder = build_dataset(skipping, tmp_path / "set", SerialExecutor(), restart=True)
    assert read_dataset_manifest(folder).facts["skipped"]["bad"]["faults"] == {"bad.jsonl.gz": 1}
    assert len(rows_of(folder)) == 5


def test_a_source_is_named_once_and_not_empty(recipe, tmp_path):
    with pytest.raises(ConfigError, match="'first' is named twice"):
        build_dataset(replace(recipe, sources=(recipe.sources[0],) * 2), tmp_path / "set", SerialExecutor())
    empty = write_source(tmp_path / "in", "empty", [("...", 1)])
    with pytest.raises(DataError, match="no usable row"):
        build_dataset(replace(recipe, sources=(empty,)), tmp_path / "set", SerialExecutor())


def test_images_are_kept_beside_the_rows_and_near_ones_stay_together(tmp_path):
    generator = np.random.default_rng(0)
    for number in range(12):
        small = Image.fromarray(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        image = small.resize((96, 96), Image.Resampling.BICUBIC)
        for folder, size in (("porn", 96), ("normal", 64)):
            path = tmp_path / "in" / folder / f"{number}.jpg"
            path.parent.mkdir(exist_ok=True, parents=True)
            image.resize((size, size)).save(path, quality=90 if size == 96 else 60)
    mapping = tmp_path / "images.toml"
    mapping.write_text(
        'name = "images"\ntitle = "M"\nlicence = "x"\ncitation = "x"\nmeaning = "x"\n'
        '[[labels]]\nfield = "class"\ncategory = "sexual"\nvalues = { porn = 1, normal = 0 }\n',
        "utf-8",
    )
    source = SourceConfig("media_folder", str(tmp_path / "in"), mapping=str(mapping))
    folder = build_dataset(DataRecipe("images", (source,)), tmp_path / "set", SerialExecutor())
    rows = rows_of(folder)
    assert len(rows) == 24
    by_number = {}
    for row_id, row in rows.items():
        part = row.example.content.parts[0]
        stem = row_id.rsplit("/", 1)[1]
        kind = "porn" if "porn" in row_id else "normal"
        assert part.data == (tmp_path / "in" / kind / stem).read_bytes()
        by_number.setdefault(stem, set()).add((row.split, row.cluster))
    assert all(len(found) == 1 for found in by_number.values())
    assert len({cluster for found in by_number.values() for _, cluster in found}) == 12
    with pytest.raises(DataError, match="not one text"):
        read_columns(folder, "train", ["sexual"])


def test_near_copies_of_an_earlier_test_set_are_found_by_its_sketches_alone(recipe, tmp_path):
    first = replace(recipe, sources=recipe.sources[:1])
    before = build_dataset(first, tmp_path / "before", SerialExecutor())
    tested = {row.example.id.rpartition("/")[2] for row in read_split(before, "test")}
    assert 5 < len(tested) < 40
    # Of every row a near copy, and texts that are like none.
    texts = make_texts(150)
    copies = write_source(tmp_path / "in", "copies", [(text + " x", 1) for text in texts])
    others = write_source(tmp_path / "in", "others", [(text, 1) for text in make_texts(60, seed=4)])
    held = HeldOutConfig("earlier", str(before / "test-sketches.npz"))
    after = build_dataset(
        replace(recipe, sources=(copies, others), held_out=(held,)), tmp_path / "after", SerialExecutor()
    )
    ids = set(rows_of(after))
    gone = {f"copies/copies.jsonl.gz/{number}" for number in range(1, 151)} - ids
    assert gone == {f"copies/copies.jsonl.gz/{number}" for number in tested}
    assert read_dataset_manifest(after).facts["held_out"] == {"earlier": len(tested)}
    assert len(ids) == 210 - len(tested)
