"""Tokens that share n-grams while training, and the plain embedding that is left."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from gooseguard.codec.tokenizer import Tokenizer  # noqa: E402
from gooseguard.training.subwords import SubwordEmbedding, TokenNgrams, spell, token_ngrams  # noqa: E402


def test_ngrams_by_hand():
    # "<abc>": pairs, triples, fours, the whole.
    assert spell(" abc") == {
        "<a", "ab", "bc", "c>",
        "<ab", "abc", "bc>",
        "<abc", "abc>",
        "<abc>",
    }  # fmt: skip


@pytest.mark.parametrize("token", ["", "ab", "  a", "ab\ufffd\ufffd"])
def test_short_or_broken_tokens_have_none(token):
    assert spell(token) == set()


def test_only_ngrams_of_two_tokens_are_kept():
    # Bytes are ids 1 to 256: c a t, then "ca", "cat", "cats".
    c, a, t, s = (1 + byte for byte in b"cats")
    ngrams = token_ngrams(Tokenizer([(c, a), (257, t), (258, s)]))
    lengths = np.diff(ngrams.offsets)
    assert lengths[:258].sum() == 0
    # "cat>" and "cats>" share ca, at and cat; what ends in > differs.
    assert lengths[258:].tolist() == [3, 3]
    assert ngrams.numbers.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.fixture
def embedding():
    torch.manual_seed(0)
    plain = nn.Embedding(5, 4)
    before = plain.weight.detach().clone()
    # Token 1 has n-grams 0, 2; token 3 has 2; token 4 has 0, 1, 2, 2.
    ngrams = TokenNgrams(np.array([0, 2, 2, 0, 1, 2, 2]), np.array([0, 0, 2, 2, 3, 7]))
    return before, SubwordEmbedding(plain, ngrams)


def test_it_begins_as_the_plain_one(embedding):
    before, shared = embedding
    tokens = torch.tensor([[0, 1, 3], [4, 4, 2]])
    torch.testing.assert_close(shared(tokens), before[tokens], rtol=0, atol=0)


def test_vectors_by_hand_and_merged(embedding):
    before, shared = embedding
    with torch.no_grad():
        shared.ngrams.copy_(torch.arange(12.0).view(3, 4))
    g = shared.ngrams.detach()
    expected = before.clone()
    expected[1] += (g[0] + g[2]) / 2**0.5
    expected[3] += g[2]
    expected[4] += (g[0] + g[1] + 2 * g[2]) / 2
    tokens = torch.tensor([[4, 0, 3], [1, 1, 2]])
    torch.testing.assert_close(shared(tokens), expected[tokens])
    merged = shared.merged()
    torch.testing.assert_close(merged.weight, expected)
    assert merged.weight.requires_grad


def test_a_gradient_reaches_the_ngrams_of_the_tokens_seen(embedding):
    _, shared = embedding
    shared(torch.tensor([3, 3, 0])).sum().backward()
    # Token 3 is seen twice and has n-gram 2 alone.
    assert shared.ngrams.grad.tolist() == [[0.0] * 4, [0.0] * 4, [2.0] * 4]
    assert shared.weight.grad[:, 0].tolist() == [1.0, 0.0, 0.0, 2.0, 0.0]


def test_a_vocabulary_without_shared_ngrams_is_a_plain_embedding():
    plain = nn.Embedding(3, 2)
    shared = SubwordEmbedding(plain, TokenNgrams(np.zeros(0, np.int64), np.zeros(4, np.int64)))
    assert torch.equal(shared(torch.tensor([2, 0])), plain.weight[[2, 0]])
    assert torch.equal(shared.merged().weight, plain.weight)
