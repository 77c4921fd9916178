"""The verb `data audit`: a dataset or a recipe in, table, JSON and page out."""

import gzip
import importlib.util
import json
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from gooseguard.data.mapping import read_mapping


def _load(name):
    path = Path(__file__).parents[1] / "data" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{name}_parts", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


parts, pipeline = _load("test_audit"), _load("test_pipeline")


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


def test_a_page_that_could_not_be_written_is_told_before_anything_is_built(program, tmp_path):
    page = tmp_path / "a" / "b.html"
    status, _, err = program("data", "audit", str(tmp_path / "no.toml"), "--html", str(page))
    assert status == 2
    assert err == f"error: --html {page}: {page.parent} is no folder; make it first\n"


def test_what_is_not_there_is_named(program, tmp_path):
    status, _, err = program("data", "audit", str(tmp_path / "none"))
    assert status == 2
    assert "no such file or folder" in err


def test_a_folder_of_sets_is_audited_whole_with_the_sets_that_nobody_may_train_on(program, tmp_path):
    """No duplicate is missed: none is left out for its quality, or because it stands between two splits."""
    texts = pipeline.make_texts(60)
    sets = {source.name: source for source in read_mapping().sets}
    rows = {
        "paradetox": [*texts[:40], "!!!"],
        "sms_spam": [*(text.upper() for text in texts[:12]), "!!!"],
        "olid": [text + " x" for text in texts[12:30]],
    }
    assert [sets[name].group for name in rows] == ["open", "open", "research"]
    for name, found in rows.items():
        path = tmp_path / "sets" / sets[name].path
        path.parent.mkdir(parents=True, exist_ok=True)
        label = {"paradetox": "toxicity", "sms_spam": "spam", "olid": "toxicity"}[name]
        lines = [
            json.dumps(
                {"text": text, "split": "all", "lang": "en", "native": {}, "y": {label: int(name == "olid")}}
            )
            for text in found
        ]
        path.write_bytes(gzip.compress("\n".join(lines).encode()))
    status, out, err = program("data", "audit", str(tmp_path / "sets"), "--no-noise", "--json")
    assert status == 0, err
    report = json.loads(out)
    assert report["rows"]["source"] == {"paradetox": 41, "olid": 18}
    expected = {(f"paradetox/{number}", f"sms_spam/{number}") for number in range(1, 13)}
    expected.add(("paradetox/41", "sms_spam/13"))
    assert set(map(tuple, report["duplicates"]["exact_across_sources"])) == expected
    assert set(map(tuple, report["duplicates"]["near_across_sources"])) == {
        (f"paradetox/{number}", f"olid/{number - 12}") for number in range(13, 31)
    }
    assert report["findings"]["sources_all_positive"] == {"olid": ["toxicity"]}
    assert report["findings"]["categories_with_positives_of_one_source"] == {"toxicity": "olid"}
    status, _, err = program("data", "audit", str(tmp_path), "--no-noise")
    assert (status, err.splitlines()[-1].partition(";")[0]) == (
        2, f"error: {tmp_path}: holds none of the labelled text sets",
    )  # fmt: skip
