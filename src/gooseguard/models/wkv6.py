"""The WKV recurrence of RWKV-5.2 and RWKV-6 over whole sequences."""

from __future__ import annotations

import torch
from torch import Tensor


def wkv6(
    r: Tensor, log_w: Tensor, k: Tensor, v: Tensor, u: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run y = S r + (sum r u k) v, S = S diag(w) + v k^T over whole sequences.

    Args:
        r: float32, (B, T, H, N), like `log_w`, `k`, `v`; any T, 0 included; none is written to.
        log_w: logarithm of the decay, at most 0, of any size.
        k: keys.
        v: values.
        u: float32, (H, N), the bonus of the current token.
        state: float32, (B, H, N, N), value index by key index; None is zero.

    Returns:
        y, (B, T, H, N), and the state after the last token, (B, H, N, N). Differentiable in every input.
    """
    n_batch, n_token, n_head, size = r.shape
    if state is None:
        state = r.new_zeros(n_batch, n_head, size, size)
    if n_token == 0:
        return r.new_zeros(r.shape), state
    w, y = log_w.exp(), []
    with torch.autocast(r.device.type, enabled=False):
        for t in range(n_token):
            bonus = (r[:, t] * u * k[:, t]).sum(-1, keepdim=True) * v[:, t]
            y.append((state @ r[:, t, :, :, None]).squeeze(-1) + bonus)
            state = state * w[:, t, :, None] + v[:, t, :, :, None] @ k[:, t, :, None]
    return torch.stack(y, 1), state
