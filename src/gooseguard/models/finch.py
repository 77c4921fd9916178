"""The blocks of RWKV-6 (x060, "Finch"): time mix and channel mix, under the official parameter names.

Letters are those of `models/rwkv.py`; u is the bonus of the current token (`time_faaaa`).

Source: Peng et al., "Eagle and Finch: RWKV with Matrix-Valued States and Dynamic Recurrence" (arXiv
2404.05892, section 4); RWKV-LM `RWKV-v5/src/model.py` (classes RWKV_Tmix_x060 and RWKV_CMix_x060) for names,
epsilons and initial values. The code is our own; `engine/reference.py` has the equations one after another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from gooseguard.models.layers import Linear, group_norm, low_rank, shift, vector
from gooseguard.models.wkv6 import wkv6

if TYPE_CHECKING:
    from gooseguard.codec.layout import RwkvConfig

MIXES = "wkvrg"
"""The data-dependent lerps, in the order `time_maa_w1` and `time_maa_w2` hold them."""


def initial_decay(config: RwkvConfig, layer: int) -> Tensor:
    """Give log(-log w) of each channel, (C,), rising from -6 to -1."""
    depth = layer / max(config.n_layer - 1, 1)
    channel = torch.arange(config.n_embd) / max(config.n_embd - 1, 1)
    return -6 + 5 * channel ** (0.7 + 1.3 * depth)


def initial_bonus(config: RwkvConfig, layer: int) -> Tensor:
    """Give the bonus of each channel, (H, N)."""
    depth = layer / max(config.n_layer - 1, 1)
    channel = torch.arange(config.n_embd)
    ramp = depth * (1 - channel / max(config.n_embd - 1, 1))
    zigzag = ((channel + 1) % 3 - 1) * 0.1
    return (ramp + zigzag).view(config.n_head, config.head_size)


class TimeMix(nn.Module):
    """The attention of RWKV-6: data-dependent token shift and decay, the WKV recurrence, a gated output."""

    SPREAD = {"receptance": 0.5, "key": 0.05, "value": 0.5, "output": 0.0, "gate": 0.05}  # noqa: RUF012  (never changed)
    """Half the range of each matrix's initial values, times the square root of C."""

    def __init__(self, config: RwkvConfig, layer: int) -> None:
        super().__init__()
        C, D = config.n_embd, config.rank_mix
        self.config, self.layer = config, layer
        self.n_head, self.head_size = config.n_head, config.head_size
        self.recurrence = wkv6
        for name in ("x", *MIXES):
            setattr(self, f"time_maa_{name}", vector(1, 1, C))
        self.time_maa_w1 = vector(C, len(MIXES) * D)
        self.time_maa_w2 = vector(len(MIXES), D, C)
        self.time_decay = vector(1, 1, C)
        self.time_decay_w1 = vector(C, config.rank_w)
        self.time_decay_w2 = vector(config.rank_w, C)
        self.time_faaaa = vector(config.n_head, config.head_size)
        self.receptance = Linear(C, C)
        self.key = Linear(C, C)
        self.value = Linear(C, C)
        self.output = Linear(C, C)
        self.gate = Linear(C, C)
        self.ln_x = nn.GroupNorm(config.n_head, C, eps=config.group_norm_epsilon)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Set everything but the matrices and the norm."""
        C, layer, n_layer = self.config.n_embd, self.layer, self.config.n_layer
        fade, depth = 1 - layer / n_layer, layer / max(n_layer - 1, 1)
        channel = torch.arange(C) / C
        for name in ("x", *MIXES):
            lerp = 1 - channel ** (fade * (0.5 if name in "rg" else 1.0))
            getattr(self, f"time_maa_{name}").copy_(lerp - 0.3 * depth if name == "v" else lerp)
        self.time_decay.copy_(initial_decay(self.config, layer))
        self.time_faaaa.copy_(initial_bonus(self.config, layer))
        for first, second in (
            (self.time_maa_w1, self.time_maa_w2),
            (self.time_decay_w1, self.time_decay_w2),
        ):
            nn.init.zeros_(first)
            nn.init.uniform_(second, -1e-2, 1e-2, generator=generator)

    def _mixed(self, x: Tensor, before: Tensor) -> list[Tensor]:
        """Give x lerped towards the token before, (B, T, C), once for each of MIXES."""
        B, T, C = x.shape
        delta = shift(x, before) - x
        own_mix, *own = (getattr(self, f"time_maa_{name}") for name in ("x", *MIXES))
        mixed = torch.addcmul(x, delta, own_mix)
        h = torch.tanh(mixed.to(self.time_maa_w1.dtype) @ self.time_maa_w1)
        h = h.view(B * T, len(MIXES), -1).transpose(0, 1)
        shares = torch.bmm(h, self.time_maa_w2).float().view(len(MIXES), B, T, C)
        return [torch.addcmul(x, delta, one + share) for one, share in zip(own, shares, strict=True)]

    def forward(
        self, x: Tensor, before: Tensor, state: Tensor, v_first: Tensor | None, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Mix along time; arguments and returns as those of `goose.TimeMix`; `v_first` passes through."""
        heads = (*x.shape[:2], self.n_head, self.head_size)
        xw, xk, xv, xr, xg = self._mixed(x, before)
        r, k, v = self.receptance(xr).float(), self.key(xk).float(), self.value(xv).float()
        gate = functional.silu(self.gate(xg).float())
        rate = self.time_decay + low_rank(xw, self.time_decay_w1, self.time_decay_w2, "tanh")
        # Padding leaves the state as it is: no decay, nothing written.
        y, state = self.recurrence(
            r.view(heads),
            (-torch.exp(rate) * mask).view(heads),
            (k * mask).view(heads),
            v.view(heads),
            self.time_faaaa,
            state,
        )
        return self.output(group_norm(self.ln_x, y) * gate).float(), state, v_first


class ChannelMix(nn.Module):
    """The feed-forward of RWKV-6: token shift, squared ReLU, a gate of its own."""

    SHARES = "time_maa"
    """What the names of the lerps' shares begin with."""

    def __init__(self, config: RwkvConfig, layer: int) -> None:
        super().__init__()
        C = config.n_embd
        self.config, self.layer = config, layer
        for name in "kr":
            setattr(self, f"{self.SHARES}_{name}", vector(1, 1, C))
        self.key = Linear(C, config.n_ffn)
        self.receptance = Linear(C, C)
        self.value = Linear(config.n_ffn, C)

    @torch.no_grad()
    def initialise(self) -> None:
        """Set everything but the matrices."""
        fade = 1 - self.layer / self.config.n_layer
        own = (torch.arange(self.config.n_embd) / self.config.n_embd) ** fade
        for name in "kr":
            getattr(self, f"{self.SHARES}_{name}").copy_(self.share(own))

    @staticmethod
    def share(own: Tensor) -> Tensor:
        """Give the parameter that takes the share `own` of the token itself: here, that of the one before."""
        return 1 - own

    @staticmethod
    def lerp(x: Tensor, previous: Tensor, share: Tensor) -> Tensor:
        """Mix a token with the one before it."""
        return torch.lerp(x, previous, share)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        """Mix along channels: x (B, T, C) layer-normed, `before` (B, C) the row before the first."""
        previous = shift(x, before)
        xk, xr = (self.lerp(x, previous, getattr(self, f"{self.SHARES}_{name}")) for name in "kr")
        value: Tensor = self.value(torch.relu(self.key(xk)).square())
        return torch.sigmoid(self.receptance(xr).float()) * value.float()
