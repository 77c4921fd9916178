"""What the blocks of every RWKV version are built from: matrices, token shift, low-rank maps.

Matrices may be stored in bfloat16; all else, and the residual stream, is float32. Letters are those of
`models/rwkv.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Linear(nn.Linear):
    """A matrix without bias, (out, in), that takes its input in whatever dtype it is stored in itself."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, in) to (…, out); the result has the matrix's dtype, or autocast's."""
        return functional.linear(x.to(self.weight.dtype), self.weight)


def vector(*shape: int) -> nn.Parameter:
    """Give a parameter without values yet; `initialise` of its module sets them, or a checkpoint does."""
    return nn.Parameter(torch.empty(shape))


def low_rank(x: Tensor, first: Tensor, second: Tensor, activation: str | None = None) -> Tensor:
    """Give activation(x first) second, float32: (…, C) through (C, D) and (D, C).

    Args:
        x: float32, (…, C).
        first: (C, D), float32 or bfloat16, as is `second`.
        second: (D, C).
        activation: "tanh", "sigmoid" or None, of what is between the two.
    """
    h = x.to(first.dtype) @ first
    if activation is not None:
        h = torch.tanh(h) if activation == "tanh" else torch.sigmoid(h)
    return (h @ second).float()


def shift(x: Tensor, before: Tensor) -> Tensor:
    """Give each token its predecessor's row, (B, T, C); the first gets `before`, (B, C)."""
    return torch.cat([before.unsqueeze(1), x[:, :-1]], dim=1)


def last(x: Tensor, lengths: Tensor, before: Tensor) -> Tensor:
    """Give the row of each sequence's last real token, (B, C); of an empty one, `before`."""
    if x.shape[1] == 0:
        return before
    rows = x[torch.arange(x.shape[0], device=x.device), (lengths - 1).clamp(min=0)]
    return torch.where((lengths > 0).unsqueeze(-1), rows, before)


def group_norm(norm: nn.GroupNorm, y: Tensor) -> Tensor:
    """Norm each head of (B, T, H, N) with `ln_x`; gives (B, T, C)."""
    B, T, H, N = y.shape
    # Group norm refuses an empty batch.
    return norm(y.reshape(B * T, H * N)).view(B, T, H * N) if B * T else y.reshape(B, T, H * N)
