"""A tiny training set with a signal, and the models that are fitted to it."""

import numpy as np
import pytest

CATEGORIES = ("toxicity", "insult")
VOCABULARY = 40


@pytest.fixture(scope="session")
def make_rows():
    """Make (n, seed) -> TokenRows: `toxicity` where token 3 is, `insult` where 4 is, some labels missing."""
    from gooseguard.training.batches import pack

    def make(n, seed=0):
        rng = np.random.default_rng(seed)
        ids = [rng.integers(5, VOCABULARY, rng.integers(3, 30)).astype(np.int32) for _ in range(n)]
        signal = rng.random((n, 2)) < 0.5
        for row, is_there in zip(ids, signal, strict=True):
            places = rng.permutation(len(row))[:2]
            row[places[is_there]] = np.array([3, 4])[is_there]
        labels = signal.astype(np.float32)
        labels[rng.random((n, 2)) < 0.2] = np.nan
        return pack(ids, labels)

    return make


@pytest.fixture(scope="session")
def make_model():
    """Make (seed, n_layer) -> ModRwkv, two categories, 40 tokens, 2 heads of 16."""
    pytest.importorskip("torch")
    from gooseguard.codec.layout import RwkvConfig
    from gooseguard.models.mod_rwkv import ModRwkv, ModRwkvConfig

    def make(seed=0, n_layer=1):
        ranks = {f"rank_{name}": 4 for name in "wavg"}
        backbone = RwkvConfig(n_layer, 32, VOCABULARY, head_size=16, n_ffn=48, **ranks)
        return ModRwkv(ModRwkvConfig(backbone, CATEGORIES), seed)

    return make


@pytest.fixture(scope="session")
def make_trainee(make_model):
    """Make (seed, n_layer) -> Trainee of such a model: tokens 5 to 12 share n-grams, two sources."""
    from gooseguard.training.subwords import TokenNgrams
    from gooseguard.training.trainee import SourceOffsets, Trainee

    def make(seed=0, n_layer=1):
        counts = np.zeros(VOCABULARY, np.int64)
        counts[5:13] = 2
        ngrams = TokenNgrams(np.arange(16) % 5, np.concatenate([[0], np.cumsum(counts)]))
        offsets = SourceOffsets(("one", "other"), np.array([[0.5, 0.0], [-0.5, 0.25]], np.float32))
        return Trainee(make_model(seed, n_layer), ngrams, offsets)

    return make


@pytest.fixture(scope="session")
def make_set(make_rows):
    """Make (n, seed) -> TrainingSet of n training and n / 2 validation rows, each seen once an epoch."""
    pytest.importorskip("torch")
    from gooseguard.training.loop import TrainingSet
    from gooseguard.training.objectives import make_targets

    def make(n=120, seed=0):
        rows = make_rows(n, seed)
        targets = make_targets(rows.labels, np.arange(n) % 2)
        return TrainingSet(rows, targets, np.ones(n, np.int64), make_rows(n // 2, seed + 1000))

    return make
