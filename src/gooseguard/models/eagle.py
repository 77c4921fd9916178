"""The blocks of RWKV-5.2 (x052, "Eagle"): time mix and channel mix, under the official parameter names.

Letters are those of `models/rwkv.py`; u is the bonus of the current token (`time_faaaa`).

Source: Peng et al., "Eagle and Finch: RWKV with Matrix-Valued States and Dynamic Recurrence" (arXiv
2404.05892, section 3); RWKV-LM `RWKV-v5/src/model.py` (classes RWKV_TimeMix_RWKV5 and RWKV_ChannelMix) for
names and initial values. The code is our own; `engine/reference.py` has the equations one after another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from gooseguard.models import finch
from gooseguard.models.layers import Linear, group_norm, shift, vector
from gooseguard.models.wkv6 import wkv6

if TYPE_CHECKING:
    from gooseguard.codec.layout import RwkvConfig


class TimeMix(nn.Module):
    """The attention of RWKV-5.2: token shift, one decay a channel, the WKV recurrence, a gated output."""

    SPREAD = {"receptance": 0.5, "key": 0.05, "value": 0.5, "output": 0.0, "gate": 0.05}  # noqa: RUF012  (never changed)
    """Half the range of each matrix's initial values, times the square root of C."""

    def __init__(self, config: RwkvConfig, layer: int) -> None:
        super().__init__()
        C = config.n_embd
        self.config, self.layer = config, layer
        self.n_head, self.head_size = config.n_head, config.head_size
        self.recurrence = wkv6
        self.time_mix_k = vector(1, 1, C)
        self.time_mix_v = vector(1, 1, C)
        self.time_mix_r = vector(1, 1, C)
        self.time_mix_g = vector(1, 1, C)
        self.time_decay = vector(config.n_head, config.head_size)
        self.time_faaaa = vector(config.n_head, config.head_size)
        self.receptance = Linear(C, C)
        self.key = Linear(C, C)
        self.value = Linear(C, C)
        self.output = Linear(C, C)
        self.gate = Linear(C, C)
        self.ln_x = nn.GroupNorm(config.n_head, C, eps=config.group_norm_epsilon)

    @torch.no_grad()
    def initialise(self, _generator: torch.Generator) -> None:
        """Set everything but the matrices and the norm."""
        layer, n_layer = self.layer, self.config.n_layer
        fade, depth = 1 - layer / n_layer, layer / max(n_layer - 1, 1)
        channel = torch.arange(self.config.n_embd) / self.config.n_embd
        # Shares of the token itself, not of the one before as in the later versions.
        self.time_mix_k.copy_(channel**fade)
        self.time_mix_v.copy_(channel**fade + 0.3 * depth)
        self.time_mix_r.copy_(channel ** (0.5 * fade))
        self.time_mix_g.copy_(channel ** (0.5 * fade))
        self.time_decay.copy_(finch.initial_decay(self.config, layer).view_as(self.time_decay))
        self.time_faaaa.copy_(finch.initial_bonus(self.config, layer))

    def forward(
        self, x: Tensor, before: Tensor, state: Tensor, v_first: Tensor | None, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Mix along time; arguments and returns as those of `goose.TimeMix`; `v_first` passes through."""
        heads = (*x.shape[:2], self.n_head, self.head_size)
        previous = shift(x, before)
        xk, xv, xr, xg = (torch.lerp(previous, x, getattr(self, f"time_mix_{name}")) for name in "kvrg")
        r, k, v = self.receptance(xr).float(), self.key(xk).float(), self.value(xv).float()
        gate = functional.silu(self.gate(xg).float())
        # Padding leaves the state as it is: no decay, nothing written.
        y, state = self.recurrence(
            r.view(heads),
            -torch.exp(self.time_decay) * mask.unsqueeze(-1),
            (k * mask).view(heads),
            v.view(heads),
            self.time_faaaa,
            state,
        )
        return self.output(group_norm(self.ln_x, y) * gate).float(), state, v_first


class ChannelMix(finch.ChannelMix):
    """The feed-forward of RWKV-5.2: that of RWKV-6, with shares of the token itself."""

    SHARES = "time_mix"

    @staticmethod
    def share(own: Tensor) -> Tensor:
        """Give the parameter that takes the share `own` of the token itself."""
        return own

    @staticmethod
    def lerp(x: Tensor, previous: Tensor, share: Tensor) -> Tensor:
        """Mix a token with the one before it."""
        return torch.lerp(previous, x, share)
