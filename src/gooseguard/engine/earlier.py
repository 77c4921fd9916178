"""The two halves of a layer of RWKV-6 and RWKV-5.2 over a packed unit: what `blocks` is to RWKV-7.

The recurrence goes a token at a time, over all sequences and heads of the unit at once: a decay of RWKV-6
may be near 0, so that products of decays cannot be divided out again as those of RWKV-7 are (`wkv`). Letters
as in `reference`; T counts the tokens of all sequences of a unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gooseguard.engine.blocks import Norm, Tensors, Unit, matrix, normalise, transposed, vector

if TYPE_CHECKING:
    from collections.abc import Callable

    from gooseguard.codec.layout import RwkvConfig
    from gooseguard.engine.packing import Layout
    from gooseguard.engine.scratch import Float32Array, Scratch

_HALF = np.float32(0.5)

LARGEST_RATE = np.float32(80.0)
"""A decay exp(-exp(rate)) of any larger one is 0 all the same, and exp(rate) would overflow."""

MIXES = "wkvrg"
"""The lerps of RWKV-6 that depend on the token, in the order that its tensors hold them."""


@dataclass(frozen=True, slots=True)
class DynamicMix:
    """What a token of RWKV-6 adds to its lerps and how it decays the state."""

    lerp: Float32Array
    """(C,), of the input of `down`."""
    down: Float32Array
    """(C, 5 D)."""
    up: Float32Array
    """(5, D, C), for each of MIXES."""
    decay_down: Float32Array
    """(C, rank)."""
    decay_up: Float32Array
    """(rank, C)."""
    decay_bias: Float32Array
    """(C,)."""

    @classmethod
    def read(cls, tensors: Tensors, att: str) -> DynamicMix:
        """Read that of the time mix whose names begin with `att`."""
        return cls(
            lerp=vector(tensors, f"{att}time_maa_x"),
            down=matrix(tensors, f"{att}time_maa_w1"),
            up=matrix(tensors, f"{att}time_maa_w2"),
            decay_down=matrix(tensors, f"{att}time_decay_w1"),
            decay_up=matrix(tensors, f"{att}time_decay_w2"),
            decay_bias=vector(tensors, f"{att}time_decay"),
        )


@dataclass(frozen=True, slots=True)
class EarlierLayer:
    """The weights of one block; matrices are (in, out) and in that order in memory."""

    ln1: Norm
    """Before the time mix."""
    ln2: Norm
    """Before the channel mix."""
    ln_x: Norm
    """Group norm of the heads."""
    epsilon: float
    """Of that one."""
    lerps: dict[str, Float32Array]
    """(C,) for each of k v r g, and w in RWKV-6: how far to move towards the token before."""
    dynamic: DynamicMix | None
    """In RWKV-6."""
    decay: Float32Array | None
    """(C,), in RWKV-5.2."""
    bonus: Float32Array
    """(H, N)."""
    receptance: Float32Array
    """(C, C)."""
    key: Float32Array
    """(C, C)."""
    value: Float32Array
    """(C, C)."""
    gate: Float32Array
    """(C, C)."""
    output: Float32Array
    """(C, C)."""
    ffn_lerps: dict[str, Float32Array]
    """(C,) for k and r."""
    ffn_key: Float32Array
    """(C, F)."""
    ffn_value: Float32Array
    """(F, C)."""
    ffn_receptance: Float32Array
    """(C, C)."""

    @classmethod
    def read(cls, config: RwkvConfig, tensors: Tensors, i: int) -> EarlierLayer:
        """Read block `i`; copies its matrices."""
        block, att, ffn = f"blocks.{i}.", f"blocks.{i}.att.", f"blocks.{i}.ffn."
        is_finch = config.version == "x060"

        def lerp(prefix: str, name: str) -> Float32Array:
            if is_finch:
                return vector(tensors, f"{prefix}time_maa_{name}")
            # RWKV-5.2 stores the share of the token itself.
            return np.float32(1.0) - vector(tensors, f"{prefix}time_mix_{name}")

        rates = vector(tensors, f"{att}time_decay").astype(np.float64)
        return cls(
            ln1=Norm.read(tensors, f"{block}ln1"),
            ln2=Norm.read(tensors, f"{block}ln2"),
            ln_x=Norm.read(tensors, f"{att}ln_x"),
            epsilon=config.group_norm_epsilon,
            lerps={name: lerp(att, name) for name in (MIXES if is_finch else "kvrg")},
            dynamic=DynamicMix.read(tensors, att) if is_finch else None,
            decay=None if is_finch else np.exp(-np.exp(rates)).astype(np.float32),
            bonus=matrix(tensors, f"{att}time_faaaa"),
            receptance=transposed(tensors, f"{att}receptance.weight"),
            key=transposed(tensors, f"{att}key.weight"),
            value=transposed(tensors, f"{att}value.weight"),
            gate=transposed(tensors, f"{att}gate.weight"),
            output=transposed(tensors, f"{att}output.weight"),
            ffn_lerps={name: lerp(ffn, name) for name in "kr"},
            ffn_key=transposed(tensors, f"{ffn}key.weight"),
            ffn_value=transposed(tensors, f"{ffn}value.weight"),
            ffn_receptance=transposed(tensors, f"{ffn}receptance.weight"),
        )


def wkv6_packed(
    r: Float32Array,
    w: Float32Array,
    k: Float32Array,
    v: Float32Array,
    u: Float32Array,
    layout: Layout,
    state: Float32Array,
    scratch: Scratch,
) -> Float32Array:
    """Run the recurrence over all sequences of a unit: what `reference.wkv6` gives, up to float rounding.

    Args:
        r: (T, C), packed, a head's N columns side by side; also k and v.
        w: decay itself, in [0, 1]: (T, C), or (1, C) where it is the same for every token.
        k: key.
        v: value.
        u: (H, N), the bonus of the current token.
        layout: where the tokens lie.
        state: (sequences, H, N, N), [key index, value index]; becomes the state after the last token.
        scratch: working memory.

    Returns:
        y, (T, C), scratch memory.
    """
    n, H, N, _ = state.shape
    heads = (-1, H, N)
    r, w, k, v = r.reshape(heads), w.reshape(heads), k.reshape(heads), v.reshape(heads)
    y = scratch("wkv.y", len(r), H, N)
    own = np.einsum("thn,hn,thn->th", r, u, k)
    np.multiply(v, own[:, :, None], out=y)
    written = scratch("wkv.written", n, H, N, N)
    lengths = layout.ends - layout.starts + 1
    for t in range(int(lengths[0])):
        # By falling length: those that have a token left come first.
        active = int(np.count_nonzero(lengths > t))
        rows, S = layout.starts[:active] + t, state[:active]
        y[rows] += np.matmul(r[rows][:, :, None], S)[:, :, 0]
        S *= w[rows if len(w) > 1 else slice(0, 1), :, :, None]
        S += np.multiply(k[rows][..., None], v[rows][:, :, None], out=written[:active])
    return y.reshape(len(y), H * N)


def time_mix(
    layer: EarlierLayer, x: Float32Array, xx: Float32Array, wkv: Float32Array, unit: Unit
) -> Float32Array:
    """Run the time mix of one layer.

    Args:
        layer: its weights.
        x: (T, C), normalised input.
        xx: (T, C), the token before minus the token.
        wkv: (sequences, H, N, N), the heads' memory, [key index, value index]; updated.
        unit: what is worked on, and in which memory.

    Returns:
        The output (T, C) to add to the residual, scratch memory.
    """
    T, C = x.shape
    scratch = unit.scratch
    mixed = scratch("mixed", T, C)
    shares = _shares(layer, x, xx, scratch)

    def lerp(name: str) -> Float32Array:
        if layer.dynamic is None or shares is None:
            np.multiply(xx, layer.lerps[name], out=mixed)
        else:
            place = MIXES.index(name)
            rank = layer.dynamic.up.shape[1]
            np.matmul(shares[:, place * rank : (place + 1) * rank], layer.dynamic.up[place], out=mixed)
            np.add(mixed, layer.lerps[name], out=mixed)
            np.multiply(mixed, xx, out=mixed)
        return np.add(mixed, x, out=mixed)

    r = np.matmul(lerp("r"), layer.receptance, out=scratch("r", T, C))
    k = np.matmul(lerp("k"), layer.key, out=scratch("k", T, C))
    v = np.matmul(lerp("v"), layer.value, out=scratch("v", T, C))
    g = np.matmul(lerp("g"), layer.gate, out=scratch("g", T, C))
    w = _decays(layer, lerp, scratch) if layer.decay is None else layer.decay[None]
    if unit.is_fresh:
        wkv[:] = 0.0
    y = wkv6_packed(r, w, k, v, layer.bonus, unit.layout, wkv, scratch)
    normalise(y, layer.ln_x, y, layer.epsilon, wkv.shape[1])
    y *= g
    y *= _sigmoid(g)
    return np.matmul(y, layer.output, out=mixed)


def _shares(layer: EarlierLayer, x: Float32Array, xx: Float32Array, scratch: Scratch) -> Float32Array | None:
    """Give what tokens of RWKV-6 add to their lerps, (T, 5 D), before it is spread over the channels."""
    if layer.dynamic is None:
        return None
    own = np.multiply(xx, layer.dynamic.lerp, out=scratch("own", *x.shape))
    own += x
    shares = np.matmul(own, layer.dynamic.down, out=scratch("shares", len(x), layer.dynamic.down.shape[1]))
    return np.tanh(shares, out=shares)


def _decays(layer: EarlierLayer, lerp: Callable[[str], Float32Array], scratch: Scratch) -> Float32Array:
    """Give the decays of tokens of RWKV-6, (T, C)."""
    assert layer.dynamic is not None
    x = lerp("w")
    inner = np.matmul(
        x, layer.dynamic.decay_down, out=scratch("rank", len(x), layer.dynamic.decay_down.shape[1])
    )
    np.tanh(inner, out=inner)
    rate = np.matmul(inner, layer.dynamic.decay_up, out=scratch("w", *x.shape))
    rate += layer.dynamic.decay_bias
    np.minimum(rate, LARGEST_RATE, out=rate)
    np.exp(rate, out=rate)
    return np.exp(np.negative(rate, out=rate), out=rate)


def _sigmoid(x: Float32Array) -> Float32Array:
    """Write the sigmoid of `x` over it."""
    x *= _HALF
    np.tanh(x, out=x)
    x *= _HALF
    x += _HALF
    return x


def channel_mix(layer: EarlierLayer, x: Float32Array, xx: Float32Array, scratch: Scratch) -> Float32Array:
    """Run the channel mix on `x` and the difference `xx` (T, C); gives scratch memory for the residual."""
    T, C = x.shape
    mixed = np.multiply(xx, layer.ffn_lerps["k"], out=scratch("mixed", T, C))
    mixed += x
    inner = np.matmul(mixed, layer.ffn_key, out=scratch("ffn", T, layer.ffn_key.shape[1]))
    np.maximum(inner, np.float32(0.0), out=inner)
    np.multiply(inner, inner, out=inner)
    value = np.matmul(inner, layer.ffn_value, out=scratch("v", T, C))
    np.multiply(xx, layer.ffn_lerps["r"], out=mixed)
    mixed += x
    receptance = np.matmul(mixed, layer.ffn_receptance, out=scratch("r", T, C))
    value *= _sigmoid(receptance)
    return value
