"""The blocks of RWKV-7 (x070, "Goose"): time mix and channel mix, under the official parameter names.

Letters are those of `models/rwkv.py`.

Source: RWKV-7 "Goose" (arXiv 2503.14456); RWKV-LM `RWKV-v7/rwkv_v7_demo.py` for names, epsilons and initial
values. The code is our own; `engine/reference.py` has the equations one after another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from gooseguard.models.layers import Linear, group_norm, low_rank, shift, vector
from gooseguard.models.wkv import wkv7

if TYPE_CHECKING:
    from gooseguard.codec.layout import RwkvConfig

DECAY_SCALE = -0.606531
"""-exp(-1/2): the most a logarithmic decay can reach. Source: arXiv 2503.14456, equation for w_t."""

ACTIVATIONS = {"w": "tanh", "a": None, "v": None, "g": "sigmoid"}
"""Between the two factors of each low-rank map."""


class TimeMix(nn.Module):
    """The attention of RWKV-7: token shift, six lerps, the WKV-7 recurrence, a gated output."""

    SPREAD = {"receptance": 0.5, "key": 0.05, "value": 0.5, "output": 0.0}  # noqa: RUF012  (never changed)
    """Half the range of each matrix's initial values, times the square root of C."""

    def __init__(self, config: RwkvConfig, layer: int) -> None:
        super().__init__()
        C = config.n_embd
        self.config, self.layer = config, layer
        self.n_head, self.head_size = config.n_head, config.head_size
        self.recurrence = wkv7
        for name in "rwkvag":
            setattr(self, f"x_{name}", vector(1, 1, C))
        ranks = {"w": config.rank_w, "a": config.rank_a, "v": config.rank_v, "g": config.rank_g}
        if layer == 0:
            del ranks["v"]
        for name, rank in ranks.items():
            if name != "g":
                setattr(self, f"{name}0", vector(1, 1, C))
            setattr(self, f"{name}1", vector(C, rank))
            setattr(self, f"{name}2", vector(rank, C))
        self.k_k = vector(1, 1, C)
        self.k_a = vector(1, 1, C)
        self.r_k = vector(config.n_head, config.head_size)
        self.receptance = Linear(C, C)
        self.key = Linear(C, C)
        self.value = Linear(C, C)
        self.output = Linear(C, C)
        self.ln_x = nn.GroupNorm(config.n_head, C, eps=config.group_norm_epsilon)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Set everything but the matrices and the norm."""
        C, layer, n_layer = self.config.n_embd, self.layer, self.config.n_layer
        fade, depth = 1 - layer / n_layer, layer / max(n_layer - 1, 1)
        channel = torch.arange(C) / C
        for name, power in (("r", 0.2), ("w", 0.9), ("k", 0.7), ("v", 0.7), ("a", 0.9), ("g", 0.2)):
            getattr(self, f"x_{name}").copy_(1 - channel ** (power * fade))
        curve = (torch.arange(C) / (C - 1)) ** (1 + depth**0.3)
        bases = {"w": -6 + 6 * curve + 0.5, "a": torch.zeros(C), "v": torch.ones(C)}
        for name in ACTIVATIONS:
            if hasattr(self, f"{name}2"):
                nn.init.zeros_(getattr(self, f"{name}1"))
                nn.init.orthogonal_(getattr(self, f"{name}2"), gain=0.1, generator=generator)
            if hasattr(self, f"{name}0"):
                getattr(self, f"{name}0").copy_(bases[name])
        nn.init.constant_(self.k_k, 0.85)
        nn.init.ones_(self.k_a)
        nn.init.zeros_(self.r_k)

    def _lora(self, name: str, x: Tensor) -> Tensor:
        out = low_rank(x, getattr(self, f"{name}1"), getattr(self, f"{name}2"), ACTIVATIONS[name])
        return out if name == "g" else getattr(self, f"{name}0") + out

    def forward(
        self, x: Tensor, before: Tensor, state: Tensor, v_first: Tensor | None, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mix along time.

        Args:
            x: float32, (B, T, C), layer-normed.
            before: float32, (B, C), the row before the first.
            state: float32, (B, H, N, N).
            v_first: the values of layer 0, (B, T, C); None in layer 0.
            mask: float32, (B, T, 1): 1 for a token, 0 for padding after it.

        Returns:
            (B, T, C); the state after the last real token; the values of layer 0.
        """
        heads = (*x.shape[:2], self.n_head, self.head_size)
        delta = shift(x, before) - x
        xr, xw, xk, xv, xa, xg = (torch.addcmul(x, delta, getattr(self, f"x_{name}")) for name in "rwkvag")
        r, k, v = self.receptance(xr).float(), self.key(xk).float(), self.value(xv).float()
        log_w = DECAY_SCALE * torch.sigmoid(self._lora("w", xw))
        a = torch.sigmoid(self._lora("a", xa))
        if v_first is None:
            v_first = v
        else:
            v = torch.lerp(v, v_first, torch.sigmoid(self._lora("v", xv)))
        kk = functional.normalize((k * self.k_k).view(heads), dim=-1, eps=1e-12)
        k = torch.addcmul(k, k * (a - 1), self.k_a)
        # Padding leaves the state as it is: no decay, nothing removed, nothing written.
        y, state = self.recurrence(
            r.view(heads),
            (log_w * mask).view(heads),
            (k * mask).view(heads),
            v.view(heads),
            -kk,
            kk * (a * mask).view(heads),
            state,
        )
        bonus = (r.view(heads) * k.view(heads) * self.r_k).sum(-1, keepdim=True) * v.view(heads)
        y = (group_norm(self.ln_x, y) + bonus.view(x.shape)) * self._lora("g", xg)
        return self.output(y).float(), state, v_first


class ChannelMix(nn.Module):
    """The feed-forward of RWKV-7: token shift, squared ReLU."""

    def __init__(self, config: RwkvConfig, layer: int) -> None:
        super().__init__()
        C = config.n_embd
        self.config, self.layer = config, layer
        self.x_k = vector(1, 1, C)
        self.key = Linear(C, config.n_ffn)
        self.value = Linear(config.n_ffn, C)

    @torch.no_grad()
    def initialise(self) -> None:
        """Set everything but the matrices."""
        fade = 1 - self.layer / self.config.n_layer
        channel = torch.arange(self.config.n_embd) / self.config.n_embd
        self.x_k.copy_(1 - channel ** (fade**4))

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        """Mix along channels: x (B, T, C) layer-normed, `before` (B, C) the row before the first."""
        xk = torch.addcmul(x, shift(x, before) - x, self.x_k)
        out: Tensor = self.value(torch.relu(self.key(xk)).square())
        return out.float()
