"""Tokens by the company they keep."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from gooseguard.training.batches import pack
from gooseguard.training.embeddings import SCALE, company, first_embedding, positive_information


def rows_of(*texts):
    return pack([np.array(text, np.int32) for text in texts], np.zeros((len(texts), 1), np.float32))


def test_company_by_hand():
    # Text 0 is 1 2 3: neighbours weigh 1, the pair at distance two 1/2. Text 1 does not touch text 0.
    counts = company(rows_of([1, 2, 3], [3], [2, 2]), 4, longest=10).toarray()
    expected = np.zeros((4, 4))
    expected[1, 2] = expected[2, 1] = expected[2, 3] = expected[3, 2] = 1
    expected[1, 3] = expected[3, 1] = 0.5
    # A pair of like tokens counts from both ends.
    expected[2, 2] = 2
    np.testing.assert_allclose(counts, expected)


def test_texts_are_read_up_to_longest():
    whole, cut = (company(rows_of([1, 2, 3, 1]), 4, longest=n).toarray() for n in (4, 2))
    assert whole[1, 3] > 0
    assert cut[1, 2] == 1
    assert cut[1, 3] == 0


def test_no_company_beyond_the_window():
    counts = company(rows_of([1, 0, 0, 0, 0, 2, 3]), 4, longest=10).toarray()
    assert counts[1, 2] == pytest.approx(1 / 5)
    assert counts[1, 3] == 0


def test_information_by_hand():
    counts = company(rows_of([1, 2], [1, 2], [0, 3]), 4, longest=10)
    information = positive_information(counts).toarray()
    total = np.array([1.0, 2.0, 2.0, 1.0])
    smoothed = total**0.75
    # Seen twice, against 2 * 2^0.75 / sum expected.
    assert information[1, 2] == pytest.approx(np.log(2 / (2 * smoothed[2] / smoothed.sum())), rel=1e-6)
    assert information[1, 3] == 0


def test_tokens_of_like_company_begin_alike():
    rng = np.random.default_rng(0)
    # 4 and 5 stand beside 0 or 1, 6 beside 2 or 3.
    texts = [[rng.choice([0, 1]), rng.choice([4, 5]), rng.choice([0, 1])] for _ in range(200)]
    texts += [[rng.choice([2, 3]), 6, rng.choice([2, 3])] for _ in range(200)]
    vectors = first_embedding(rows_of(*texts), 8, 3, longest=10, seed=0)
    assert vectors.shape == (8, 3)
    assert vectors.dtype == np.float32
    assert np.sqrt((vectors**2).mean()) == pytest.approx(SCALE, rel=1e-5)
    # Token 7 is in no text.
    assert not vectors[7].any()

    def likeness(i, j):
        return vectors[i] @ vectors[j] / np.linalg.norm(vectors[i]) / np.linalg.norm(vectors[j])

    assert likeness(4, 5) > 0.95
    assert abs(likeness(4, 6)) < 0.1


def test_columns_that_texts_cannot_fill_are_zero_and_nothing_is_nothing():
    vectors = first_embedding(rows_of([1, 2]), 4, 6, longest=10, seed=0)
    assert np.isfinite(vectors).all()
    assert not vectors[:, 3:].any()
    assert not first_embedding(rows_of([1], [2]), 4, 3, longest=10, seed=0).any()
