"""Mod-RWKV for text: the RWKV-7 backbone with category heads on pooled states.

Pooling is one-pass with constant memory, so that a text read in pieces scores as in one call: the hidden
state of the last token, the running mean and the running maximum. Knows nothing of text, calibration or
thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gooseguard.models.rwkv import Rwkv

if TYPE_CHECKING:
    from gooseguard.codec.layout import RwkvConfig


@dataclass(frozen=True, slots=True)
class ModRwkvConfig:
    """Backbone and categories."""

    backbone: RwkvConfig
    """Sizes of the RWKV-7 backbone."""
    categories: tuple[str, ...]
    """Categories of the heads, in the order of the rows of `categories.weight`."""


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


class ModRwkv(nn.Module):
    """Token ids to one logit a category."""

    def __init__(self, config: ModRwkvConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.backbone = Rwkv(config.backbone, seed)
        self.categories = nn.Linear(3 * config.backbone.n_embd, len(config.categories))
        nn.init.zeros_(self.categories.weight)
        nn.init.zeros_(self.categories.bias)

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
        return logits
