"""An embedding whose tokens share vectors of their n-grams while it is trained; a plain one after.

"idiot", " idiot" and "idiots" are three tokens. Each has a vector of its own and gets, besides, the
sum of the vectors of the n-grams it is spelled with, so that what is learnt of one is learnt of all. The
sums are added into the table at the end: the model that is shipped has the official layout and costs
what it did.

Source: Bojanowski et al., "Enriching Word Vectors with Subword Information" (TACL 2017), section 3.2;
here n-grams are of tokens rather than words, and divided by the square root of their number.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gooseguard.codec.tokenizer import Tokenizer

SIZES = range(2, 6)
"""Code points of an n-gram."""

LEAST_TOKENS = 2
"""Tokens that must hold an n-gram: one that a single token holds shares nothing."""

LEAST_LETTERS = 3
"""Code points of a token that has n-grams, white space aside."""

BEGIN, END = "<", ">"
"""Stand for the space before a word and for a token's end."""


def spell(token: str) -> set[str]:
    """Give the n-grams of a token's text; none where it is short or no whole text."""
    if len(token.strip()) < LEAST_LETTERS or "\ufffd" in token:
        return set()
    text = token.replace(" ", BEGIN) + END
    return {text[i : i + size] for size in SIZES for i in range(len(text) - size + 1)}


class TokenNgrams(NamedTuple):
    """Which n-grams each token holds."""

    numbers: NDArray[np.int64]
    """Those of all tokens, one token after another."""
    offsets: NDArray[np.int64]
    """(V + 1,): where each token's begin."""


def token_ngrams(tokenizer: Tokenizer) -> TokenNgrams:
    """Number the n-grams that at least `LEAST_TOKENS` tokens hold, in sorted order."""
    spelled = [
        spell(tokenizer.decode([number]).decode("utf-8", "replace")) for number in range(tokenizer.vocab_size)
    ]
    counts = Counter(ngram for ngrams in spelled for ngram in ngrams)
    shared = sorted(ngram for ngram, count in counts.items() if count >= LEAST_TOKENS)
    numbers = {ngram: number for number, ngram in enumerate(shared)}
    kept = [sorted(numbers[ngram] for ngram in ngrams if ngram in numbers) for ngrams in spelled]
    offsets = np.concatenate([[0], np.cumsum([len(ngrams) for ngrams in kept])]).astype(np.int64)
    flat = np.fromiter((number for ngrams in kept for number in ngrams), np.int64, offsets[-1])
    return TokenNgrams(flat, offsets)


class SubwordEmbedding(nn.Embedding):
    """Stands in for a backbone's embedding while it is trained."""

    def __init__(self, embedding: nn.Embedding, ngrams: TokenNgrams) -> None:
        """Take over the table of `embedding`; n-grams begin at zero, so that nothing changes at first."""
        vocab_size, width = embedding.weight.shape
        super().__init__(vocab_size, width, _weight=embedding.weight.detach())
        self._numbers, self._offsets = torch.from_numpy(ngrams.numbers), torch.from_numpy(ngrams.offsets)
        n_ngram = int(ngrams.numbers.max(initial=-1)) + 1
        self.ngrams = nn.Parameter(torch.zeros(n_ngram, embedding.embedding_dim))
        """float32, (G, C): the vectors that tokens share."""

    def vectors(self, tokens: Tensor) -> Tensor:
        """Give the whole vectors of tokens: int64, (n,), to float32, (n, C)."""
        begin = self._offsets[tokens]
        counts = self._offsets[tokens + 1] - begin
        first = counts.cumsum(0) - counts
        # Place i of the joined lists is place i - first of its token's own list.
        places = torch.repeat_interleave(begin - first, counts) + torch.arange(int(counts.sum()))
        sums = functional.embedding_bag(self._numbers[places], self.ngrams, first, mode="sum")
        scaled: Tensor = self.weight[tokens] + sums / counts.clamp(min=1).sqrt().unsqueeze(1)
        return scaled

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (the name in nn.Embedding)
        """Give the vectors of tokens, float32, (..., C); each distinct token is put together once."""
        distinct, places = torch.unique(input, return_inverse=True)
        return self.vectors(distinct)[places]

    @torch.no_grad()
    def merged(self) -> nn.Embedding:
        """Give the plain embedding that does the same."""
        whole = self.vectors(torch.arange(self.num_embeddings))
        return nn.Embedding(self.num_embeddings, self.embedding_dim, _weight=whole)
