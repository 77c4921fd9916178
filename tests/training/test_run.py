"""From a dataset to verdicts: train, export, score, decide, on rows whose label is one word."""

from dataclasses import replace

import numpy as np
import pytest

from gooseguard.backends import load
from gooseguard.core.content import Content
from gooseguard.core.errors import DataError
from gooseguard.core.example import Example
from gooseguard.core.policy import load_policy
from gooseguard.core.verdict import decide
from gooseguard.engine.export import export
from gooseguard.metrics.ranking import roc_auc

pytest.importorskip("torch")

from gooseguard.data.build import BuildConfig, count_rows
from gooseguard.data.shards import DatasetRow, read_columns, write_shards
from gooseguard.training.loop import LoopConfig, Phase
from gooseguard.training.run import ModelSize, TrainConfig, train

WORDS = ("river", "stone", "cloud", "table", "green", "walks", "seven", "paper", "quiet", "lamps")
SIGNAL = {"toxicity": "moron", "insult": "dunce"}
SETS = {"a": {"licence": "MIT", "citation": "one/a@1", "language": "en", "weak": False}}


def make_row(split, number, rng):
    words, labels = list(rng.choice(WORDS, 5)), {}
    for category, word in SIGNAL.items():
        labels[category] = float(rng.random() < 0.5)
        if labels[category]:
            words[int(rng.integers(len(words)))] = word
    # What was overwritten by the second word is no longer there.
    labels["toxicity"] = float(SIGNAL["toxicity"] in words)
    if number % 4 == 0:
        del labels["insult"]
    return DatasetRow(
        Example(f"{split}/{number}", Content.from_text(" ".join(words), "en"), labels, (), "a"), split
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    rng = np.random.default_rng(0)
    rows = {
        split: [make_row(split, number, rng) for number in range(n)]
        for split, n in (("train", 500), ("val", 250), ("test", 100))
    }
    folder = tmp_path_factory.mktemp("data") / "dataset"
    return write_shards(folder, rows, {}, {}, {"counts": count_rows(rows), "sets": SETS}) or folder


CONFIG = TrainConfig(
    "tiny",
    "1",
    BuildConfig(root="elsewhere"),
    ModelSize(1, 64, vocab_size=320, rank_g=8),
    LoopConfig(
        phases=(Phase(4, 1e-2, 1024, is_shallow=True), Phase(1, 1e-3, 1024)),
        warmup=5,
        validate_steps=20,
        validate_rows=50,
    ),
)


def run(config, dataset, folder, teacher=None):
    said = []
    return train(config, dataset, folder, lambda standing: None, said.append, teacher), said


def test_an_easy_signal_is_learnt_and_reaches_the_verdict(dataset, tmp_path):
    checkpoint, said = run(CONFIG, dataset, tmp_path)
    assert said == ["read dataset", "train vocabulary", "tokenise", "fit", "calibrate", "choose thresholds"]
    export(checkpoint, tmp_path / "tiny.safetensors", "f32")
    scorer = load(tmp_path / "tiny.safetensors", threads=1)
    assert scorer.categories == {"toxicity", "insult"}
    test = read_columns(dataset, "test", ["toxicity"])
    scores = scorer.score([Content.from_text(text) for text in test.texts])
    values = np.array([row.values["toxicity"] for row in scores])
    assert roc_auc(test.labels[:, 0], values) > 0.98
    # Calibrated: it means what it says, on average.
    assert abs(values.mean() - test.labels.mean()) < 0.1
    for name in ("default", "strict", "lenient"):
        policy = load_policy(str(tmp_path / "policies" / f"{name}.toml"))
        policy.check(scorer.categories, scorer.name)
    [rude, kind] = scorer.score([Content.from_text("green moron walks"), Content.from_text("green paper")])
    assert decide(rude, policy).flagged["toxicity"]
    assert not decide(kind, policy).flagged["toxicity"]
    assert "elsewhere" not in str(scorer.card)


def test_a_teacher_is_asked_once_and_its_scores_are_kept(dataset, tmp_path):
    asked = []

    def teacher(training, val, categories):
        asked.append((len(training.texts), len(val.texts), list(categories)))
        return np.full((len(training.texts), len(categories)), 0.5, np.float32)

    config = replace(CONFIG, teacher_weight=0.5, loop=replace(CONFIG.loop, phases=(Phase(0.2, 1e-3, 1024),)))
    for _ in range(2):
        run(config, dataset, tmp_path, teacher)
    assert asked == [(500, 250, ["toxicity", "insult"])]


def test_a_category_with_too_few_positives_is_not_scored(dataset, tmp_path):
    with pytest.raises(DataError, match="no category has 5000 positive validation rows"):
        run(replace(CONFIG, least_positives=5000), dataset, tmp_path)
