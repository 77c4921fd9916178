"""The n-gram head learns what single tokens and pairs say, and nothing of a category it cannot learn."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn")

from gooseguard.codec.ngram_head import NgramHead, ngram_shapes
from gooseguard.codec.stored_tensor import StoredTensor
from gooseguard.core.errors import DataError
from gooseguard.metrics.ranking import roc_auc
from gooseguard.training.batches import pack
from gooseguard.training.ngrams import NgramConfig, fit_ngrams
from gooseguard.training.subwords import TokenNgrams

CATEGORIES = ("toxicity", "insult")
VOCABULARY = 40
CONFIG = NgramConfig(pairs=200, strengths=(1.0, 16.0))
# Tokens 3 to 6 share n-grams: 3 and 5 one, 4 and 6 the other, each token two n-grams.
NGRAMS = TokenNgrams(
    np.array([0, 2, 1, 3, 0, 3, 1, 2]),
    np.concatenate([[0, 0, 0, 0], [2, 4, 6], np.full(VOCABULARY - 6, 8)]).astype(np.int64),
)


def make_pairs(n, seed):
    """Make rows whose first label says whether 3 comes right before 4, or right after; both are in each."""
    rng = np.random.default_rng(seed)
    ids, labels = [], []
    for _ in range(n):
        row = rng.integers(7, VOCABULARY, rng.integers(6, 20)).astype(np.int32)
        place, is_before = int(rng.integers(0, len(row) - 1)), bool(rng.random() < 0.5)
        row[place : place + 2] = (3, 4) if is_before else (4, 3)
        ids.append(row)
        labels.append([is_before, np.nan])
    return pack(ids, np.array(labels, np.float32))


def fit(train, val, config=CONFIG):
    said = []
    sources = ["one"] * len(val)
    return fit_ngrams(train, val, sources, CATEGORIES, NGRAMS, config, said.append), said


def head_logits(fitted, rows):
    stored = {name: StoredTensor(name, "F32", tensor) for name, tensor in fitted.tensors.items()}
    return NgramHead(stored).logits(rows.tokens, rows.offsets)


def test_it_learns_what_tokens_say(make_rows):
    train, val = make_rows(600), make_rows(200, seed=1)
    before = train.tokens.copy(), train.offsets.copy()
    fitted, said = fit(train, val)
    # Rows are the caller's: what counts them in place must not.
    assert (train.tokens == before[0]).all()
    assert (train.offsets == before[1]).all()
    assert said == [f"fit the n-gram head: {category}" for category in CATEGORIES]
    shapes = ngram_shapes(VOCABULARY, len(fitted.tensors["ngrams.pair_first"]), 2)
    assert {name: tensor.shape for name, tensor in fitted.tensors.items()} == shapes
    assert {tensor.dtype for tensor in fitted.tensors.values()} == {np.dtype(np.float32)}
    logits = head_logits(fitted, val)
    for k in range(2):
        known = ~np.isnan(val.labels[:, k])
        assert roc_auc(val.labels[known, k], logits[known, k]) > 0.95


def test_it_learns_what_only_pairs_say():
    train, val = make_pairs(600, 0), make_pairs(200, 1)
    fitted, _ = fit(train, val)
    assert roc_auc(val.labels[:, 0], head_logits(fitted, val)[:, 0]) > 0.95
    few, _ = fit(train, val, replace(CONFIG, pairs=1))
    assert len(few.tensors["ngrams.pair_first"]) == 1
    known = set(
        zip(*(fitted.tensors[f"ngrams.pair_{name}"].tolist() for name in ("first", "second")), strict=True)
    )
    assert {(3.0, 4.0), (4.0, 3.0)} <= known


def test_a_category_of_one_class_has_no_weights():
    train, val = make_pairs(300, 0), make_pairs(50, 1)
    fitted, said = fit(train, val)
    assert said == ["fit the n-gram head: toxicity"]
    assert (head_logits(fitted, val)[:, 1] == 0).all()
    assert set(fitted.strengths) == {"toxicity"}


def test_the_same_rows_give_the_same_head(make_rows):
    one, other = (fit(make_rows(200), make_rows(60, seed=1))[0].tensors for _ in range(2))
    assert all(one[name].tobytes() == other[name].tobytes() for name in one)


def test_texts_without_common_pairs_are_refused():
    rows = pack([[5], [6], [7, 8]], np.array([[1, 0], [0, 1], [1, 1]], np.float32))
    with pytest.raises(DataError, match="no pair of tokens stands in 3 texts; add data"):
        fit(rows, rows)
