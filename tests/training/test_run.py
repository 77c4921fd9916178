"""The stage: a dataset folder to a checkpoint and policies, with and without an n-gram head."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("tokenizers")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")

from gooseguard.codec.ngram_head import NgramHead
from gooseguard.codec.stored_tensor import StoredTensor
from gooseguard.core.errors import ArtefactError, DataError
from gooseguard.core.manifest import digest_file
from gooseguard.core.policy import load_policy
from gooseguard.data.build import BuildConfig
from gooseguard.data.shards import DatasetColumns, read_columns
from gooseguard.metrics.ranking import roc_auc
from gooseguard.models.checkpoint import read_checkpoint
from gooseguard.training import run as stage
from gooseguard.training.batches import pack
from gooseguard.training.loop import LoopConfig, Phase, predict
from gooseguard.training.ngrams import NgramConfig
from gooseguard.training.run import ModelSize, TrainConfig, train

_path = Path(__file__).parents[1] / "contracts" / "easy_texts.py"
_spec = importlib.util.spec_from_file_location("easy_texts", _path)
easy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(easy)

CONFIG = TrainConfig(
    name="tiny",
    version="1",
    data=BuildConfig("nowhere"),
    model=ModelSize(n_layer=1, n_embd=64, vocab_size=400, rank_g=8),
    loop=LoopConfig(
        phases=(Phase(10, 2e-2, 512, is_shallow=True), Phase(1, 2e-3, 512)),
        warmup=3,
        head_rate=1.0,
        token_dropout=0.0,
        bfloat16=False,
    ),
    least_positives=10,
    rare_rows=20,
)


class KilledError(Exception):
    """Stands for the signal that ends a run."""


def ignore(_):
    pass


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    # The last training text shows nothing: it has no tokens.
    return easy.write_dataset(tmp_path_factory.mktemp("data") / "dataset", extra=["\u200b"])


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """The folder of a run without a teacher, and what it said."""
    folder, said = tmp_path_factory.mktemp("run"), []
    train(CONFIG, dataset, folder, ignore, said.append)
    return folder, said


def validation_auc(folder, dataset):
    checkpoint = read_checkpoint(folder / "checkpoint", verify=True)
    val = read_columns(dataset, "val", checkpoint.content.config.categories)
    ids = [checkpoint.content.tokenizer.encode(text) for text in val.texts]
    logits = predict(checkpoint.load(), pack(ids, val.labels))
    known = ~np.isnan(val.labels)
    return [roc_auc(val.labels[known[:, k], k], logits[known[:, k], k]) for k in range(val.labels.shape[1])]


def test_a_dataset_becomes_a_checkpoint_that_ranks(trained, dataset):
    folder, said = trained
    assert min(validation_auc(folder, dataset)) > 0.9
    content = read_checkpoint(folder / "checkpoint").content
    assert content.config.name == "tiny"
    assert content.config.languages == ("en",)
    # In the taxonomy's order; of the others the dataset says nothing.
    assert content.config.categories == ("toxicity", "insult")
    assert (content.calibration.scale > 0).all()
    assert said == [
        "read dataset",
        "train vocabulary",
        "tokenise",
        "fit",
        "calibrate",
        "choose thresholds",
    ]
    assert {entry.name for entry in folder.iterdir()} == {"checkpoint", "policies", "work"}


def test_card_and_manifest_say_how_it_was_made(trained, dataset):
    checkpoint = read_checkpoint(trained[0] / "checkpoint")
    card = checkpoint.content.card
    n_parameters = sum(tensor.size for tensor in checkpoint.content.tensors.values())
    assert card["parameters"] == n_parameters
    assert card["training"]["resumed_at"] == 0
    assert card["training"]["validation_loss"] < 0.6
    assert card["data"]["sets"]["forum"]["rows"] == 261
    assert card["data"]["sets"]["forum"]["licence"] == "CC0-1.0"
    assert card["data"]["categories"]["toxicity"]["val"]["annotated"] > 80
    assert card["data"]["not_scored"]["hate"] == {"train": None, "val": None, "test": None}
    assert card["recipe"]["model"]["n_embd"] == 64
    assert checkpoint.manifest.inputs == {"dataset": digest_file(dataset / "manifest.json")}
    config = checkpoint.manifest.config
    # Where files lay on this machine is no fact about the model.
    assert card["recipe"] == {**config, "data": {**config["data"], "root": "", "held_out": ""}}


def test_policies_keep_their_bounds_on_the_validation_rows(trained, dataset):
    folder = trained[0] / "policies"
    assert {path.name for path in folder.iterdir()} == {"default.toml", "strict.toml", "lenient.toml"}
    content = read_checkpoint(trained[0] / "checkpoint").content
    val = read_columns(dataset, "val", content.config.categories)
    ids = [content.tokenizer.encode(text) for text in val.texts]
    logits = predict(read_checkpoint(trained[0] / "checkpoint").load(), pack(ids, val.labels))
    scores = 1 / (1 + np.exp(-(logits * content.calibration.scale + content.calibration.bias)))
    ordinary = np.array(val.sources) == "benign_goemotions_unlabelled"
    for name, fpr, share in (("default", 0.05, 0.03), ("strict", 0.10, 0.06), ("lenient", 0.02, 0.01)):
        policy = load_policy(str(folder / f"{name}.toml"))
        policy.check(set(content.config.categories), "tiny")
        assert policy.name == f"{name}@1"
        for k, category in enumerate(content.config.categories):
            review = policy.thresholds[category].review
            assert (scores[val.labels[:, k] == 0, k] >= review).mean() <= fpr
            assert (scores[ordinary, k] >= review).mean() <= share


NGRAMS = replace(CONFIG, ngrams=NgramConfig(pairs=300))


def test_an_n_gram_head_is_fitted_once_and_stays_in_the_model(dataset, tmp_path):
    said = []
    train(NGRAMS, dataset, tmp_path, ignore, said.append)
    assert "fit the n-gram head: insult" in said
    assert min(validation_auc(tmp_path, dataset)) > 0.9
    checkpoint = read_checkpoint(tmp_path / "checkpoint", verify=True)
    before = checkpoint.content
    assert before.config.n_pairs == len(before.tensors["ngrams.pair_first"]) > 100
    assert set(before.card["training"]["ngram_strengths"]) == {"toxicity", "insult"}
    # Torch adds the same logits as the file's own reader.
    val = read_columns(dataset, "val", before.config.categories)
    rows = pack([before.tokenizer.encode(text) for text in val.texts], val.labels)
    model = checkpoint.load()
    whole = predict(model, rows)
    stored = {name: StoredTensor(name, "F32", tensor) for name, tensor in before.tensors.items()}
    model.ngrams = None
    np.testing.assert_allclose(
        whole, predict(model, rows) + NgramHead(stored).logits(rows.tokens, rows.offsets), atol=1e-5
    )
    # The same call again restores the finished run and fits nothing.
    again = []
    train(NGRAMS, dataset, tmp_path, ignore, again.append)
    after = read_checkpoint(tmp_path / "checkpoint").content
    assert "fit the n-gram head: insult" not in again
    assert after.digest() == before.digest()
    assert after.card["training"]["resumed_at"] == after.card["training"]["steps"]


def test_a_teacher_is_asked_once_and_speaks_for_rows_that_nobody_annotated(dataset, tmp_path):
    asked = []

    def teacher(train_rows, val_rows, categories):
        asked.append((len(train_rows.texts), len(val_rows.texts), tuple(categories)))
        return np.array(
            [
                [float(any(sign in text for sign in easy.SIGNS[category])) for category in categories]
                for text in train_rows.texts
            ],
            np.float32,
        )

    config = replace(CONFIG, teacher_weight=0.5)
    said = []
    train(config, dataset, tmp_path, ignore, said.append, teacher)
    assert asked == [(326, 150, ("toxicity", "insult"))]
    assert "ask the teacher" in said
    assert min(validation_auc(tmp_path, dataset)) > 0.9
    scores = np.load(tmp_path / "work" / "teacher.npy")
    assert scores.shape == (326, 2)
    # The same call again restores the finished run and asks nobody.
    before = read_checkpoint(tmp_path / "checkpoint").content
    train(config, dataset, tmp_path, ignore, ignore, teacher)
    after = read_checkpoint(tmp_path / "checkpoint").content
    assert len(asked) == 1
    assert after.digest() == before.digest()
    assert after.card["training"]["resumed_at"] == after.card["training"]["steps"]


def test_aids_are_used_and_gone_from_the_model(dataset, tmp_path):
    config = replace(
        CONFIG, aids=stage.Aids(shares_spelling=True, begins_by_company=True, offsets_sources=True)
    )
    train(config, dataset, tmp_path, ignore, ignore)
    assert min(validation_auc(tmp_path, dataset)) > 0.9
    names = set(read_checkpoint(tmp_path / "checkpoint").content.tensors)
    assert not any("offset" in name or "ngram" in name for name in names)


def test_a_killed_run_goes_on_to_the_same_model(trained, dataset, tmp_path):
    config = replace(CONFIG, loop=replace(CONFIG.loop, resume_s=0.0))

    def kill(progress):
        if progress.step == 20:
            raise KilledError

    with pytest.raises(KilledError):
        train(config, dataset, tmp_path, kill, ignore)
    assert {entry.name for entry in tmp_path.iterdir()} == {"work"}
    train(config, dataset, tmp_path, ignore, ignore)
    found, expected = (read_checkpoint(folder / "checkpoint").content for folder in (tmp_path, trained[0]))
    assert found.card["training"]["resumed_at"] == 20
    assert found.digest() == expected.digest()


def test_another_recipe_in_the_same_folder_is_refused(trained, dataset):
    config = replace(CONFIG, loop=replace(CONFIG.loop, seed=1))
    with pytest.raises(ArtefactError, match="was begun with another recipe or other data"):
        train(config, dataset, trained[0], ignore, ignore)


def test_too_few_positives_are_refused(dataset, tmp_path):
    with pytest.raises(DataError, match="no category has 1000 positive validation rows; add data"):
        train(replace(CONFIG, least_positives=1000), dataset, tmp_path, ignore, ignore)
    assert list(tmp_path.iterdir()) == []


def columns_of(labels):
    n = len(labels)
    return DatasetColumns([""] * n, [""] * n, np.array(labels, np.float32), [""] * n, [""] * n)


def test_scored_categories_by_hand():
    nan = np.nan
    val = columns_of([[1, 0.5, nan], [0.9, 0.4, nan], [0, 1.0, 1.0]])
    assert stage.scored_categories(val, ["a", "b", "c"], 2) == ["a", "b"]
    assert stage.scored_categories(val, ["a", "b", "c"], 1) == ["a", "b", "c"]


def test_rare_labels_are_seen_more_often_and_empty_texts_never():
    nan = np.nan
    labels = np.array([[0, nan], [1, nan], [1, 0], [nan, nan], [nan, 1], [0, nan]], np.float32)
    ids = [[1], [1], [1], [1], [1], []]
    config = replace(CONFIG, rare_rows=3, rare_repeats=4)
    # The second category has two annotated rows, fewer than three; the first has four.
    rows = pack(ids, labels)
    assert stage._repeats(rows, config).tolist() == [1, 1, 4, 0, 4, 0]
    # A teacher speaks for the row that nobody annotated, not for the one without tokens.
    assert stage._repeats(rows, replace(config, teacher_weight=0.5)).tolist() == [
        1,
        1,
        4,
        1,
        4,
        0,
    ]


def test_calibrate_reads_the_annotated_rows_of_each_category_alone():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (3000, 2)).astype(np.float32)
    labels = (1 / (1 + np.exp(-(logits * [0.7, 1.5] + [0.5, -1.0])))).astype(np.float32)
    # Wrong as can be, where it must not be read.
    logits[:1000, 0], labels[:1000, 0] = 50.0, np.nan
    logits[1000:1500, 1], labels[1000:1500, 1] = np.nan, 1.0
    found = stage.calibrate(logits, labels, ["toxicity", "insult"])
    assert json.loads(json.dumps(found)) == found
    for category, scale, bias in (("toxicity", 0.7, 0.5), ("insult", 1.5, -1.0)):
        assert found[category]["scale"] == pytest.approx(scale, abs=2e-3)
        assert found[category]["bias"] == pytest.approx(bias, abs=2e-3)
