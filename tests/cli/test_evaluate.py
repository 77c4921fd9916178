"""The verb `eval`, end to end on a tiny dataset."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from gooseguard.cli.evaluate import read_cpu_name
from gooseguard.core.manifest import read_manifest
from gooseguard.core.taxonomy import load_taxonomy
from gooseguard.data.shards import read_dataset_manifest
from gooseguard.evaluation import cache

_path = Path(__file__).parents[1] / "contracts" / "tiny_dataset.py"
_spec = importlib.util.spec_from_file_location("tiny_dataset", _path)
tiny_dataset = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny_dataset)
OracleScorer = tiny_dataset.OracleScorer


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return tiny_dataset.write_dataset(tmp_path_factory.mktemp("made") / "set")


@pytest.fixture(scope="module")
def kept(dataset, tmp_path_factory):
    """A folder in which the baseline's scores are kept: it is fitted once."""
    from gooseguard.cli.main import create_app, run_app

    folder = tmp_path_factory.mktemp("kept")
    policy = folder / "policy.toml"
    policy.write_text(
        'id = "p"\nversion = "1"\n[thresholds]\ntoxicity = {review = 0.5, block = 0.9}', "utf-8"
    )
    app = create_app(load=load_of(OracleScorer()))
    assert run_app(app, ["eval", str(dataset), "--policy", str(policy), "--output", str(folder / "out")]) == 0
    return folder / "out"


@pytest.fixture
def output(kept, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    for path in kept.glob("baseline-*.npz"):
        shutil.copy(path, folder)
    return folder


def load_of(scorer):
    return lambda model, *, threads, spans: scorer


def test_a_real_model_against_the_baseline(program, policy, dataset, tiny_model, tmp_path):
    from gooseguard.engine.file import write_engine_file

    card = tiny_dataset.make_card(read_dataset_manifest(dataset).facts)
    path, output = tmp_path / "tiny.safetensors", tmp_path / "out"
    model = replace(tiny_model, card=card)
    name = write_engine_file(path, model, "bf16", model.digest()).name
    command = ["eval", str(dataset), "--policy", policy, "--model", str(path), "--output", str(output)]
    status, out, err = program(*command, "--card", str(tmp_path / "card.md"), "--gate")
    # A model that reads nothing is no better than anything.
    assert status == 1
    assert "gate: mean headline AUC minus the baseline's: " in err
    assert "fit the TF-IDF baseline on 240 rows" in err
    assert "distilled from logistic regressions of the TF-IDF baseline's kind" in err
    assert "trained on another build" not in err
    assert f"{name} against tfidf-logistic@" in " ".join(out.split())
    assert all(len(line) <= 80 for line in out.splitlines() if "/" not in line)
    manifest = read_manifest(output, "report", 1, verify=True)
    assert set(manifest.files) == {"report.json", "report.md", "precision-recall.png", "reliability.png"}
    report = json.loads((output / "report.json").read_text("utf-8"))
    assert [entry["category"] for entry in report["categories"]] == list(tiny_dataset.CATEGORIES)
    assert report["n_rows"] == 360
    assert report["categories"][0]["scorers"][0]["headline_auc"]["value"] == 0.5
    assert report["policy"] == "mine@1"
    # The model flags everything as toxicity, so that the baseline may, too.
    assert report["thresholds"][report["scorers"][1]["name"]]["toxicity"] == 0.0
    text = (tmp_path / "card.md").read_text("utf-8")
    for word in (*tiny_dataset.CATEGORIES, "hate", *tiny_dataset.SETS, "1,234,567", "MIT", "distilled"):
        assert word in text
    assert "private" not in text
    # Once more: nothing is scored or fitted again, and everything comes out as it was.
    written = {file.name: file.read_bytes() for file in output.iterdir()}
    again = program(*command, "--card", str(tmp_path / "card.md"))
    assert again[:2] == (0, out)
    assert "fit the TF-IDF" not in again[2]
    assert {file.name: file.read_bytes() for file in output.iterdir()} == written


def test_a_model_that_knows_passes_the_gate(program, policy, dataset, output):
    oracle = OracleScorer()
    command = ["eval", str(dataset), "--policy", policy, "--output", str(output), "--gate", "--json"]
    status, out, err = program(*command, load=load_of(oracle))
    assert status == 0, err
    document = json.loads(out)
    assert document["gate"] == []
    assert document["categories"][0]["scorers"][0]["headline_auc"]["value"] == 1.0
    assert document["mean_difference"]["low"] > 0
    assert Path(document["files"]["report.md"]).is_file()
    assert "warning: The model's card does not say what it was trained on" in err
    assert oracle.n_scored == 360 + 210
    # The scores of another run are enough.
    program(*command, load=load_of(oracle))
    assert oracle.n_scored == 360 + 210


def test_a_model_that_is_wrong_fails_the_gate(program, policy, dataset, output):
    load = load_of(OracleScorer(is_inverted=True))
    status, out, err = program(
        "eval", str(dataset), "--policy", policy, "--output", str(output), "--gate", load=load
    )
    assert status == 1
    assert "gate: toxicity: headline AUC minus the baseline's is " in err
    assert "toxicity" in out


def test_goes_on_where_it_was_stopped(program, policy, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "N_CONTENTS", 50)
    output = tmp_path / "out"
    command = ["eval", str(dataset), "--policy", policy, "--no-baseline", "--output", str(output)]
    assert program(*command, load=load_of(OracleScorer(breaks_after=100)))[0] == 130
    assert not (output / "report.json").exists()
    oracle = OracleScorer()
    status, _, err = program(*command, load=load_of(oracle))
    assert (status, oracle.n_scored) == (0, 260), err
    assert read_manifest(output, "report", 1).facts["warnings"]


def test_a_quick_look(program, policy, dataset, tmp_path):
    oracle = OracleScorer()
    command = ["eval", str(dataset), "--policy", policy, "--no-baseline", "--output", str(tmp_path / "out")]
    status, out, err = program(*command, "--split", "val", "--limit", "70", "--json", load=load_of(oracle))
    assert (status, oracle.n_scored) == (0, 70)
    document = json.loads(out)
    assert (document["n_rows"], document["split"], document["gate"]) == (70, "val", None)
    assert "warning: Only 70 of 210 rows were drawn" in err
    assert "warning: Calibration and thresholds are chosen on validation rows" in err
    assert "baseline" not in err


def test_wrong_input_is_one_line_and_nothing_is_written(program, policy, dataset, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("{}\n")
    (tmp_path / "empty").mkdir()
    altered = tmp_path / "altered"
    shutil.copytree(dataset, altered)
    with (altered / "test-00000.parquet").open("ab") as stream:
        stream.write(b"x")
    unscored = tmp_path / "unscored.toml"
    unscored.write_text('id = "u"\nversion = "1"\n[thresholds]\nspam = {review = 0.5, block = 0.9}', "utf-8")
    output = tmp_path / "out"
    fine = ["--policy", policy, "--output", str(output), "--no-baseline"]
    for arguments, message in [
        ([str(file), *fine], "rows.jsonl: is a file; expected a folder"),
        ([str(tmp_path / "none"), *fine], "none: there is no such folder"),
        ([str(tmp_path / "empty"), *fine], "empty: no manifest.json; expected a finished dataset"),
        ([str(altered), *fine], "test-00000.parquet was altered"),
        ([str(dataset), *fine, "--policy", str(unscored)], "does not score spam"),
        ([str(dataset), *fine, "--policy", "none"], "no such file or packaged policy"),
        ([str(dataset), *fine, "--gate"], "--gate compares with the baseline"),
        ([str(dataset), *fine, "--card", str(tmp_path / "no" / "card.md")], "expected a file name"),
        ([str(dataset), *fine, "--output", str(altered)], "holds a dataset"),
        ([str(dataset), *fine, "--output", str(file)], "no folder can be made there"),
        ([str(dataset), *fine, "--split", "train"], "invalid value for '--split'"),
        ([str(dataset), *fine, "--limit", "0"], "invalid value for '--limit'"),
    ]:
        status, out, err = program("eval", *arguments, load=load_of(OracleScorer()))
        *_, last = err.splitlines()
        assert (status, out) == (2, ""), arguments
        assert last.startswith("error: ")
        assert message in last
        assert "Traceback" not in err
    assert not (output / "report.json").exists()
    assert read_dataset_manifest(altered).kind == "dataset"


def test_damaged_scores_are_an_error(program, policy, dataset, tmp_path):
    output = tmp_path / "out"
    command = ["eval", str(dataset), "--policy", policy, "--no-baseline", "--output", str(output)]
    assert program(*command, load=load_of(OracleScorer()))[0] == 0
    (path,) = output.glob("scores-*.npz")
    path.write_bytes(path.read_bytes()[:100])
    before = (output / "report.json").read_bytes()
    status, _, err = program(*command, load=load_of(OracleScorer()))
    assert status == 2
    assert "remove it to score again" in err
    assert (output / "report.json").read_bytes() == before


def test_cpu_name(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("processor : 0\nmodel name\t: Some CPU: fast\nmodel name : other\n")
    assert read_cpu_name(path) == "Some CPU: fast"
    path.write_text("processor : 0\n")
    assert read_cpu_name(path) == "an unnamed processor"
    assert read_cpu_name(tmp_path / "none") == "an unnamed processor"


def test_every_category_has_a_definition():
    assert set(tiny_dataset.CATEGORIES) <= set(load_taxonomy())
