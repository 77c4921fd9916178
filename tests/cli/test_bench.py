import importlib.util
import json
import sys
from pathlib import Path

import pytest

from gooseguard.core.scorer import Scores
from gooseguard.engine.file import write_engine_file

WORDS = ("--lengths", "4,12", "--batches", "1,3", "--repeats", "2", "--seconds", "5")


@pytest.fixture
def engine_file(tiny_model, tmp_path):
    path = tmp_path / "tiny.safetensors"
    write_engine_file(path, tiny_model, "f32", tiny_model.digest())
    return str(path)


def test_an_engine_file(program, engine_file):
    status, out, err = program(
        "bench", engine_file, *WORDS, "--price-per-hour", "3.6", "--json", "--threads", "1"
    )
    assert status == 0, err
    facts = json.loads(out)
    assert facts["model"].startswith("tiny@")
    assert facts["threads"] == 1
    assert facts["interrupted"] is False
    assert [(cell["batch"], cell["n_call"]) for cell in facts["cells"]] == [(1, 2), (3, 2)] * 2
    for cell in facts["cells"]:
        assert 0 < cell["p50_s"] <= cell["p95_s"] <= cell["p99_s"]
        assert cell["cost_per_million"] == pytest.approx(1000 / cell["texts_per_s"])
    # Every byte is a token of this model, so that a word is several: lengths are met within one word.
    assert [round(cell["n_token"]) <= 20 for cell in facts["cells"]] == [True] * 4
    assert [line.split(":")[0] for line in err.splitlines()] == [f"measuring {i}/4" for i in range(1, 5)]


def test_a_table_and_a_figure(program, engine_file, tmp_path):
    pytest.importorskip("matplotlib")
    figure = tmp_path / "cost.svg"
    status, out, err = program("bench", engine_file, *WORDS, "--figure", str(figure), "--threads", "1")
    assert status == 0, err
    assert "texts/s" in out
    assert "a million" not in out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert figure.read_text("utf-8").startswith("<?xml")


class Interrupted:
    """Scores four times, then meets Ctrl-C."""

    name = "interrupted@0"
    categories = modalities = languages = frozenset()

    def __init__(self):
        self.n = 0

    def count_tokens(self, text):
        return len(text.split())

    def score(self, contents):
        self.n += 1
        if self.n > 5:
            raise KeyboardInterrupt
        return [Scores({}, self.name) for _ in contents]


def test_ctrl_c_keeps_what_was_measured(program):
    status, out, err = program("bench", *WORDS, "--json", load=lambda *_, **__: Interrupted())
    facts = json.loads(out)
    assert status == 130
    assert facts["interrupted"] is True
    assert len(facts["cells"]) == 2
    assert "interrupted: what follows was measured before" in err


def test_random_weights(program, monkeypatch):
    pytest.importorskip("torch")
    from gooseguard.experiment import work

    monkeypatch.setitem(work.SHAPES, "0.4B", (2, 128))
    monkeypatch.setattr(work, "WORLD_ROWS", 512)
    for more, name in (
        ((), "random-x070-0.4B-bf16-heads@seed0"),
        (
            ("--answer-tokens", "2", "--version", "x052", "--dtype", "f32"),
            "random-x052-0.4B-f32-answer2@seed0",
        ),
    ):
        status, out, err = program("bench", "--random", "0.4B", *WORDS, *more, "--json", "--threads", "1")
        assert status == 0, err
        facts = json.loads(out)
        assert facts["model"] == name
        assert len(facts["cells"]) == 4


def test_an_official_checkpoint(program, tmp_path):
    pytest.importorskip("torch")
    place = Path(__file__).parents[1] / "contracts" / "official_files.py"
    spec = importlib.util.spec_from_file_location("official_files", place)
    official = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(official)
    path = str(official.write_pth(tmp_path / "any.pth", "x070"))
    words = ("--lengths", "8", "--batches", "1", "--repeats", "1", "--threads", "1", "--json")
    status, out, err = program("bench", path, *words)
    assert status == 0, err
    assert json.loads(out)["model"].startswith("rwkv-x070-uncalibrated@")
    status, out, err = program("bench", path, *words, "--answer-tokens", "2")
    assert status == 0, err
    assert "answers" in json.loads(out)["model"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("x.safetensors", "--random", "0.1B"), "got both MODEL and --random"),
        (("--figure", "cost.pdf"), "ends in .png or .svg"),
        (("--lengths", "1,x"), "--lengths '1,x': expected whole numbers"),
        (("--batches", "0"), "batches is (0,)"),
        (("--answer-tokens", "3"), "the starter has no language head"),
        (("--random", "3B"), "3B"),
        (("absent.safetensors",), "there is no such file"),
    ],
)
def test_wrong_use(program, words, message):
    status, out, err = program("bench", *words)
    assert (status, out) == (2, "")
    assert message in err


def test_random_needs_torch(program, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    status, _, err = program("bench", "--random", "0.1B")
    assert status == 2
    assert "pip install 'gooseguard[train]'" in err
