"""Sets as published -> `gooseguard train` -> engine file -> scores -> verdicts."""

import gzip
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("tokenizers")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")

from gooseguard import Content, decide, load, load_policy
from gooseguard.cli.main import create_app, run_app
from gooseguard.core.verdict import Action
from gooseguard.data.mapping import read_mapping
from gooseguard.data.shards import read_columns, read_dataset_manifest
from gooseguard.metrics.ranking import roc_auc
from gooseguard.models.checkpoint import read_checkpoint

_path = Path(__file__).parents[1] / "contracts" / "easy_texts.py"
_spec = importlib.util.spec_from_file_location("easy_texts", _path)
easy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(easy)

RECIPE = """
name = "tiny"
version = "2026.1"
least_positives = 10
rare_rows = 20
teacher_weight = 0.5
[data]
groups = ["open"]
val_fraction = 0.25
test_fraction = 0.25
[ngrams]
pairs = 500
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
epochs = 10
learning_rate = 2e-2
batch_tokens = 512
is_shallow = true
[[loop.phases]]
epochs = 1
learning_rate = 2e-3
batch_tokens = 512
"""


def write_root(root):
    """Write every set of the packaged mapping in the published layout; two of them hold most rows."""
    rng = np.random.default_rng(0)
    mapping = read_mapping()
    native = {category: label for label, category in mapping.labels.items()}
    labelled = next(source.name for source in mapping.sets if source.group == "open")
    for source in mapping.sets:
        if source.name == labelled:
            rows = easy.make_labelled(rng, 500)
        elif source.name == "benign_goemotions_unlabelled":
            rows = [(easy.make_text(rng), {}) for _ in range(120)]
        else:
            rows = [(easy.make_text(rng), {})]
        path = root / source.path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps(
                {
                    "text": text,
                    "split": "all",
                    "lang": "en",
                    "native": {},
                    "y": {native[category]: value for category, value in labels.items()},
                }
            )
            for text, labels in rows
        ]
        path.write_bytes(gzip.compress("\n".join(lines).encode()))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The run's folder, and the command line that made it."""
    folder = tmp_path_factory.mktemp("pipeline")
    write_root(folder / "sets")
    (folder / "tiny.toml").write_text(RECIPE, "utf-8")
    arguments = [
        *("train", str(folder / "tiny.toml"), "--set", f"data.root={folder / 'sets'}"),
        *("--output", str(folder / "run"), "--json"),
    ]
    assert run_app(create_app(), arguments) == 0
    return folder / "run", arguments


def test_the_run_holds_everything_and_json_says_where(made, capfd):
    folder, arguments = made
    before = read_checkpoint(folder / "checkpoint").content.digest()
    # The same command again: nothing is built or fitted twice, and the model is the same.
    assert run_app(create_app(), arguments) == 0
    out, err = capfd.readouterr()
    assert json.loads(out) == {
        "dataset": str(folder / "dataset"),
        "checkpoint": str(folder / "checkpoint"),
        "policies": str(folder / "policies"),
        "engine file": str(folder / "tiny.safetensors"),
    }
    assert all(Path(path).exists() for path in json.loads(out).values())
    assert read_checkpoint(folder / "checkpoint", verify=True).content.digest() == before
    assert "read dataset" in err
    assert "ask the teacher" not in err
    assert "fit the n-gram head: " not in err
    facts = read_dataset_manifest(folder / "dataset").facts
    assert facts["rows_read"] == 500 + 120 + 45


def test_held_out_texts_are_ranked_and_judged(made):
    folder, _ = made
    scorer = load(folder / "tiny.safetensors", threads=1)
    assert scorer.categories == {"toxicity", "insult"}
    test = read_columns(folder / "dataset", "test", easy.CATEGORIES)
    results = scorer.score([Content.from_text(text, "en") for text in test.texts])
    scores = np.array([[result.values[category] for category in easy.CATEGORIES] for result in results])
    for k in range(2):
        known = ~np.isnan(test.labels[:, k])
        assert known.sum() > 60
        assert roc_auc(test.labels[known, k], scores[known, k]) > 0.9
    policy = load_policy(str(folder / "policies" / "default.toml"))
    policy.check(scorer.categories, scorer.name)
    verdicts = [decide(result, policy) for result in results]
    # A row with a sign of harm carries a label 1; an ordinary one none at all.
    harmful = (test.labels == 1).any(1)
    ordinary = np.array(test.sources) == "benign_goemotions_unlabelled"
    acted = np.array([verdict.action is not Action.ALLOW for verdict in verdicts])
    assert acted[harmful].mean() > 0.7
    assert acted[ordinary].mean() < 0.25
    assert all(verdict.policy == "default@2026.1" for verdict in verdicts)


def test_the_scores_are_those_of_the_torch_model(made):
    import torch

    folder, _ = made
    checkpoint = read_checkpoint(folder / "checkpoint")
    content, model = checkpoint.content, checkpoint.load()
    scorer = load(folder / "tiny.safetensors", threads=1)
    texts = read_columns(folder / "dataset", "test", easy.CATEGORIES).texts[:20]
    found = [list(result.values.values()) for result in scorer.score([Content.from_text(t) for t in texts])]
    for text, scores in zip(texts, found, strict=True):
        ids = torch.tensor([content.tokenizer.encode(text)])
        with torch.inference_mode():
            logits = model(ids, torch.tensor([ids.shape[1]]))[0].double().numpy()
        expected = 1 / (1 + np.exp(-(logits * content.calibration.scale + content.calibration.bias)))
        # The engine file holds its weights as bfloat16.
        np.testing.assert_allclose(scores, expected, rtol=0, atol=3e-2)
