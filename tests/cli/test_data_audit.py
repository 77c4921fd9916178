"""The verb `data audit`: a dataset or a recipe in, table, JSON and page out."""

import importlib.util
import json
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

_path = Path(__file__).parents[1] / "data" / "test_audit.py"
_spec = importlib.util.spec_from_file_location("audit_parts", _path)
parts = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(parts)


@pytest.fixture
def folder(tmp_path):
    rows = [parts.record("a/1", "one", {"hate": 1.0}), parts.record("b/1", "two", {"hate": 0.0})]
    return parts.write_dataset(tmp_path / "mine", rows)


def test_writes_a_table_json_and_a_page(program, folder, tmp_path):
    page = tmp_path / "audit.html"
    status, out, err = program("data", "audit", str(folder), "--html", str(page), "--against", str(folder))
    assert status == 0, err
    assert "dataset mine: 2 rows" in out
    assert "Drift from the other build" in out
    assert page.read_text("utf-8").startswith("<!doctype html>")
    status, out, err = program("data", "audit", str(folder), "--no-noise", "--json")
    assert json.loads(out)["findings"]["categories_with_positives_of_one_source"] == {"hate": "a"}


def test_what_is_not_there_is_named(program, tmp_path):
    status, _, err = program("data", "audit", str(tmp_path / "none"))
    assert status == 2
    assert "no such file or folder" in err
