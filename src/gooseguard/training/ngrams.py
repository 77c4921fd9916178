"""Tokens and labels to an n-gram head (`codec/ngram_head.py`): one logistic regression a category.

A regression sees two blocks, each scaled to length 1 as tf-idf vectors are: the tokens of a text together
with the n-grams they are spelled with (`subwords`), and its pairs of tokens. What it learns of a token's
n-grams is added to what it learns of the token, so that the head that is left knows tokens and pairs alone.
Minutes on one core. Knows nothing of the backbone, which is trained without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gooseguard.codec.ngram_tables import PREFIX, SIZE_STEPS
from gooseguard.core.errors import DataError
from gooseguard.core.extras import import_extra
from gooseguard.metrics.regression import (
    HeldOutFeatures,
    choose_strength,
    fit_regression,
    has_both_classes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from gooseguard.metrics.regression import Matrix
    from gooseguard.training.batches import TokenRows
    from gooseguard.training.subwords import TokenNgrams

WANTED = "fitting an n-gram head needs"
"""What is in need of scikit-learn."""


@dataclass(frozen=True, slots=True)
class NgramConfig:
    """The settings of the head."""

    pairs: int = 0
    """Most pairs of tokens kept, those of the most texts; 0 for a model without such a head."""
    least_texts: int = 3
    """Texts that a token, a pair or an n-gram must stand in."""
    strengths: tuple[float, ...] = (0.25, 1.0, 4.0, 16.0)
    """Values of C, the inverse strength of L2 regularisation, to choose among on validation rows."""
    n_choosing: int = 60_000
    """Most annotated training rows used while choosing the C of a category."""
    max_iterations: int = 500
    """Most iterations of L-BFGS."""
    tolerance: float = 1e-5
    """Gradient of the mean loss at which L-BFGS stops."""
    seed: int = 0
    """Of the rows drawn while choosing C."""


class FittedNgrams(NamedTuple):
    """What was learnt."""

    tensors: dict[str, NDArray[np.float32]]
    """As `codec.ngram_head.ngram_shapes` names them."""
    strengths: dict[str, float]
    """Category to its C."""


def fit_ngrams(
    train: TokenRows,
    val: TokenRows,
    val_sources: Sequence[str],
    categories: Sequence[str],
    ngrams: TokenNgrams,
    config: NgramConfig,
    say: Callable[[str], None],
) -> FittedNgrams:
    """Fit the head on training rows; validation rows choose how strongly it is regularised.

    Args:
        train: rows with labels (n, K), NaN where not annotated.
        val: the same, with labels of the same categories.
        val_sources: of the validation rows: C is chosen by AUC within sources.
        categories: of the K columns.
        ngrams: what each token of the vocabulary is spelled with.
        config: settings.
        say: told which category is fitted.

    Raises:
        ConfigError: scikit-learn is not installed.
        DataError: no pair stands in enough texts.
    """
    table = _Table.make(train, ngrams, config)
    features, held_out = table.features(train), table.features(val)
    n_categories = train.labels.shape[1]
    coefficients = np.zeros((features.shape[1], n_categories), np.float32)
    strengths = {}
    sources = np.asarray(val_sources)
    for k, category in enumerate(categories):
        if not has_both_classes(train.labels[:, k]):
            # Its weights stay zero.
            continue
        say(f"fit the n-gram head: {category}")
        asked = HeldOutFeatures(held_out, val.labels[:, k], sources)
        strength = choose_strength(features, train.labels[:, k], asked, config, WANTED)
        known = np.flatnonzero(~np.isnan(train.labels[:, k]))
        fitted = fit_regression(features[known], train.labels[known, k], strength, config, WANTED)
        coefficients[:, k], strengths[category] = fitted.coef_[0], strength
    return FittedNgrams(table.tensors(coefficients), strengths)


class _Table(NamedTuple):
    """How texts become features: counts of tokens, n-grams and pairs, each times its idf."""

    spelling: Matrix
    """Sparse, (V, G): idf of each n-gram that a token is spelled with, times `share`."""
    token_idf: NDArray[np.float32]
    """(V,)."""
    pairs: NDArray[np.int64]
    """(P,), ascending: first id * V + second id."""
    pair_idf: NDArray[np.float32]
    """(P,)."""

    @classmethod
    def make(cls, rows: TokenRows, ngrams: TokenNgrams, config: NgramConfig) -> _Table:
        sparse = import_extra("scipy.sparse", WANTED)
        n_tokens = len(ngrams.offsets) - 1
        flat = np.ones(len(ngrams.numbers), np.float32)
        width = int(ngrams.numbers.max(initial=-1)) + 1
        spelling = sparse.csr_matrix((flat, ngrams.numbers, ngrams.offsets), shape=(n_tokens, width))
        tokens = _count_tokens(rows, n_tokens)
        token_idf, ngram_idf = (_idf(counts, config) for counts in (tokens, (tokens @ spelling).tocsr()))
        spelling = (spelling @ sparse.diags(ngram_idf)).tocsr()
        # Over all texts, what a token is spelled with weighs as much as the token itself.
        used = np.asarray(tokens.sum(0)).ravel()
        squares = np.asarray(spelling.power(2).sum(1)).ravel()
        share = np.sqrt((used @ token_idf.astype(np.float64) ** 2) / max(float(used @ squares), 1e-9))
        pairs = _frequent_pairs(rows, n_tokens, config)
        pair_idf = _idf(_count_pairs(rows, pairs, n_tokens), config)
        return cls((spelling * np.float32(share)).tocsr(), token_idf, pairs, pair_idf)

    @property
    def token_size(self) -> NDArray[np.float32]:
        """Give the length of each token's own vector, float32 (V,)."""
        squares = np.asarray(self.spelling.power(2).sum(1)).ravel() + self.token_idf**2
        return np.sqrt(squares).astype(np.float32)

    def features(self, rows: TokenRows) -> Matrix:
        """Give the matrix, float32 (n, V + G + P)."""
        sparse = import_extra("scipy.sparse", WANTED)
        tokens = _count_tokens(rows, len(self.token_idf))
        pairs = _count_pairs(rows, self.pairs, len(self.token_idf))
        by_token = sparse.hstack(
            [tokens @ sparse.diags(self.token_idf), tokens @ self.spelling], format="csr"
        )
        by_pair = pairs @ sparse.diags(self.pair_idf)
        blocks = [_scale(by_token, tokens, self.token_size), _scale(by_pair, pairs, self.pair_idf)]
        return sparse.hstack(blocks, format="csr", dtype=np.float32)

    def tensors(self, coefficients: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Give the head of coefficients (V + G + P, K)."""
        n_tokens, n_ngrams = self.spelling.shape
        of_tokens, of_ngrams, of_pairs = np.split(coefficients, [n_tokens, n_tokens + n_ngrams])
        tensors = {
            "token_weight": self.token_idf[:, None] * of_tokens + self.spelling @ of_ngrams,
            "token_size": self.token_size,
            "pair_first": self.pairs // n_tokens,
            "pair_second": self.pairs % n_tokens,
            "pair_weight": self.pair_idf[:, None] * of_pairs,
            "pair_size": self.pair_idf,
        }
        for name in ("token_size", "pair_size"):
            tensors[name] = np.rint(tensors[name] * SIZE_STEPS) / SIZE_STEPS
        return {
            f"{PREFIX}{name}": np.ascontiguousarray(tensor, np.float32) for name, tensor in tensors.items()
        }


def _scale(features: Matrix, counts: Matrix, sizes: NDArray[np.float32]) -> Matrix:
    """Divide rows by the norm of counts times sizes, which is what the head does to sums of weights."""
    squares = counts.power(2) @ (sizes.astype(np.float64) ** 2)
    return (
        import_extra("scipy.sparse", WANTED).diags(
            (1 / np.sqrt(np.maximum(squares, 1e-9))).astype(np.float32)
        )
        @ features
    )


def _count_tokens(rows: TokenRows, n_tokens: int) -> Matrix:
    """Count the tokens of each text: sparse float32, (n, V)."""
    ones = np.ones(len(rows.tokens), np.float32)
    found = (ones, rows.tokens, rows.offsets)
    # Summing works in place, and the rows are the caller's.
    counts = import_extra("scipy.sparse", WANTED).csr_matrix(found, shape=(len(rows), n_tokens), copy=True)
    counts.sum_duplicates()
    return counts


def _keys(rows: TokenRows, n_tokens: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give every pair as first id * V + second id, and the number of its text."""
    texts = np.repeat(np.arange(len(rows)), rows.lengths)
    tokens = rows.tokens.astype(np.int64)
    is_pair = texts[:-1] == texts[1:]
    return (tokens[:-1] * n_tokens + tokens[1:])[is_pair], texts[1:][is_pair]


def _frequent_pairs(rows: TokenRows, n_tokens: int, config: NgramConfig) -> NDArray[np.int64]:
    """Give the pairs of the most texts, ascending; of equally many, the smaller ids."""
    keys, texts = _keys(rows, n_tokens)
    distinct, places = np.unique(keys, return_inverse=True)
    # Each text counts once.
    once = np.unique(places * np.int64(len(rows)) + texts) // len(rows)
    counts = np.bincount(once, minlength=len(distinct))
    enough = np.flatnonzero(counts >= config.least_texts)
    if not len(enough):
        raise DataError(f"n-gram head: no pair of tokens stands in {config.least_texts} texts; add data")
    most = enough[np.argsort(-counts[enough], kind="stable")[: config.pairs]]
    return np.sort(distinct[most])


def _count_pairs(rows: TokenRows, pairs: NDArray[np.int64], n_tokens: int) -> Matrix:
    """Count the known pairs of each text: sparse float32, (n, P)."""
    keys, texts = _keys(rows, n_tokens)
    places = np.minimum(np.searchsorted(pairs, keys), len(pairs) - 1)
    is_known = pairs[places] == keys
    ones = np.ones(int(is_known.sum()), np.float32)
    found = (ones, (texts[is_known], places[is_known]))
    return import_extra("scipy.sparse", WANTED).coo_matrix(found, shape=(len(rows), len(pairs))).tocsr()


def _idf(counts: Matrix, config: NgramConfig) -> NDArray[np.float32]:
    """Give log((1 + n) / (1 + texts)) + 1 of each column; 0 of one that too few texts hold."""
    texts = np.bincount(counts.indices, minlength=counts.shape[1])
    idf = np.log((1 + counts.shape[0]) / (1 + texts)) + 1
    return np.where(texts >= config.least_texts, idf, 0).astype(np.float32)
