"""The RWKV-7 recurrence in chunks: matrix products over many tokens, sequences and heads at once.

Gives what `reference.wkv7` gives, up to float rounding. Letters as there; c is the length of a chunk.

With P_t the product of the decays w of a chunk up to and including token t, and the rows

    A = P_{t-1} a      B = b / P_t      K = k / P_t      R = P_t r

the recurrence S_t = S_{t-1} diag(w_t) + (S_{t-1} a_t) b_t^T + v_t k_t^T over one chunk is, with
u_t = S_{t-1} a_t as rows of U, and S kept transposed (key index, value index):

    (I - stril(A B^T)) U = A S_0 + stril(A K^T) V
    Y   = R S_0 + tril(R B^T) U + tril(R K^T) V
    S_c = diag(P_c) (S_0 + B^T U + K^T V)

`tril` keeps the lower triangle, `stril` drops its diagonal too. The inverse of I - stril(A B^T) is built row
by row, by forward substitution; powers of the triangle would be quicker and lose digits where a text repeats
itself.

Source: the chunked ("WY") form of the delta rule, Yang et al., "Parallelizing Linear Transformers with the
Delta Rule over Sequence Length", arXiv 2406.06484, section 3; the decays of RWKV-7 folded in here.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from gooseguard.engine.packing import Layout
    from gooseguard.engine.scratch import Float32Array, Scratch


class WkvInputs(NamedTuple):
    """What the recurrence reads: float32, (T, C) each, packed, a head's N columns side by side."""

    r: Float32Array
    """Receptance."""
    log_w: Float32Array
    """Logarithm of the decay, in (-0.6066, 0)."""
    k: Float32Array
    """Key."""
    v: Float32Array
    """Value."""
    a: Float32Array
    """Removal key."""
    b: Float32Array
    """Replacement key."""


def wkv7_chunked(
    inputs: WkvInputs,
    layout: Layout,
    state: Float32Array,
    scratch: Scratch,
    *,
    is_fresh: bool = False,
    is_kept: bool = True,
) -> Float32Array:
    """Run the recurrence over all sequences of a unit.

    Args:
        inputs: of the unit's T tokens.
        layout: where the tokens lie.
        state: (sequences, H, N, N), [key index, value index]; becomes the state after the last token.
        scratch: working memory.
        is_fresh: whether every sequence begins here: `state` is taken for zero, whatever it holds.
        is_kept: whether the state afterwards is wanted; without it `state` holds nothing of use.

    Returns:
        y, (T, C), scratch memory.
    """
    c, n = layout.chunk, layout.n_chunks
    _, H, N, _ = state.shape

    def pair(name: str) -> Float32Array:
        return scratch(name, n, 2 * c, H, N)

    ar, bk, uv, dy = pair("wkv.ar"), pair("wkv.bk"), pair("wkv.uv"), pair("wkv.dy")
    _place(layout, (ar, inputs.a, inputs.r), (bk, inputs.b, inputs.k), (uv, None, inputs.v))
    decays = _scale_by_decays(layout, inputs.log_w, ar, bk, scratch)

    # From here on (chunks, H, rows, N); none of these copies.
    ar_, bk_, uv_, dy_ = (array.transpose(0, 2, 1, 3) for array in (ar, bk, uv, dy))
    products = np.matmul(ar_, bk_.swapaxes(2, 3), out=scratch("wkv.products", n, H, 2 * c, 2 * c))
    products *= _triangles(c)
    solution = _solve(products[:, :, :c, :c], scratch)
    np.matmul(products[:, :, :, c:], uv_[:, :, c:], out=dy_)
    last_decay = decays[:, -1].reshape(n, H, N, 1)
    begin = 0
    for step, active in enumerate(layout.steps):
        chunks = slice(begin, begin + active)
        if step or not is_fresh:
            read = scratch("wkv.read", active, H, 2 * c, N)
            dy_[chunks] += np.matmul(ar_[chunks], state[:active], out=read)
        np.matmul(solution[chunks], dy_[chunks, :, :c], out=uv_[chunks, :, :c])
        n_updated = active if is_kept else sum(layout.steps[step + 1 : step + 2])
        if n_updated:
            chunks = slice(begin, begin + n_updated)
            if step or not is_fresh:
                written = scratch("wkv.written", n_updated, H, N, N)
                state[:n_updated] += np.matmul(bk_[chunks].swapaxes(2, 3), uv_[chunks], out=written)
            else:
                np.matmul(bk_[chunks].swapaxes(2, 3), uv_[chunks], out=state[:n_updated])
            state[:n_updated] *= last_decay[chunks]
        begin += active

    y = np.matmul(products[:, :, c:, :c], uv_[:, :, :c], out=scratch("wkv.y", n, H, c, N))
    dy_[:, :, c:] += y
    return _packed(dy, layout, scratch)


def _packed(dy: Float32Array, layout: Layout, scratch: Scratch) -> Float32Array:
    """Give the second halves of chunks (chunks, 2c, H, N) as packed rows (T, C), without the gaps."""
    rows = dy.reshape(layout.n_chunks * 2 * layout.chunk, -1)
    out = scratch("wkv.out", layout.n_tokens, rows.shape[1])
    # With the default mode NumPy buffers the whole result to leave `out` as it was after an error.
    return np.take(rows, layout.pair_rows + layout.chunk, axis=0, out=out, mode="clip")


def _place(layout: Layout, *pairs: tuple[Float32Array, Float32Array | None, Float32Array]) -> None:
    """Spread packed rows (T, C) over the halves of chunks (chunks, 2c, H, N), zeros where no token is."""
    c = layout.chunk
    for buffer, first, second in pairs:
        rows = buffer.reshape(layout.n_chunks * 2 * c, -1)
        if first is not None:
            rows[layout.pair_rows] = first
            rows[layout.pair_gaps] = 0.0
        rows[layout.pair_rows + c] = second
        rows[layout.pair_gaps + c] = 0.0


def _scale_by_decays(
    layout: Layout, log_w: Float32Array, ar: Float32Array, bk: Float32Array, scratch: Scratch
) -> Float32Array:
    """Multiply decays so far into `ar`, divide them out of `bk`; gives P, (chunks, c + 1, C), P_0 = 1."""
    c, n = layout.chunk, layout.n_chunks
    C = log_w.shape[1]
    log = scratch("wkv.log", n, c, C)
    rows = log.reshape(n * c, C)
    rows[layout.rows] = log_w
    rows[layout.gaps] = 0.0
    for t in range(1, c):
        log[:, t] += log[:, t - 1]
    decays = scratch("wkv.decays", n, c + 1, C)
    decays[:, 0] = 1.0
    np.exp(log, out=decays[:, 1:])
    growth = np.negative(log, out=log)
    np.exp(growth, out=growth)
    ar_ = ar.reshape(n, 2 * c, C)
    ar_[:, :c] *= decays[:, :-1]
    ar_[:, c:] *= decays[:, 1:]
    halves = bk.reshape(n, 2, c, C)
    halves *= growth[:, None]
    return decays


@cache
def _triangles(c: int) -> Float32Array:
    """Give the mask (2c, 2c) of (A, R) (B, K)^T: A reads earlier tokens, R its own as well."""
    strict, inclusive = np.tri(c, k=-1, dtype=np.float32), np.tri(c, dtype=np.float32)
    return np.block([[strict, strict], [inclusive, inclusive]])


def _solve(lower: Float32Array, scratch: Scratch) -> Float32Array:
    """Give (I - lower)^-1 of each strictly lower triangle of `lower`, (chunks, H, c, c)."""
    n, H, c, _ = lower.shape
    # Triangles last: one row of all of them at a time.
    lower_ = scratch("wkv.lower", c, c, n, H)
    lower_[:] = lower.transpose(2, 3, 0, 1)
    solution = scratch("wkv.solution", c, c, n, H)
    solution[:] = 0.0
    terms = scratch("wkv.terms", c, c, n, H)
    for t in range(c):
        solution[t, t] = 1.0
        if t:
            np.multiply(lower_[t, :t, None], solution[:t, :t], out=terms[:t, :t])
            np.add.reduce(terms[:t, :t], axis=0, out=solution[t, :t])
    result = scratch("wkv.inverse", n, H, c, c)
    result[:] = solution.transpose(2, 3, 0, 1)
    return result
