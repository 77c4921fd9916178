"""The verb `info`, and reading CPU features."""

from __future__ import annotations

import json
import platform
from importlib import metadata

import pytest
from fake_scorer import load

from gooseguard.cli.info import card_lines, parse_cpu_features, read_cpu_features
from gooseguard.codec import extension
from gooseguard.core.errors import ArtefactError


def missing(model, *, threads, spans):
    raise ArtefactError("no packaged model")


def test_facts_as_json(program):
    status, out, err = program("info", "--json", "--threads", "3", load=load)
    facts = json.loads(out)
    assert (status, err) == (0, "")
    assert facts["versions"]["python"] == platform.python_version()
    assert facts["versions"]["numpy"] == metadata.version("numpy")
    assert facts["machine"]["cores"] >= 1
    assert facts["machine"]["native_extension"] == extension.describe()
    assert facts["model"] == {
        "name": "fake@0123456789ab",
        "backend": "fake_scorer.FakeScorer",
        "instruction_set": None,
        "threads": 3,
        "categories": ["hate", "insult", "toxicity"],
        "languages": ["en"],
        "modalities": ["text"],
        "card": {"parameters": 3},
    }
    assert isinstance(facts["policies"], list)


def test_facts_for_people(program):
    status, out, _ = program("info", load=load)
    assert status == 0
    for word in ("versions", "CPU features", "fake@0123456789ab", "hate, insult, toxicity", "model card"):
        assert word in out
    assert all(len(line) <= 80 for line in out.splitlines())


def test_the_rest_is_told_without_a_starter_model(program):
    status, out, _ = program("info", load=missing)
    assert status == 0
    assert "not available: no packaged model" in out
    facts = json.loads(program("info", "--json", load=missing)[1])
    assert (facts["model"], facts["model_error"]) == (None, "no packaged model")


def test_a_model_that_was_asked_for_must_load(program):
    assert program("info", "--model", "x", load=missing) == (2, "", "error: no packaged model\n")


def test_a_real_model_and_its_card(program, tiny_model, tmp_path):
    from gooseguard.engine.file import write_engine_file

    path = tmp_path / "tiny.safetensors"
    write_engine_file(path, tiny_model, "bf16", tiny_model.digest())
    status, out, _ = program("info", "--json", "--model", str(path))
    assert status == 0
    model = json.loads(out)["model"]
    assert model["name"].startswith("tiny@")
    assert model["categories"] == ["insult", "toxicity"]
    assert model["card"] == {"languages": ["en"], "parameters": 3}


@pytest.mark.parametrize(
    ("line", "present"),
    [
        ("flags\t\t: fpu sse avx2 avx512f avx512_vnni avx512_bf16", {"avx2", "avx512f", "vnni", "bf16"}),
        ("flags : fpu avx2 avx_vnni", {"avx2", "vnni"}),
        ("flags : fpu avx2x", set()),
        ("Features\t: fp asimd bf16", {"neon", "bf16"}),
        ("Features : half neon vfpv4", {"neon"}),
    ],
)
def test_cpu_features(line, present):
    features = parse_cpu_features(f"processor : 0\n{line}\nprocessor : 1\nflags : avx2 avx512f\n")
    assert {name for name, has in features.items() if has} == present
    assert set(features) == {"avx2", "avx512f", "vnni", "bf16", "neon"}


def test_cpu_features_of_a_system_that_does_not_say(tmp_path):
    assert parse_cpu_features("processor : 0\n") is None
    if platform.machine() != "arm64":
        assert read_cpu_features(tmp_path / "none") is None


def test_card_lines_are_short_and_name_what_json_has_in_full():
    card = {"parameters": 7495945, "data": {"sets": {"a": {}, "b": {}}, "dataset": "0" * 8}, "note": "weak"}
    assert card_lines(card) == {"parameters": "7,495,945", "data": "2 sets, dataset 00000000", "note": "weak"}
