"""Mod-RWKV for text: the RWKV-7 backbone with category heads on pooled states.

Pooling is one-pass with constant memory, so that a text read in pieces scores as in one call: the hidden
state of the last token, the running mean and the running maximum. A model may have an n-gram head beside,
which `training/ngrams.py` fits and which gets no gradient. Knows nothing of text, calibration or thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from gooseguard.codec.ngram_head import NgramHead, ngram_shapes
from gooseguard.codec.ngram_tables import PREFIX
from gooseguard.codec.stored_tensor import StoredTensor
from gooseguard.models.rwkv import Rwkv

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from gooseguard.codec.layout import RwkvConfig


@dataclass(frozen=True, slots=True)
class ModRwkvConfig:
    """Backbone and categories."""

    backbone: RwkvConfig
    """Sizes of the RWKV-7 backbone."""
    categories: tuple[str, ...]
    """Categories of the heads, in the order of the rows of `categories.weight`."""
    n_pairs: int = 0
    """Pairs of tokens that the n-gram head knows; 0 where there is no such head."""


def pool(hidden: Tensor, lengths: Tensor) -> Tensor:
    """Pool hidden states over each sequence's real tokens.

    Args:
        hidden: float32, (B, T, C), T at least 1.
        lengths: int64, (B,), each at least 1.

    Returns:
        float32, (B, 3 C): last, mean, maximum.
    """
    B, T, _ = hidden.shape
    real = (torch.arange(T, device=hidden.device) < lengths.unsqueeze(-1)).unsqueeze(-1)
    last = hidden[torch.arange(B, device=hidden.device), lengths - 1]
    mean = (hidden * real).sum(1) / lengths.unsqueeze(-1)
    # amax would share a tie's gradient; max gives it to one token, and is the faster of the two on CPU.
    maximum = hidden.masked_fill(~real, -torch.inf).max(1).values
    return torch.cat([last, mean, maximum], dim=-1)


class Ngrams(nn.Module):
    """The n-gram head as buffers; `codec.ngram_head` is what it runs."""

    def __init__(self, n_tokens: int, n_pairs: int, n_categories: int) -> None:
        super().__init__()
        for name, shape in ngram_shapes(n_tokens, n_pairs, n_categories).items():
            self.register_buffer(name.removeprefix(PREFIX), torch.zeros(shape))

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Give the logits of padded texts (B, T), float32 (B, K), without a gradient."""
        head = NgramHead(
            {
                f"{PREFIX}{name}": StoredTensor(name, "F32", tensor.numpy(force=True))
                for name, tensor in self.named_buffers()
            }
        )
        real = torch.arange(tokens.shape[1], device=tokens.device) < lengths.unsqueeze(-1)
        offsets = np.concatenate([[0], np.cumsum(lengths.numpy(force=True))])
        return torch.from_numpy(head.logits(tokens[real].numpy(force=True), offsets)).to(tokens.device)


class ModRwkv(nn.Module):
    """Token ids to one logit a category."""

    def __init__(self, config: ModRwkvConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.backbone = Rwkv(config.backbone, seed)
        self.categories = nn.Linear(3 * config.backbone.n_embd, len(config.categories))
        nn.init.zeros_(self.categories.weight)
        nn.init.zeros_(self.categories.bias)
        self.ngrams = (
            Ngrams(config.backbone.vocab_size, config.n_pairs, len(config.categories))
            if config.n_pairs
            else None
        )

    def add_ngrams(self, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """Put an n-gram head beside: the tensors of `codec.ngram_head.ngram_shapes`."""
        vocab_size, n_categories = tensors[f"{PREFIX}token_weight"].shape
        n_pairs = len(tensors[f"{PREFIX}pair_first"])
        self.config = replace(self.config, n_pairs=n_pairs)
        self.ngrams = Ngrams(vocab_size, n_pairs, n_categories)
        self.ngrams.load_state_dict(
            {name.removeprefix(PREFIX): torch.from_numpy(tensor) for name, tensor in tensors.items()}
        )

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Score whole texts.

        Args:
            tokens: int64, (B, T), padded at the end.
            lengths: int64, (B,), at least 1.

        Returns:
            logits, float32, (B, K).
        """
        hidden, _ = self.backbone(tokens, lengths)
        pooled = pool(hidden, lengths)
        with torch.autocast(pooled.device.type, enabled=False):
            logits: Tensor = self.categories(pooled)
        return logits if self.ngrams is None else logits + self.ngrams(tokens, lengths)
