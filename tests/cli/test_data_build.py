"""The verb `data build`: a recipe in, a folder out, and one line where something is wrong."""

import gzip
import json

import pytest

pytest.importorskip("pyarrow")

RECIPE = """
name = "mine"
[[sources]]
name = "json_lines"
path = "a.jsonl.gz"
mapping = "a.toml"
[[plans]]
name = "few"
cap = 2
"""
MAPPING = """
name = "mine"
title = "M"
licence = "x"
citation = "x"
meaning = "x"
[[labels]]
field = "rude"
category = "insult"
values = { 1 = 1, 0 = 0 }
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE, "utf-8")
    (tmp_path / "sets").mkdir()
    (tmp_path / "a.toml").write_text(MAPPING, "utf-8")
    texts = ["a fine day", "what a <slur> you are", "nobody asked you", "see you tomorrow at ten"]
    rows = [json.dumps({"text": text, "rude": number % 2}) for number, text in enumerate(texts)]
    (tmp_path / "sets" / "a.jsonl.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    return path


def test_builds_and_says_what_it_made(program, recipe, tmp_path):
    folder = tmp_path / "out" / "set"
    arguments = ("data", "build", str(recipe), "--set", f"root={tmp_path / 'sets'}", "--output", str(folder))
    status, out, err = program(*arguments, "--workers", "1", "--json")
    assert status == 0, err
    made = json.loads(out)
    assert made["dataset"] == str(folder)
    assert sum(made["rows"].values()) == 4
    assert made["dropped"] == {}
    # Steps are told, once each where nobody looks.
    steps = [line.partition(":")[0].partition(" (")[0] for line in err.splitlines()]
    assert steps == ["digest inputs", "read and clean", "find near duplicates", "write", "draw plans"]
    status, out, err = program(*arguments)
    assert (status, out) == (2, "")
    assert "exists already" in err


def test_a_source_that_is_not_there_is_named(program, recipe, tmp_path):
    status, _, err = program("data", "build", str(recipe), "--output", str(tmp_path / "set"))
    assert status == 2
    assert "a.jsonl.gz" in err
    assert not (tmp_path / "set").exists()
