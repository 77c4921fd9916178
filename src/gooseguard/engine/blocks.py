"""The two halves of an RWKV-7 layer over a packed unit: weights made ready, and the steps in place.

Every step writes into scratch memory; a sigmoid is 0.5 tanh(x / 2) + 0.5, which cannot overflow, its inner
half folded into the weights. Letters as in `reference`; T counts the tokens of all sequences of a unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from gooseguard.codec.layout import GROUP_NORM_EPSILON
from gooseguard.engine.reference import DECAY_SCALE, NORM_FLOOR
from gooseguard.engine.wkv import WkvInputs, wkv7_chunked

if TYPE_CHECKING:
    from gooseguard.engine.packing import Layout
    from gooseguard.engine.scratch import Float32Array, Scratch

_HALF = np.float32(0.5)

Tensors = Mapping[str, npt.NDArray[np.generic]]
"""Official names to arrays."""


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer norm's scale and shift."""

    weight: Float32Array
    """(C,)."""
    bias: Float32Array
    """(C,)."""

    @classmethod
    def read(cls, tensors: Tensors, prefix: str) -> Norm:
        """Read `{prefix}.weight` and `{prefix}.bias`."""
        return cls(vector(tensors, f"{prefix}.weight"), vector(tensors, f"{prefix}.bias"))


@dataclass(frozen=True, slots=True)
class Unit:
    """What is worked on at once, and in which memory."""

    layout: Layout
    """Where the tokens of its sequences lie."""
    scratch: Scratch
    """Working memory."""
    is_fresh: bool
    """Whether every sequence begins here."""
    is_kept: bool
    """Whether the recurrent state afterwards is wanted."""


@dataclass(frozen=True, slots=True)
class LowRank:
    """A low-rank projection with a bias: x down, an activation, then up."""

    down: Float32Array
    """(C, rank)."""
    up: Float32Array
    """(rank, C)."""
    bias: Float32Array
    """(C,); not used by the gate."""
    inner: Literal["none", "tanh", "sigmoid"]
    """The activation."""

    @classmethod
    def read(cls, tensors: Tensors, prefix: str, inner: Literal["none", "tanh"] = "none") -> LowRank:
        """Read one whose outcome goes through a sigmoid: `{prefix}1`, half of `{prefix}2` and `{prefix}0`."""
        up, bias = _HALF * matrix(tensors, f"{prefix}2"), _HALF * vector(tensors, f"{prefix}0")
        return cls(matrix(tensors, f"{prefix}1"), up, bias, inner)

    @classmethod
    def read_gate(cls, tensors: Tensors, prefix: str) -> LowRank:
        """Read the gate, which has its sigmoid inside: half of `{prefix}1`, and `{prefix}2`."""
        up = matrix(tensors, f"{prefix}2")
        return cls(_HALF * matrix(tensors, f"{prefix}1"), up, np.zeros(up.shape[1], np.float32), "sigmoid")


@dataclass(frozen=True, slots=True)
class Layer:
    """The weights of one block; matrices are (in, out) and in that order in memory.

    As stored, (out, in), a product with the 50 tokens of a short text takes 1.3 times as long.
    """

    ln1: Norm
    """Before the time mix."""
    ln2: Norm
    """Before the channel mix."""
    ln_x: Norm
    """Group norm of the heads."""
    lerps: dict[str, Float32Array]
    """(C,) for each of r w k v a g: how far to move towards the token before."""
    receptance: Float32Array
    """(C, C)."""
    key: Float32Array
    """(C, C)."""
    value: Float32Array
    """(C, C)."""
    output: Float32Array
    """(C, C)."""
    decay: LowRank
    """Decay."""
    rate: LowRank
    """In-context learning rate."""
    residual: LowRank | None
    """Value residual; `None` in layer 0."""
    gate: LowRank
    """Gate."""
    k_k: Float32Array
    """(C,)."""
    k_a: Float32Array
    """(C,)."""
    k_a_rest: Float32Array
    """(C,): 1 - k_a."""
    r_k: Float32Array
    """(C,)."""
    ffn_lerp: Float32Array
    """(C,)."""
    ffn_key: Float32Array
    """(C, F)."""
    ffn_value: Float32Array
    """(F, C)."""
    zeros: Float32Array
    """(F,): NumPy's maximum of two arrays is several times as fast as that of an array and a number."""

    @classmethod
    def read(cls, tensors: Tensors, i: int) -> Layer:
        """Read block `i`; copies its matrices."""
        block, att, ffn = f"blocks.{i}.", f"blocks.{i}.att.", f"blocks.{i}.ffn."
        ffn_key = transposed(tensors, f"{ffn}key.weight")
        return cls(
            ln1=Norm.read(tensors, f"{block}ln1"),
            ln2=Norm.read(tensors, f"{block}ln2"),
            ln_x=Norm.read(tensors, f"{att}ln_x"),
            lerps={name: vector(tensors, f"{att}x_{name}") for name in "rwkvag"},
            receptance=transposed(tensors, f"{att}receptance.weight"),
            key=transposed(tensors, f"{att}key.weight"),
            value=transposed(tensors, f"{att}value.weight"),
            output=transposed(tensors, f"{att}output.weight"),
            decay=LowRank.read(tensors, f"{att}w", "tanh"),
            rate=LowRank.read(tensors, f"{att}a"),
            residual=LowRank.read(tensors, f"{att}v") if i else None,
            gate=LowRank.read_gate(tensors, f"{att}g"),
            k_k=vector(tensors, f"{att}k_k"),
            k_a=vector(tensors, f"{att}k_a"),
            k_a_rest=np.float32(1.0) - vector(tensors, f"{att}k_a"),
            r_k=vector(tensors, f"{att}r_k"),
            ffn_lerp=vector(tensors, f"{ffn}x_k"),
            ffn_key=ffn_key,
            ffn_value=transposed(tensors, f"{ffn}value.weight"),
            zeros=np.zeros(ffn_key.shape[1], np.float32),
        )


def matrix(tensors: Tensors, name: str) -> Float32Array:
    """Give a tensor as it is stored, in C order."""
    return np.ascontiguousarray(tensors[name], dtype=np.float32)


def transposed(tensors: Tensors, name: str) -> Float32Array:
    """Give a matrix that is stored (out, in) as (in, out), in C order."""
    return np.ascontiguousarray(np.asarray(tensors[name], dtype=np.float32).T)


def vector(tensors: Tensors, name: str) -> Float32Array:
    """Give a tensor as one axis."""
    return matrix(tensors, name).reshape(-1)


def normalise(
    x: Float32Array, norm: Norm, out: Float32Array, epsilon: float, n_groups: int = 1
) -> Float32Array:
    """Normalise each of `n_groups` parts of each row of `x` (T, C), scale and shift; written to `out`."""
    width = x.shape[1] // n_groups
    parts, out_parts = x.reshape(-1, width), out.reshape(-1, width)
    mean = parts @ np.full(width, 1.0 / width, dtype=np.float32)
    np.subtract(parts, mean[:, None], out=out_parts)
    scale = np.einsum("tc,tc->t", out_parts, out_parts)
    scale *= np.float32(1.0 / width)
    scale += np.float32(epsilon)
    np.divide(np.float32(1.0), np.sqrt(scale, out=scale), out=scale)
    out_parts *= scale[:, None]
    out *= norm.weight
    out += norm.bias
    return out


def shift_difference(x: Float32Array, previous: Float32Array, layout: Layout, out: Float32Array) -> None:
    """Write the token before minus the token to `out` (T, C); `previous` (sequences, C) comes first."""
    np.subtract(x[:-1], x[1:], out=out[1:])
    out[layout.starts] = previous - x[layout.starts]


def time_mix(
    layer: Layer,
    x: Float32Array,
    xx: Float32Array,
    v_first: Float32Array | None,
    wkv: Float32Array,
    unit: Unit,
) -> tuple[Float32Array, Float32Array]:
    """Run the time mix of one layer.

    Args:
        layer: its weights.
        x: (T, C), normalised input.
        xx: (T, C), the token before minus the token.
        v_first: (T, C), the values of layer 0, or `None` in layer 0.
        wkv: (sequences, H, N, N), the heads' memory, [key index, value index]; updated as `unit` says.
        unit: what is worked on, and in which memory.

    Returns:
        The output (T, C) to add to the residual, and the values of layer 0; both scratch memory.
    """
    T, C = x.shape
    scratch = unit.scratch
    mixed = scratch("mixed", T, C)

    def lerp(name: str) -> Float32Array:
        np.multiply(xx, layer.lerps[name], out=mixed)
        return np.add(mixed, x, out=mixed)

    r = np.matmul(lerp("r"), layer.receptance, out=scratch("r", T, C))
    k = np.matmul(lerp("k"), layer.key, out=scratch("k", T, C))
    v = np.matmul(lerp("v"), layer.value, out=scratch("v_first" if v_first is None else "v", T, C))
    spare = scratch("spare", T, C)
    if v_first is None or layer.residual is None:
        v_first = v
    else:
        share = _scaled_sigmoid(layer.residual, mixed, 1.0, scratch, "share")
        np.subtract(v_first, v, out=spare)
        spare *= share
        v += spare
    log_w = _scaled_sigmoid(layer.decay, lerp("w"), -DECAY_SCALE, scratch, "log_w")
    negative_rate = _scaled_sigmoid(layer.rate, lerp("a"), -1.0, scratch, "rate")
    removal = _removal_key(layer, k, wkv.shape[1], scratch)
    np.multiply(negative_rate, layer.k_a, out=spare)
    np.subtract(layer.k_a_rest, spare, out=spare)
    k *= spare
    replacement = np.multiply(removal, negative_rate, out=negative_rate)

    y = wkv7_chunked(
        WkvInputs(r, log_w, k, v, removal, replacement),
        unit.layout,
        wkv,
        scratch,
        is_fresh=unit.is_fresh,
        is_kept=unit.is_kept,
    )
    _read_out(layer, y, r, k, v, wkv.shape[1])
    gate = _low_rank(layer.gate, lerp("g"), scratch)
    y *= gate
    return np.matmul(y, layer.output, out=mixed), v_first


def _low_rank(weights: LowRank, x: Float32Array, scratch: Scratch, name: str = "spare") -> Float32Array:
    """Give the projection of `x` (T, C) in the scratch memory `name`, its inner activation applied."""
    T, C = x.shape
    inner = np.matmul(x, weights.down, out=scratch("rank", T, weights.down.shape[1]))
    if weights.inner != "none":
        np.tanh(inner, out=inner)
    if weights.inner == "sigmoid":
        inner *= _HALF
        inner += _HALF
    return np.matmul(inner, weights.up, out=scratch(name, T, C))


def _scaled_sigmoid(
    weights: LowRank, x: Float32Array, scale: float, scratch: Scratch, name: str
) -> Float32Array:
    """Give `scale` times the sigmoid of the projection; the weights hold half of it."""
    z = _low_rank(weights, x, scratch, name)
    z += weights.bias
    np.tanh(z, out=z)
    z *= np.float32(0.5 * scale)
    z += np.float32(0.5 * scale)
    return z


def _removal_key(layer: Layer, k: Float32Array, n_head: int, scratch: Scratch) -> Float32Array:
    """Give -kk: the keys times k_k, each head of each token at length 1, negative."""
    T, C = k.shape
    removal = np.multiply(k, layer.k_k, out=scratch("removal", T, C))
    heads = removal.reshape(T * n_head, -1)
    length = np.sqrt(np.einsum("tn,tn->t", heads, heads))
    np.maximum(length, np.float32(NORM_FLOOR), out=length)
    heads *= np.divide(np.float32(-1.0), length, out=length)[:, None]
    return removal


def _read_out(
    layer: Layer, y: Float32Array, r: Float32Array, k: Float32Array, v: Float32Array, n_head: int
) -> None:
    """Normalise the heads of `y` (T, C) and add each token's own value to it; writes over `r` too."""
    normalise(y, layer.ln_x, y, GROUP_NORM_EPSILON, n_head)
    r *= k
    r *= layer.r_k
    N = y.shape[1] // n_head
    heads = r.reshape(-1, N)
    own = heads @ np.ones(N, dtype=np.float32)
    np.multiply(v.reshape(-1, N), own[:, None], out=heads)
    y += r


def channel_mix(layer: Layer, x: Float32Array, xx: Float32Array, scratch: Scratch) -> Float32Array:
    """Run the channel mix on `x` and the difference `xx` (T, C); gives scratch memory for the residual."""
    T, C = x.shape
    mixed = np.multiply(xx, layer.ffn_lerp, out=scratch("mixed", T, C))
    mixed += x
    inner = np.matmul(mixed, layer.ffn_key, out=scratch("ffn", T, layer.ffn_key.shape[1]))
    np.maximum(inner, layer.zeros, out=inner)
    np.multiply(inner, inner, out=inner)
    return np.matmul(inner, layer.ffn_value, out=mixed)
