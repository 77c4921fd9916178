"""The WKV recurrences by the fused GPU kernels of flash-linear-attention, for models that ask for them.

A model trains and runs on a GPU as it does on a CPU, by matrix products; `fuse` replaces the recurrence of
every layer with one kernel, in bfloat16 with a float32 state. Never chosen by itself: it rounds otherwise.

The kernels are of fla-core 0.6 (MIT; `pip install 'gooseguard[gpu]'`), used through their public functions.
What they are given is what the library's own definitions in PyTorch want; the kernels themselves have not
been run: no machine of this project has had a GPU. tests/models/test_fused.py has both tests, marked `gpu`.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import torch

from gooseguard.core.errors import EngineError
from gooseguard.models.rwkv import Block, Rwkv
from gooseguard.models.wkv import wkv7
from gooseguard.models.wkv6 import wkv6

if TYPE_CHECKING:
    from torch import Tensor


def fuse(model: Rwkv) -> Rwkv:
    """Let every layer of a model on a GPU use the fused kernel; gives the same model.

    Raises:
        EngineError: flash-linear-attention is not installed, or the model is on another device.
    """
    if importlib.util.find_spec("fla") is None:
        raise EngineError("flash-linear-attention is not installed; pip install 'gooseguard[gpu]'")
    device = model.emb.weight.device
    if device.type != "cuda":
        raise EngineError(f"fused kernels need a GPU, the model is on {device}; move it first, or leave it")
    for block in model.blocks:
        assert isinstance(block, Block)
        block.att.recurrence = fused_wkv7 if model.config.version == "x070" else fused_wkv6
    return model


def fused_wkv7(
    r: Tensor,
    log_w: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run what `wkv.wkv7` runs, with r k v a b rounded to bfloat16; arguments and returns as there.

    Source: `fla.ops.rwkv7.chunk_rwkv7` of fla-core 0.6.0; its state is key index by value index.
    """
    if r.shape[1] < 2:
        return wkv7(r, log_w, k, v, a, b, state)
    from fla.ops.rwkv7 import chunk_rwkv7  # noqa: PLC0415

    r, k, v, a, b = (x.to(torch.bfloat16) for x in (r, k, v, a, b))
    y, after = chunk_rwkv7(
        r=r,
        w=log_w,
        k=k,
        v=v,
        a=a,
        b=b,
        scale=1.0,
        initial_state=None if state is None else state.transpose(-1, -2).contiguous(),
        output_final_state=True,
    )
    return y.float(), after.float().transpose(-1, -2)


def fused_wkv6(
    r: Tensor, log_w: Tensor, k: Tensor, v: Tensor, u: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run what `wkv6.wkv6` runs, with r k v u rounded to bfloat16; arguments and returns as there.

    Source: `fla.ops.rwkv6.chunk_rwkv6` of fla-core 0.6.0; its state is key index by value index.
    """
    if r.shape[1] < 2:
        return wkv6(r, log_w, k, v, u, state)
    from fla.ops.rwkv6 import chunk_rwkv6  # noqa: PLC0415

    r, k, v, u = (x.to(torch.bfloat16) for x in (r, k, v, u))
    y, after = chunk_rwkv6(
        r=r,
        k=k,
        v=v,
        w=log_w.expand(r.shape).contiguous(),
        u=u,
        scale=1.0,
        initial_state=None if state is None else state.transpose(-1, -2).contiguous(),
        output_final_state=True,
    )
    return y.float(), after.float().transpose(-1, -2)
