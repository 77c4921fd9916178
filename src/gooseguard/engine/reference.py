"""RWKV of all versions in plain NumPy, token by token: the definition that every backend is held to.

Turns token ids into hidden states, and those into logits. Written to be read, not to be fast; knows no file
format.

Letters: B sequences, T tokens, C width, H heads of width N, L layers. For one token of one sequence, with
`prev` the normalised input of the same layer at the token before (zeros before the first token).

RWKV-7 (x070, "Goose"):

    x        = LN1(x);  x_? = x + (prev - x) * x_?                     one lerp each for r w k v a g
    r        = x_r R;   k = x_k K;   v = x_v V                         receptance, key, value
    w        = exp(-0.606531 * sigmoid(w0 + tanh(x_w w1) w2))          decay, in (0.545, 1)
    v        = v + (v_first - v) * sigmoid(v0 + (x_v v1) v2)           layers 1 and up; layer 0 gives v_first
    a        = sigmoid(a0 + (x_a a1) a2)                               in-context learning rate
    g        = sigmoid(x_g g1) g2                                      gate
    kk       = (k * k_k) / max(|k * k_k|, 1e-12)                       per head
    k        = k * (1 + (a - 1) * k_a)
    S        = S diag(w) + (S (-kk)) (kk * a)^T + v k^T                per head, S is (value index, key index)
    y        = GroupNorm(S r) + (sum(r * k * r_k)) v                   per head
    residual += (y * g) O

    x        = LN2(residual);  x_k = x + (prev - x) * x_k
    residual += max(x_k K, 0)^2 V                                      channel mix

RWKV-6 (x060, "Finch"), with m_? for `time_maa_?`, and five lerps that depend on the token:

    x        = LN1(x);  x_x = x + (prev - x) * m_x
    d_?      = slice ? of tanh(x_x m_w1), times m_w2[?]                one each for w k v r g
    x_?      = x + (prev - x) * (m_? + d_?)
    r        = x_r R;   k = x_k K;   v = x_v V;   g = silu(x_g G)      receptance, key, value, gate
    w        = exp(-exp(time_decay + tanh(x_w w1) w2))                 decay, in (0, 1)
    y        = S r + (sum(r * u * k)) v                                per head; u is `time_faaaa`
    S        = S diag(w) + v k^T                                       per head, S is (value index, key index)
    residual += (GroupNorm(y) * g) O

    x        = LN2(residual);  x_k, x_r = x + (prev - x) * m_?
    residual += sigmoid(x_r R) * (max(x_k K, 0)^2 V)                   channel mix

RWKV-5.2 (x052, "Eagle") is RWKV-6 with x_? = x * m_? + prev * (1 - m_?), m_? for `time_mix_?`, four in the
time mix and two in the channel mix, and with w = exp(-exp(time_decay)), the same for every token.

Source: RWKV-LM, `RWKV-v7/rwkv_v7_demo_rnn.py`, `rwkv_v7_demo.py` and `RWKV-v5/src/model.py` (BlinkDL,
Apache-2.0); Peng et al., "RWKV-7 Goose with Expressive Dynamic State Evolution", arXiv 2503.14456, and "Eagle
and Finch", arXiv 2404.05892. -0.606531 is -exp(-0.5), as the first file writes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gooseguard.codec.layout import LAYER_NORM_EPSILON, RwkvConfig
from gooseguard.core.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

FloatArray = npt.NDArray[np.floating]
"""float32 or float64."""

DECAY_SCALE = 0.606531
"""The largest decay a token can bring, as a rate: w >= exp(-DECAY_SCALE)."""

NORM_FLOOR = 1e-12
"""The least length a removal key is divided by. Source: default `eps` of `torch.nn.functional.normalize`."""


@dataclass(frozen=True, slots=True)
class State:
    """The recurrent memory of B sequences; its arrays are never written to."""

    attention_shift: FloatArray
    """(L, B, C): the normalised input of the time mix at the last token."""
    wkv: FloatArray
    """(L, B, H, N, N): the memory matrix of each head, [value index, key index]."""
    ffn_shift: FloatArray
    """(L, B, C): the normalised input of the channel mix at the last token."""


def zero_state(config: RwkvConfig, n_sequences: int, dtype: npt.DTypeLike = np.float32) -> State:
    """Give the state before the first token, arrays of `dtype` for B = `n_sequences`."""
    L, C, H, N = config.n_layer, config.n_embd, config.n_head, config.head_size
    return State(
        attention_shift=np.zeros((L, n_sequences, C), dtype),
        wkv=np.zeros((L, n_sequences, H, N, N), dtype),
        ffn_shift=np.zeros((L, n_sequences, C), dtype),
    )


def check_state(config: RwkvConfig, state: State, n_sequences: int) -> None:
    """Check that `state` is one of `n_sequences` sequences of this config.

    Raises:
        EngineError: an array has another shape.
    """
    L, C, H, N = config.n_layer, config.n_embd, config.n_head, config.head_size
    for name, expected in {
        "attention_shift": (L, n_sequences, C),
        "wkv": (L, n_sequences, H, N, N),
        "ffn_shift": (L, n_sequences, C),
    }.items():
        found = getattr(state, name).shape
        if found != expected:
            raise EngineError(f"state: {name} is {found}, expected {expected}; was it made by another model?")


def check_tokens(config: RwkvConfig, tokens: npt.ArrayLike, n_axes: int) -> npt.NDArray[np.int64]:
    """Give `tokens` as int64 with `n_axes` axes.

    Raises:
        EngineError: they are no integers, have another number of axes, or one is outside the vocabulary.
    """
    array = np.asarray(tokens)
    if array.size == 0 and array.dtype.kind == "f":
        array = array.astype(np.int64)  # An empty list has no type of its own.
    if array.dtype.kind not in "iu" or array.ndim != n_axes:
        raise EngineError(f"tokens: {array.dtype} with {array.ndim} axes, expected integers with {n_axes}")
    if array.size and (array.min() < 0 or array.max() >= config.vocab_size):
        raise EngineError(
            f"tokens: ids from {array.min()} to {array.max()}, expected 0 to {config.vocab_size - 1}; "
            "was the text encoded with another vocabulary?"
        )
    return array.astype(np.int64, copy=False)


def sigmoid(x: FloatArray) -> FloatArray:
    """Give 1 / (1 + exp(-x)), by tanh, which cannot overflow."""
    return np.asarray(0.5 * np.tanh(0.5 * x) + 0.5)


def layer_norm(x: FloatArray, weight: FloatArray, bias: FloatArray, epsilon: float) -> FloatArray:
    """Normalise the last axis of `x` to mean 0 and variance 1, then scale and shift."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + epsilon) * weight + bias)


def wkv7(
    r: FloatArray,
    w: FloatArray,
    k: FloatArray,
    v: FloatArray,
    a: FloatArray,
    b: FloatArray,
    state: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Run the recurrence S = S diag(w) + (S a) b^T + v k^T, y = S r over T tokens.

    Args:
        r: (B, T, H, N), receptance; also w, k, v, a and b.
        w: decay itself, in (0, 1), not its logarithm.
        k: key.
        v: value.
        a: removal key, -kk in a model.
        b: replacement key, kk * a in a model.
        state: (B, H, N, N), [value index, key index]; not written to.

    Returns:
        y (B, T, H, N), and the state after the last token.
    """
    y = np.empty_like(v)
    S = state.copy()
    for t in range(r.shape[1]):
        Sa = np.einsum("bhij,bhj->bhi", S, a[:, t])
        S = (
            S * w[:, t, :, None, :]
            + Sa[:, :, :, None] * b[:, t, :, None, :]
            + v[:, t, :, :, None] * k[:, t, :, None, :]
        )
        y[:, t] = np.einsum("bhij,bhj->bhi", S, r[:, t])
    return y, S


def wkv6(
    r: FloatArray, w: FloatArray, k: FloatArray, v: FloatArray, u: FloatArray, state: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Run y = S r + (sum r u k) v, then S = S diag(w) + v k^T, over T tokens.

    Args:
        r: (B, T, H, N), receptance; also w, k and v.
        w: decay itself, in [0, 1], not its logarithm.
        k: key.
        v: value.
        u: (H, N), the bonus of the current token.
        state: (B, H, N, N), [value index, key index]; not written to.

    Returns:
        y (B, T, H, N), and the state after the last token.
    """
    y = np.empty_like(v)
    S = state.copy()
    for t in range(r.shape[1]):
        bonus = (r[:, t] * u * k[:, t]).sum(axis=-1, keepdims=True)
        y[:, t] = np.einsum("bhij,bhj->bhi", S, r[:, t]) + bonus * v[:, t]
        S = S * w[:, t, :, None, :] + v[:, t, :, :, None] * k[:, t, :, None, :]
    return y, S


def _shifted(x: FloatArray, previous: FloatArray) -> FloatArray:
    """Move `x` (B, T, C) one token on, with `previous` (B, C) before the first."""
    return np.concatenate([previous[:, None], x[:, :-1]], axis=1)


def _group_norm(config: RwkvConfig, p: Mapping[str, FloatArray], y: FloatArray) -> FloatArray:
    """Norm each head of y (B, T, H, N)."""
    weight, bias = (p[f"att.ln_x.{name}"].reshape(y.shape[2:]) for name in ("weight", "bias"))
    return layer_norm(y, weight, bias, config.group_norm_epsilon)


def _goose_time_mix(
    config: RwkvConfig,
    p: Mapping[str, FloatArray],
    x: FloatArray,
    v_first: FloatArray | None,
    shift: FloatArray,
    wkv: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Run the time mix of one layer on x (B, T, C); gives its output, the values of layer 0, the new wkv."""
    heads = (*x.shape[:2], config.n_head, config.head_size)
    xx = _shifted(x, shift) - x
    xr, xw, xk, xv, xa, xg = (x + xx * p[f"att.x_{name}"] for name in "rwkvag")

    r = xr @ p["att.receptance.weight"].T
    w = np.exp(-DECAY_SCALE * sigmoid(p["att.w0"] + np.tanh(xw @ p["att.w1"]) @ p["att.w2"]))
    k = xk @ p["att.key.weight"].T
    v = xv @ p["att.value.weight"].T
    if v_first is None:
        v_first = v
    else:
        v = v + (v_first - v) * sigmoid(p["att.v0"] + (xv @ p["att.v1"]) @ p["att.v2"])
    a = sigmoid(p["att.a0"] + (xa @ p["att.a1"]) @ p["att.a2"])
    g = sigmoid(xg @ p["att.g1"]) @ p["att.g2"]

    kk = (k * p["att.k_k"]).reshape(heads)
    kk = kk / np.maximum(np.sqrt(np.square(kk).sum(axis=-1, keepdims=True)), NORM_FLOOR)
    k = (k * (1 + (a - 1) * p["att.k_a"])).reshape(heads)
    r, w, v_heads, a = (array.reshape(heads) for array in (r, w, v, a))

    y, wkv = wkv7(r, w, k, v_heads, -kk, kk * a, wkv)
    y = _group_norm(config, p, y) + (r * k * p["att.r_k"]).sum(axis=-1, keepdims=True) * v_heads
    return (y.reshape(x.shape) * g) @ p["att.output.weight"].T, v_first, wkv


def _finch_inputs(p: Mapping[str, FloatArray], x: FloatArray, previous: FloatArray) -> list[FloatArray]:
    """Give x_? of RWKV-6, (B, T, C), for w k v r g."""
    xx = previous - x
    mixed = np.tanh((x + xx * p["att.time_maa_x"]) @ p["att.time_maa_w1"])
    shares = np.split(mixed, 5, axis=-1)
    return [
        x + xx * (p[f"att.time_maa_{name}"] + share @ second)
        for name, share, second in zip("wkvrg", shares, p["att.time_maa_w2"], strict=True)
    ]


def _earlier_time_mix(
    config: RwkvConfig,
    p: Mapping[str, FloatArray],
    x: FloatArray,
    v_first: FloatArray | None,
    shift: FloatArray,
    wkv: FloatArray,
) -> tuple[FloatArray, FloatArray | None, FloatArray]:
    """Run the time mix of one layer of RWKV-6 or 5.2; as `_goose_time_mix`, `v_first` passes through."""
    heads = (*x.shape[:2], config.n_head, config.head_size)
    previous = _shifted(x, shift)
    if config.version == "x060":
        xw, xk, xv, xr, xg = _finch_inputs(p, x, previous)
        rate = p["att.time_decay"] + np.tanh(xw @ p["att.time_decay_w1"]) @ p["att.time_decay_w2"]
    else:
        xk, xv, xr, xg = (
            x * p[f"att.time_mix_{name}"] + previous * (1 - p[f"att.time_mix_{name}"]) for name in "kvrg"
        )
        rate = np.broadcast_to(p["att.time_decay"].reshape(-1), x.shape)
    r, k, v = (
        (one @ p[f"att.{name}.weight"].T).reshape(heads)
        for one, name in ((xr, "receptance"), (xk, "key"), (xv, "value"))
    )
    g = xg @ p["att.gate.weight"].T
    y, wkv = wkv6(r, np.exp(-np.exp(rate)).reshape(heads), k, v, p["att.time_faaaa"], wkv)
    y = _group_norm(config, p, y).reshape(x.shape) * (g * sigmoid(g))
    return y @ p["att.output.weight"].T, v_first, wkv


def _earlier_channel_mix(p: Mapping[str, FloatArray], x: FloatArray, shift: FloatArray) -> FloatArray:
    """Run the channel mix of one layer of RWKV-6 or 5.2 on x (B, T, C)."""
    xx = _shifted(x, shift) - x
    k_mix, r_mix = (
        p[f"ffn.time_maa_{name}"] if "ffn.time_maa_k" in p else 1 - p[f"ffn.time_mix_{name}"] for name in "kr"
    )
    value = np.square(np.maximum((x + xx * k_mix) @ p["ffn.key.weight"].T, 0)) @ p["ffn.value.weight"].T
    return np.asarray(sigmoid((x + xx * r_mix) @ p["ffn.receptance.weight"].T) * value)


def _goose_channel_mix(p: Mapping[str, FloatArray], x: FloatArray, shift: FloatArray) -> FloatArray:
    """Run the channel mix of one layer on x (B, T, C)."""
    xk = x + (_shifted(x, shift) - x) * p["ffn.x_k"]
    return np.square(np.maximum(xk @ p["ffn.key.weight"].T, 0)) @ p["ffn.value.weight"].T


def _last(x: FloatArray, previous: FloatArray) -> FloatArray:
    """Give the last token of `x` (B, T, C), or `previous` (B, C) when there is none."""
    return x[:, -1] if x.shape[1] else previous


def forward(
    config: RwkvConfig,
    tensors: Mapping[str, npt.NDArray[np.generic]],
    tokens: npt.ArrayLike,
    state: State | None = None,
    dtype: npt.DTypeLike = np.float32,
) -> tuple[FloatArray, State]:
    """Run the backbone over B sequences of T tokens.

    Args:
        config: every size of the model.
        tensors: the official names and shapes; `v0 v1 v2` of layer 0 and the language head are not read.
        tokens: integer (B, T); T may be 0.
        state: of the tokens before, or `None` at the start; not written to.
        dtype: the precision of every step: float32, or float64 for a yardstick.

    Returns:
        The hidden states after `ln_out`, `dtype` (B, T, C), and the state after the last token.

    Raises:
        EngineError: `tokens` or `state` do not fit the config.
    """
    ids = check_tokens(config, tokens, 2)
    if state is None:
        state = zero_state(config, len(ids), dtype)
    check_state(config, state, len(ids))

    def cast(prefix: str) -> dict[str, FloatArray]:
        names = [name for name in tensors if name.startswith(prefix)]
        return {name.removeprefix(prefix): np.asarray(tensors[name], dtype=dtype) for name in names}

    def norm(x: FloatArray, p: Mapping[str, FloatArray]) -> FloatArray:
        return layer_norm(x, p["weight"], p["bias"], LAYER_NORM_EPSILON)

    is_goose = config.version == "x070"
    time_mix = _goose_time_mix if is_goose else _earlier_time_mix
    channel_mix = _goose_channel_mix if is_goose else _earlier_channel_mix
    x = np.asarray(tensors["emb.weight"][ids], dtype=dtype)
    v_first: FloatArray | None = None
    attention_shift, wkv, ffn_shift = [], [], []
    for i in range(config.n_layer):
        p = cast(f"blocks.{i}.")
        if i == 0:
            x = norm(x, cast("blocks.0.ln0."))
        normed = norm(x, cast(f"blocks.{i}.ln1."))
        y, v_first, S = time_mix(config, p, normed, v_first, state.attention_shift[i], state.wkv[i])
        attention_shift.append(_last(normed, state.attention_shift[i]))
        wkv.append(S)
        x = x + y
        normed = norm(x, cast(f"blocks.{i}.ln2."))
        x = x + channel_mix(p, normed, state.ffn_shift[i])
        ffn_shift.append(_last(normed, state.ffn_shift[i]))
    hidden = norm(x, cast("ln_out."))
    return hidden, State(np.stack(attention_shift), np.stack(wkv), np.stack(ffn_shift))


def logits(tensors: Mapping[str, npt.NDArray[np.generic]], hidden: FloatArray) -> FloatArray:
    """Give the language head's logits, (…, V), for hidden states (…, C) that `forward` gave."""
    return hidden @ np.asarray(tensors["head.weight"], dtype=hidden.dtype).T
