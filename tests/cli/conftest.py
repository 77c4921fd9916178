"""What the tests of the command line run: the program in this process, a policy, and a tiny real model."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from gooseguard.cli.main import create_app, run_app
from gooseguard.codec.layout import RwkvConfig
from gooseguard.codec.scores import Calibration
from gooseguard.codec.text_model import HEAD_WEIGHT, TextModel, TextModelConfig, vocabulary_digest
from gooseguard.codec.tokenizer import Tokenizer

# Tests are no package: the module that is also a program is made importable under its name.
_spec = importlib.util.spec_from_file_location("fake_scorer", Path(__file__).with_name("fake_scorer.py"))
sys.modules["fake_scorer"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sys.modules["fake_scorer"])

POLICY = """
id = "mine"
version = "1"
[thresholds]
toxicity = {review = 0.5, block = 0.9}
insult = {review = 0.5, block = 0.9}
"""


@pytest.fixture(autouse=True)
def _same_csv_limit():
    limit = csv.field_size_limit()
    yield
    csv.field_size_limit(limit)


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(POLICY, "utf-8")
    return str(path)


@pytest.fixture
def program(capsys, monkeypatch):
    """Run a command line, with what `create_app` takes; gives exit status, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments, **made_with):
        status = run_app(create_app(**made_with), list(arguments))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def tiny_model():
    """A model whose heads read nothing: logit 2 for toxicity and -2 for insult, whatever the text."""
    backbone = RwkvConfig(
        n_layer=1, n_embd=8, vocab_size=257, head_size=4, n_ffn=8, rank_w=2, rank_a=2, rank_v=2, rank_g=2
    )
    tokenizer = Tokenizer([])
    categories = ("toxicity", "insult")
    config = TextModelConfig("tiny", backbone, categories, ("en",), vocabulary_digest(tokenizer.to_json()))
    rng = np.random.default_rng(7)
    tensors = {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in config.shapes().items()}
    tensors[HEAD_WEIGHT] = np.zeros_like(tensors[HEAD_WEIGHT])
    tensors["categories.bias"] = np.array([2.0, -2.0], np.float32)
    calibration = Calibration(categories, np.ones(2), np.zeros(2))
    return TextModel(config, tensors, calibration, tokenizer, {"languages": ["en"], "parameters": 3})
