"""The WKV recurrence of RWKV-6 and RWKV-5.2 over whole sequences, by matrix products, forward and backward.

| letter | what | shape |
| --- | --- | --- |
| B T H N | sequences, tokens, heads, head size | |
| r k v | receptance, key, value | (B, T, H, N) |
| log_w | logarithm of the decay, at most 0; static in RWKV-5.2 | (B, T, H, N) |
| u | bonus of the current token | (H, N) |
| S | state, value index by key index | (B, H, N, N) |

Token by token, with w = exp(log_w), the recurrence is

    y_t = S_{t-1} r_t + (sum r_t u k_t) v_t        S_t = S_{t-1} diag(w_t) + v_t k_t^T

Inside a chunk let L_t be the sum of log_w up to token t. With R = r exp(L_{t-1}), K = k exp(L_C - L_t), rows
being tokens, and G the matrix of what token t reads of token i,

    G_ti = sum r_t k_i exp(L_{t-1} - L_i)   for i < t        G_tt = sum r_t u k_t
    Y    = G V + R S_0^T                                     S_C = S_0 diag(exp(L_C)) + V^T K

so that only a product and a sum a chunk are sequential. A decay of RWKV-6 may be near 0: exp(-L_i) overflows.
So G is made by halves: what the second half reads of the first factors at the border between them, where
both exponents are at most 0; then so within each half, down to blocks of 8 tokens, where the border is in
the middle and at most 4 tokens away. docs/design/0005-wkv-of-eagle-and-finch.md derives this and the backward
pass.

Source: equations of "Eagle and Finch" (arXiv 2404.05892, sections 3 and 4); chunks with secondary blocks
after Yang et al., *Gated Linear Attention Transformers with Hardware-Efficient Training* (arXiv 2312.06635,
section 4); factoring at the borders of halves is ours.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gooseguard.models.chunks import join, pad, split

BLOCK = 8
"""Tokens of the smallest blocks."""

CHUNK = 32
"""Tokens a chunk, a power of two times BLOCK; measured in docs/design/0005-wkv-of-eagle-and-finch.md."""

LEAST_LOG_DECAY = {torch.float32: -18.0, torch.float64: -170.0}
"""Smaller ones count as this: exp(-18) is below the rounding of what else a token adds, and four of them stay
within the range of the dtype, so that no exponential of a block overflows."""


def _blocks(x: Tensor) -> Tensor:
    """View (…, C, N) as its smallest blocks, (…, n, BLOCK, N)."""
    return x.view(*x.shape[:-2], -1, BLOCK, x.shape[-1])


def _halves(x: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """View (…, C, N) as pairs of blocks of `size` tokens: first ones and second ones, (…, n, size, N)."""
    pairs = x.view(*x.shape[:-2], -1, 2, size, x.shape[-1])
    return pairs[..., 0, :, :], pairs[..., 1, :, :]


def _diagonal(G: Tensor, size: int) -> Tensor:
    """View the blocks of `size` on the diagonal of G (…, C, C) as (…, n, size, size)."""
    n = G.shape[-1] // size
    blocks = G.view(*G.shape[:-2], n, size, n, size).diagonal(dim1=-4, dim2=-2)
    return blocks.movedim(-1, -3)


def _lower_left(G: Tensor, size: int) -> Tensor:
    """View what second halves read of first halves in G (…, C, C) as (…, n, size, size)."""
    return _diagonal(G, 2 * size)[..., size:, :size]


class _Decays:
    """The exponentials of a chunk's decays, made once and used forward and backward."""

    def __init__(self, log_w: Tensor) -> None:
        blocks = _blocks(log_w)
        total = blocks.cumsum(-2)
        before = total - blocks
        middle = total[..., BLOCK // 2 - 1, None, :]
        end = total[..., -1:, :]
        # Reading and writing as seen from a block's middle, and from its begin and its end.
        self.read_middle = torch.exp(before - middle).flatten(-3, -2)
        self.write_middle = torch.exp(middle - total).flatten(-3, -2)
        self.read = torch.exp(before).flatten(-3, -2)
        self.write = torch.exp(end - total).flatten(-3, -2)
        # Of a first and a second half, for each size of halves.
        self.levels: list[tuple[int, Tensor, Tensor]] = []
        size = BLOCK
        while size < log_w.shape[-2]:
            first, second = _halves(end.flatten(-3, -2), 1)
            self.levels.append((size, torch.exp(first), torch.exp(second)))
            end, size = first + second, 2 * size
        self.chunk = torch.exp(end).flatten(-3, -2)


class _ChunkedWkv(torch.autograd.Function):
    """WKV-6 on whole chunks; the backward pass is derived in docs/design/0005-wkv-of-eagle-and-finch.md."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  (torch makes it, and its type knows nothing of what is kept on it)
        r: Tensor,
        log_w: Tensor,
        k: Tensor,
        v: Tensor,
        u: Tensor,
        state: Tensor,
        chunk: int,
    ) -> tuple[Tensor, Tensor]:
        r, log_w, k, v = (split(x, chunk).contiguous() for x in (r, log_w, k, v))
        decays = _Decays(log_w.clamp(min=LEAST_LOG_DECAY[r.dtype]))
        n_chunk, n_batch, n_head, _, size = r.shape
        G = r.new_zeros(n_chunk, n_batch, n_head, chunk, chunk)
        blocks = [_blocks(x) for x in (r * decays.read_middle, k * decays.write_middle)]
        _diagonal(G, BLOCK).copy_((blocks[0] @ blocks[1].transpose(-1, -2)).tril_(-1))
        G.diagonal(dim1=-2, dim2=-1).copy_((r * k * u[:, None]).sum(-1))
        R, K = r * decays.read, k * decays.write
        kept = []
        for half, first, second in decays.levels:
            reads, writes = _halves(R, half)[1], _halves(K, half)[0]
            kept += [reads.contiguous(), writes.contiguous()]
            _lower_left(G, half).copy_(kept[-2] @ kept[-1].transpose(-1, -2))
            reads.mul_(first)
            writes.mul_(second)
        states = r.new_empty(n_chunk + 1, n_batch, n_head, size, size)
        states[0] = state
        states[1:] = v.transpose(-1, -2) @ K
        for i in range(n_chunk):
            states[i + 1].addcmul_(states[i], decays.chunk[i])
        Y = (G @ v).add_(R @ states[:-1].transpose(-1, -2))
        ctx.save_for_backward(r, log_w, k, v, u, G, R, K, states, *kept)
        return join(Y), states[-1].clone()

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401  (as in forward)
        *gradients: Tensor,
    ) -> tuple[Tensor | None, ...]:
        r, log_w, k, v, u, G, R, K, states, *kept = ctx.saved_tensors
        chunk = r.shape[-2]
        floor = LEAST_LOG_DECAY[r.dtype]
        decays = _Decays(log_w.clamp(min=floor))
        dY = split(gradients[0], chunk).contiguous()
        # After the loop, those of the state after each chunk, and of the one before all.
        d_states = torch.cat([dY.transpose(-1, -2) @ R, gradients[1].unsqueeze(0)])
        for i in reversed(range(len(r))):
            d_states[i].addcmul_(d_states[i + 1], decays.chunk[i])
        d_after = d_states[1:]
        dG = dY @ v.transpose(-1, -2)
        dR, dK = dY @ states[:-1], v @ d_after
        dv = (G.transpose(-1, -2) @ dY).add_(K @ d_after.transpose(-1, -2))
        d_end = (states[1:] * d_after).sum(-2, keepdim=True)
        for half, first, second in reversed(decays.levels):
            writes, reads = kept.pop(), kept.pop()
            d_block = _lower_left(dG, half)
            d_reads, d_writes = _halves(dR, half)[1], _halves(dK, half)[0]
            d_reads.mul_(first).add_(d_block @ writes)
            d_writes.mul_(second).add_(d_block.transpose(-1, -2) @ reads)
        d_blocks = _diagonal(dG, BLOCK).tril(-1)
        reads, writes = (_blocks(x) for x in (r * decays.read_middle, k * decays.write_middle))
        dr = (dR.mul_(decays.read)).addcmul_((d_blocks @ writes).flatten(-3, -2), decays.read_middle)
        dk = (dK.mul_(decays.write)).addcmul_(
            (d_blocks.transpose(-1, -2) @ reads).flatten(-3, -2), decays.write_middle
        )
        read = r * dr
        d_log_w = torch.addcmul(read, k, dk, value=-1)
        d_log_w[..., -1:, :] += d_end
        d_log_w = (d_log_w.flip(-2).cumsum(-2).flip(-2) - read).masked_fill_(log_w < floor, 0)
        bonus = dG.diagonal(dim1=-2, dim2=-1).unsqueeze(-1)
        du = (bonus * r * k).sum((0, 1, 3))
        weighted = bonus * u[:, None]
        dr.addcmul_(weighted, k)
        dk.addcmul_(weighted, r)
        return (*(join(x) for x in (dr, d_log_w, dk, dv)), du, d_states[0], None)


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
    # The recurrence stays in float32 whatever the layers around it run in.
    with torch.autocast(r.device.type, enabled=False):
        if n_token == 1:
            y, state = _step(r[:, 0], log_w[:, 0], k[:, 0], v[:, 0], u, state)
            return y.unsqueeze(1), state
        chunk = min(CHUNK, BLOCK * 2 ** max((n_token - 1) // BLOCK, 0).bit_length())
        # A padded token neither decays nor writes: log_w and k are 0.
        inputs = [pad(x, chunk) for x in (r, log_w, k, v)]
        y, state = _ChunkedWkv.apply(*inputs, u, state, chunk)  # type: ignore[no-untyped-call]
    return y[:, :n_token], state


def _step(r: Tensor, log_w: Tensor, k: Tensor, v: Tensor, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Run one token, (B, H, N) each: the definition."""
    bonus = (r * u * k).sum(-1, keepdim=True) * v
    y = (state @ r.unsqueeze(-1)).squeeze(-1) + bonus
    return y, state * log_w.exp().unsqueeze(-2) + v.unsqueeze(-1) * k.unsqueeze(-2)
