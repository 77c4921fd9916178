"""`data build`, then `train` on each plan of what it made: original or balanced is one flag."""

import gzip
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("tokenizers")
pytest.importorskip("pyarrow")

from gooseguard import Content, load
from gooseguard.cli.main import create_app, run_app
from gooseguard.data.shards import read_columns, read_dataset_manifest
from gooseguard.metrics.ranking import roc_auc
from gooseguard.models.checkpoint import read_checkpoint

pytestmark = pytest.mark.slow

_path = Path(__file__).parents[1] / "contracts" / "easy_texts.py"
_spec = importlib.util.spec_from_file_location("easy_texts", _path)
easy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(easy)

MAPPING = """
name = "{name}"
title = "Made up"
licence = "CC0-1.0"
citation = "nobody/made-up@0"
meaning = "1: a sign of it"
language = "en"
[[labels]]
field = "toxicity"
category = "toxicity"
values = {{ 1 = 1, 0 = 0 }}
[[labels]]
field = "insult"
category = "insult"
values = {{ 1 = 1, 0 = 0 }}
"""
BUILD = """
name = "forums"
[split]
val_fraction = 0.25
test_fraction = 0.25
[[sources]]
name = "json_lines"
path = "large.jsonl.gz"
mapping = "large.toml"
[[sources]]
name = "json_lines"
path = "benign_goemotions_unlabelled.jsonl.gz"
mapping = "benign_goemotions_unlabelled.toml"
[[plans]]
name = "balanced"
cap = 200
negatives = 1.0
floors = { insult = 60 }
"""
TRAIN = """
name = "tiny"
version = "1"
least_positives = 10
rare_rows = 20
[data]
groups = ["open"]
[ngrams]
pairs = 300
[model]
n_layer = 1
n_embd = 64
vocab_size = 400
rank_g = 8
[loop]
warmup = 3
head_rate = 1.0
token_dropout = 0.0
[[loop.phases]]
epochs = 8
learning_rate = 2e-2
batch_tokens = 512
is_shallow = true
"""


def write_source(folder, name, rows):
    (folder / f"{name}.toml").write_text(MAPPING.format(name=name), "utf-8")
    lines = [json.dumps({"text": text, **labels}) for text, labels in rows]
    (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plans")
    rng = np.random.default_rng(3)
    write_source(folder, "large", easy.make_labelled(rng, 600))
    # On ordinary text thresholds are bounded; the recipe of training knows it by this name.
    write_source(folder, "benign_goemotions_unlabelled", [(easy.make_text(rng), {}) for _ in range(200)])
    (folder / "build.toml").write_text(BUILD, "utf-8")
    arguments = [
        "data",
        "build",
        str(folder / "build.toml"),
        "--output",
        str(folder / "set"),
        "--workers",
        "1",
    ]
    assert run_app(create_app(), arguments) == 0
    return folder / "set"


def test_a_model_of_each_plan_is_one_flag_away(dataset, tmp_path, capfd):
    (tmp_path / "tiny.toml").write_text(TRAIN, "utf-8")
    plans = read_dataset_manifest(dataset).facts["plans"]
    assert plans["original"]["rows"] > plans["balanced"]["rows"] > 100
    digests = set()
    for plan in ("original", "balanced"):
        folder = tmp_path / plan
        arguments = [
            *("train", str(tmp_path / "tiny.toml"), "--dataset", str(dataset), "--plan", plan),
            *("--output", str(folder), "--json"),
        ]  # fmt: skip
        assert run_app(create_app(), arguments) == 0, capfd.readouterr().err
        made = json.loads(capfd.readouterr().out)
        # Nothing was built again: the dataset is the one that was named.
        assert made["dataset"] == str(dataset)
        assert not (folder / "dataset").exists()
        checkpoint = read_checkpoint(folder / "checkpoint")
        assert checkpoint.manifest.config["plan"] == plan
        digests.add(checkpoint.content.digest())
        scorer = load(made["engine file"], threads=1)
        test = read_columns(dataset, "test", easy.CATEGORIES)
        results = scorer.score([Content.from_text(text, "en") for text in test.texts])
        for k, category in enumerate(easy.CATEGORIES):
            known = ~np.isnan(test.labels[:, k])
            assert known.sum() > 60
            scores = np.array([result.values[category] for result in results])
            assert roc_auc(test.labels[known, k], scores[known]) > 0.75, (plan, category)
    assert len(digests) == 2


def test_a_plan_that_is_not_there_is_named_with_those_that_are(dataset, tmp_path, capfd):
    (tmp_path / "tiny.toml").write_text(TRAIN, "utf-8")
    arguments = ["train", str(tmp_path / "tiny.toml"), "--dataset", str(dataset), "--plan", "balancd"]
    assert run_app(create_app(), [*arguments, "--output", str(tmp_path / "run")]) == 2
    assert "has no plan 'balancd'; expected one of original, balanced" in capfd.readouterr().err
