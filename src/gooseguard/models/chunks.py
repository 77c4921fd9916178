"""Sequences to chunks of tokens and back: what the WKV recurrences of all versions share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor


def pad(x: Tensor, chunk: int) -> Tensor:
    """Fill (B, T, H, N) up with zeros to whole chunks of tokens."""
    padding = -x.shape[1] % chunk
    return functional.pad(x, (0, 0, 0, 0, 0, padding)) if padding else x


def split(x: Tensor, chunk: int) -> Tensor:
    """View (B, T, H, N) as chunks, (T / C, B, H, C, N), so that one chunk is one batch of matrices."""
    n_batch, n_token, n_head, size = x.shape
    return x.reshape(n_batch, n_token // chunk, chunk, n_head, size).permute(1, 0, 3, 2, 4)


def join(x: Tensor) -> Tensor:
    """Copy chunks (n, B, H, C, N) back to (B, T, H, N), contiguous."""
    return x.permute(1, 0, 3, 2, 4).flatten(1, 2)
