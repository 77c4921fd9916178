"""The WKV-7 recurrence over whole sequences, by matrix products, forward and backward.

| letter | what | shape |
| --- | --- | --- |
| B T H N | sequences, tokens, heads, head size | |
| r k v | receptance, key, value | (B, T, H, N) |
| log_w | logarithm of the decay, at most 0 | (B, T, H, N) |
| a b | removal and replacement keys, -kk and kk * in-context learning rate | (B, T, H, N) |
| S | state, value index by key index | (B, H, N, N) |

Token by token, with w = exp(log_w), the recurrence is

    S_t = S_{t-1} diag(w_t) + (S_{t-1} a_t) b_t^T + v_t k_t^T        y_t = S_t r_t

Inside a chunk of C tokens let P_t be the product of w_1 … w_t, and A = P_{t-1} a, B = b / P, K = k / P,
R = P r (rows are tokens). With u_t = S_{t-1} a_t as the rows of U and S_0 the state before the chunk,

    (I - tril(A B^T, -1)) U = A S_0^T + tril(A K^T, -1) V
    Y   = R S_0^T + tril(R B^T) U + tril(R K^T) V
    S_C = (S_0 + U^T B + V^T K) diag(P_C)

so that only the chain of chunk states is sequential. As log_w > -0.6066, 1/P stays below 2e4 for a chunk
of 16 tokens (and below 3e8 for one of 32): far from float32's limits. docs/design/0002-chunked-wkv.md derives
this and the backward pass, and says why the triangular system is solved and not expanded.

Under autocast the products that no state depends on, those of the outputs and of most gradients, run in its
dtype, as the layers around them do; states, and whatever goes into one, stay in float32
(docs/design/0006-training-speed.md).

Source: equations of RWKV-7 "Goose" (arXiv 2503.14456, section 3 and appendix); the triangular (UT) form is
that of Yang et al., *Parallelizing Linear Transformers with the Delta Rule over Sequence Length* (arXiv
2406.06484); the derivation with decay is ours.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gooseguard.models.chunks import pad

CHUNK = 16
"""Tokens a chunk; 16 and 32 are measured in docs/design/0002-chunked-wkv.md."""


def _split(x: Tensor, chunk: int) -> Tensor:
    """View (B, T, H, N) as chunks, (B, H, T / C, C, N)."""
    n_batch, n_token, n_head, size = x.shape
    return x.view(n_batch, n_token // chunk, chunk, n_head, size).permute(0, 3, 1, 2, 4)


def _each(x: Tensor) -> tuple[Tensor, ...]:
    """Give the chunks of (B, H, T / C, …), one after another, (B H, …) each: views, made at once."""
    return x.flatten(0, 1).unbind(1)


def _sums(x: Tensor, *, is_reversed: bool = False) -> Tensor:
    """Give the running sums of (…, C, N) over tokens, from the last one on if reversed.

    One product with a triangle of ones: a third of the time of `cumsum`, which strides over the tokens.
    """
    ones = torch.tril(torch.ones(x.shape[-2], x.shape[-2], dtype=x.dtype, device=x.device))
    return (ones.T if is_reversed else ones) @ x


def _times_before(x: Tensor, grow: Tensor, out: Tensor) -> None:
    """Write x P_{t-1} to `out`, (…, C, N) each; P is 1 before a chunk's first token."""
    torch.mul(x[..., 1:, :], grow[..., :-1, :], out=out[..., 1:, :])
    out[..., 0, :] = x[..., 0, :]


def _mask(chunk: int, like: Tensor) -> Tensor:
    """Give the (2C, 2C) mask of [A; R] [B; K]^T: strictly lower above, lower with diagonal below."""
    ones = torch.ones(chunk, chunk, dtype=like.dtype, device=like.device)
    strict, full = torch.tril(ones, -1), torch.tril(ones)
    return torch.cat([torch.cat([strict, strict], 1), torch.cat([full, full], 1)], 0)


class _ChunkedWkv(torch.autograd.Function):
    """WKV-7 on whole chunks; the backward pass is derived in docs/design/0002-chunked-wkv.md."""

    @staticmethod
    def forward(  # noqa: PLR0913  (the recurrence has seven inputs; torch adds ctx)
        ctx: Any,  # noqa: ANN401  (torch makes it, and its type knows nothing of what is kept on it)
        r: Tensor,
        log_w: Tensor,
        k: Tensor,
        v: Tensor,
        a: Tensor,
        b: Tensor,
        state: Tensor,
        chunk: int,
        rounded: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        r, log_w, k, v, a, b = (_split(x, chunk) for x in (r, log_w, k, v, a, b))
        n_batch, n_head, n_chunk, _, size = r.shape
        shape = (n_batch, n_head, n_chunk, 2 * chunk, size)
        # P and 1 / P.
        grow = torch.exp_(_sums(log_w))
        shrink = grow.reciprocal()
        # X = [A; R] reads, J = [B; K] writes, Z = [U; V] is what is written.
        X, J, Z = r.new_empty(shape), r.new_empty(shape), r.new_empty(shape)
        _times_before(a, grow, X[..., :chunk, :])
        torch.mul(r, grow, out=X[..., chunk:, :])
        torch.mul(b, shrink, out=J[..., :chunk, :])
        torch.mul(k, shrink, out=J[..., chunk:, :])
        Z[..., chunk:, :] = v
        decay = grow[..., -1:, :]
        G = (X @ J.transpose(-1, -2)).mul_(_mask(chunk, r))
        eye = torch.eye(chunk, dtype=r.dtype, device=r.device).expand(*shape[:3], chunk, chunk)
        inverse = torch.linalg.solve_triangular(
            eye - G[..., :chunk, :chunk], eye, upper=False, unitriangular=True
        )
        added = G[..., :chunk, chunk:] @ Z[..., chunk:, :]
        states = r.new_empty(n_batch, n_head, n_chunk + 1, size, size)
        states[:, :, 0] = state
        chunks = zip(*map(_each, (inverse, X, J, Z, added, decay)), strict=True)
        S, *after = _each(states)
        # Each line is one product, which adds what it has to and writes where it should.
        for own, (T, x, j, z, plus, d) in zip(after, chunks, strict=True):
            torch.bmm(T, torch.baddbmm(plus, x[:, :chunk], S.mT), out=z[:, :chunk])
            S = torch.mul(torch.baddbmm(S, z.mT, j), d, out=own)
        y = r.new_empty(n_batch, n_chunk * chunk, n_head, size)
        end = states[:, :, -1].clone()
        # From here on nothing goes back into the states.
        states = states.to(rounded)
        read = X[..., chunk:, :].to(rounded) @ states[:, :, :-1].mT
        torch.add(read, G[..., chunk:, :].to(rounded) @ Z.to(rounded), out=_split(y, chunk))
        ctx.chunk = chunk
        ctx.save_for_backward(X, J, Z, G, inverse, states, grow)
        return y, end

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401  (as in forward)
        *gradients: Tensor,
    ) -> tuple[Tensor | None, ...]:
        chunk: int = ctx.chunk
        X, J, Z, G, inverse, states, grow = ctx.saved_tensors
        dY, dS = _split(gradients[0].contiguous(), chunk), gradients[1].clone()
        decay = grow[..., -1:, :]
        # W = [D; dY], where D is the gradient of the right-hand side of the triangular system.
        W = torch.empty_like(X)
        W[..., chunk:, :] = dY
        dU_local = G[..., chunk:, :chunk].transpose(-1, -2) @ W[..., chunk:, :]
        d_decayed = torch.empty_like(states[:, :, 1:], dtype=X.dtype)
        chunks = zip(*map(_each, (inverse, X, J, W, dU_local, decay, d_decayed)), strict=True)
        dS = dS.flatten(0, 1)
        for T, x, j, w, plus, d, decayed in reversed(list(chunks)):
            torch.mul(dS, d, out=decayed)
            torch.bmm(T.mT, torch.baddbmm(plus, j[:, :chunk], decayed.mT), out=w[:, :chunk])
            dS = torch.baddbmm(decayed, w.mT, x)
        d_end = (d_decayed * states[:, :, 1:]).sum(-2, keepdim=True) / decay
        x, j, z, w, g, d = (t.to(states.dtype) for t in (X, J, Z, W, G[..., chunk:], d_decayed))
        dG = (w @ z.mT).mul_(_mask(chunk, w))
        dX = (dG @ j).add_(w @ states[:, :, :-1]).to(X.dtype)
        dJ = (dG.mT @ x).add_(z @ d).to(X.dtype)
        # Laid out as the inputs are; each is written once, through a view as chunks.
        n_batch, n_head, n_chunk, _, size = X.shape
        out = [X.new_empty(n_batch, n_chunk * chunk, n_head, size) for _ in range(6)]
        dr, d_log_w, dk, dv, da, db = (_split(x, chunk) for x in out)
        torch.add(j[..., chunk:, :] @ d.mT, g.mT @ w, out=dv)
        dA_A = dX[..., :chunk, :] * X[..., :chunk, :]
        d_total = torch.addcmul(dA_A, dX[..., chunk:, :], X[..., chunk:, :])
        d_total.addcmul_(dJ[..., :chunk, :], J[..., :chunk, :], value=-1)
        d_total.addcmul_(dJ[..., chunk:, :], J[..., chunk:, :], value=-1)
        d_total[..., -1:, :] += d_end
        torch.sub(_sums(d_total, is_reversed=True), dA_A, out=d_log_w)
        shrink = grow.reciprocal()
        torch.mul(dX[..., chunk:, :], grow, out=dr)
        torch.mul(dJ[..., chunk:, :], shrink, out=dk)
        _times_before(dX[..., :chunk, :], grow, da)
        torch.mul(dJ[..., :chunk, :], shrink, out=db)
        return (*out, dS.view(n_batch, n_head, size, size), None, None)


def wkv7(
    r: Tensor,
    log_w: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the WKV-7 recurrence over whole sequences.

    Args:
        r: float32, (B, T, H, N), like `log_w`, `k`, `v`, `a`, `b`; any T, 0 included; none is written to.
        log_w: logarithm of the decay, in (-0.6066, 0].
        k: keys.
        v: values.
        a: removal keys, -kk.
        b: replacement keys, kk times the in-context learning rate.
        state: float32, (B, H, N, N), value index by key index; None is zero.

    Returns:
        y, (B, T, H, N), and the state after the last token, (B, H, N, N). Differentiable in every input.
        Under autocast y, which stays float32, is rounded as the outputs of a layer are; the state is not.
    """
    n_batch, n_token, n_head, size = r.shape
    if state is None:
        state = r.new_zeros(n_batch, n_head, size, size)
    if n_token == 0:
        return r.new_zeros(r.shape), state
    is_rounded = torch.is_autocast_enabled(r.device.type)
    rounded = torch.get_autocast_dtype(r.device.type) if is_rounded else r.dtype
    with torch.autocast(r.device.type, enabled=False):
        if n_token == 1:
            y, state = _step(r[:, 0], log_w[:, 0], k[:, 0], v[:, 0], a[:, 0], b[:, 0], state)
            return y.unsqueeze(1), state
        # A padded token neither decays nor writes: log_w, k and b are 0.
        inputs = [pad(x, CHUNK).contiguous() for x in (r, log_w, k, v, a, b)]
        y, state = _ChunkedWkv.apply(*inputs, state, CHUNK, rounded)  # type: ignore[no-untyped-call]
    return y[:, :n_token], state


def _step(
    r: Tensor, log_w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Run one token, (B, H, N) each: the definition."""
    removed = state @ a.unsqueeze(-1)
    state = torch.addcmul(removed * b.unsqueeze(-2), state, log_w.exp().unsqueeze(-2))
    state = torch.addcmul(state, v.unsqueeze(-1), k.unsqueeze(-2))
    return (state @ r.unsqueeze(-1)).squeeze(-1), state
