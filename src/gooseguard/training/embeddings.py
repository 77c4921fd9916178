"""Tokenised rows to a first embedding: which tokens stand beside which, factorised.

Tokens that keep the same company begin with like vectors; the labels then say what the company means.
Knows nothing of labels and models.

Source: positive pointwise mutual information with context counts to the power of 3/4, and its singular
vectors scaled by the square root of the singular values: Levy, Goldberg and Dagan, "Improving
Distributional Similarity with Lessons Learned from Word Embeddings" (TACL 2015), sections 2.1 and 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gooseguard.training.batches import TokenRows

WINDOW = 5
"""Tokens to either side that count as company, each by the inverse of its distance."""

SCALE = 0.1
"""Root mean square of the entries: smaller are overwritten by the first steps, larger hardly learn."""

POWER_ITERATIONS = 3
"""Of the randomised factorisation."""


def company(rows: TokenRows, vocab_size: int, longest: int) -> Any:  # noqa: ANN401  (a SciPy matrix)
    """Count which tokens stand within `WINDOW` of each other in a text, by the inverse of their distance.

    Args:
        rows: texts, each read up to `longest` tokens.
        vocab_size: tokens V.
        longest: tokens of a text.

    Returns:
        symmetric sparse matrix, float32, (V, V).
    """
    lengths = rows.lengths
    row = np.repeat(np.arange(len(rows)), lengths)
    place = np.arange(len(rows.tokens)) - rows.offsets[:-1][row]
    tokens, row = rows.tokens[place < longest], row[place < longest]
    counts = sparse.csr_matrix((vocab_size, vocab_size), dtype=np.float32)
    for distance in range(1, WINDOW + 1):
        together = row[distance:] == row[:-distance]
        pairs = (tokens[:-distance][together], tokens[distance:][together])
        weights = np.full(len(pairs[0]), 1 / distance, np.float32)
        counts = counts + sparse.coo_matrix((weights, pairs), shape=counts.shape).tocsr()
    return counts + counts.T


def positive_information(counts: Any) -> Any:  # noqa: ANN401  (SciPy matrices)
    """Give the positive pointwise mutual information of tokens and their company, sparse float32, (V, V)."""
    pairs = counts.tocoo()
    total = np.asarray(counts.sum(1), np.float64).ravel()
    smoothed = total**0.75
    expected = total[pairs.row] * smoothed[pairs.col] / max(smoothed.sum(), 1e-30)
    information = np.log(pairs.data / expected)
    kept = information > 0
    return sparse.csr_matrix(
        (information[kept].astype(np.float32), (pairs.row[kept], pairs.col[kept])), shape=counts.shape
    )


def first_embedding(
    rows: TokenRows, vocab_size: int, width: int, longest: int, seed: int
) -> NDArray[np.float32]:
    """Give each token a vector by the company it keeps.

    Args:
        rows: training texts.
        vocab_size: tokens V.
        width: width C of the vectors; columns that the texts cannot fill are 0.
        longest: tokens read of each text.
        seed: of the randomised factorisation.

    Returns:
        float32, (V, C), root mean square `SCALE`; a token that never stands beside another has a zero vector.
    """
    information = positive_information(company(rows, vocab_size, longest))
    rank = min(width, vocab_size - 1)
    left, singular, _ = randomized_svd(information, rank, n_iter=POWER_ITERATIONS, random_state=seed)
    vectors = np.zeros((vocab_size, width), np.float32)
    vectors[:, :rank] = left * np.sqrt(singular)
    size = float(np.sqrt(np.mean(vectors**2)))
    return vectors * np.float32(SCALE / size) if size > 0 else vectors
