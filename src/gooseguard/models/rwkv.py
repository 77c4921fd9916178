"""The RWKV-7 (x070, "Goose") language backbone: token ids to hidden states, whole sequences at once.

Parameter names and shapes are the official ones (`codec/layout.py`). Knows nothing of categories, text or
training.

| letter | what |
| --- | --- |
| B T C | sequences, tokens, width |
| H N | heads, head size; C = H N |
| r w k v a g | receptance, decay, key, value, in-context learning rate, gate |

Source: RWKV-7 "Goose" (arXiv 2503.14456); RWKV-LM `RWKV-v7/rwkv_v7_demo.py` for names, epsilons and initial
values. The code is our own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from gooseguard.codec.layout import GROUP_NORM_EPSILON, LAYER_NORM_EPSILON, RwkvConfig
from gooseguard.models.wkv import wkv7

DECAY_SCALE = -0.606531
"""-exp(-1/2): the most a logarithmic decay can reach. Source: arXiv 2503.14456, equation for w_t."""


@dataclass(frozen=True, slots=True)
class State:
    """The recurrent memory of B sequences."""

    attention_shift: Tensor
    """float32, (L, B, C): input of the last token to each time mix."""
    wkv: Tensor
    """float32, (L, B, H, N, N): value index by key index."""
    ffn_shift: Tensor
    """float32, (L, B, C): input of the last token to each channel mix."""


def zero_state(config: RwkvConfig, n_sequence: int, device: torch.device | None = None) -> State:
    """Give the state before the first token."""
    L, C, H, N = config.n_layer, config.n_embd, config.n_head, config.head_size
    return State(
        torch.zeros(L, n_sequence, C, device=device),
        torch.zeros(L, n_sequence, H, N, N, device=device),
        torch.zeros(L, n_sequence, C, device=device),
    )


def _shift(x: Tensor, before: Tensor) -> Tensor:
    """Give each token its predecessor's row, (B, T, C); the first gets `before`, (B, C)."""
    return torch.cat([before.unsqueeze(1), x[:, :-1]], dim=1)


def _last(x: Tensor, lengths: Tensor, before: Tensor) -> Tensor:
    """Give the row of each sequence's last real token, (B, C); of an empty one, `before`."""
    if x.shape[1] == 0:
        return before
    rows = x[torch.arange(x.shape[0], device=x.device), (lengths - 1).clamp(min=0)]
    return torch.where((lengths > 0).unsqueeze(-1), rows, before)


class TimeMix(nn.Module):
    """The attention of RWKV-7: token shift, six lerps, the WKV-7 recurrence, a gated output."""

    def __init__(self, config: RwkvConfig, layer: int) -> None:
        super().__init__()
        C = config.n_embd
        self.n_head, self.head_size, self.layer = config.n_head, config.head_size, layer
        depth = layer / max(config.n_layer - 1, 1)
        fade = 1 - layer / config.n_layer
        channel = torch.arange(C) / C
        for name, power in (("r", 0.2), ("w", 0.9), ("k", 0.7), ("v", 0.7), ("a", 0.9), ("g", 0.2)):
            setattr(self, f"x_{name}", nn.Parameter((1 - channel ** (power * fade)).view(1, 1, C)))
        curve = (torch.arange(C) / (C - 1)) ** (1 + depth**0.3)
        self._add_lora("w", config.rank_w, (-6 + 6 * curve + 0.5).view(1, 1, C))
        self._add_lora("a", config.rank_a, torch.zeros(1, 1, C))
        if layer > 0:
            self._add_lora("v", config.rank_v, torch.ones(1, 1, C))
        self._add_lora("g", config.rank_g, None)
        self.k_k = nn.Parameter(torch.full((1, 1, C), 0.85))
        self.k_a = nn.Parameter(torch.ones(1, 1, C))
        self.r_k = nn.Parameter(torch.zeros(config.n_head, config.head_size))
        self.receptance = nn.Linear(C, C, bias=False)
        self.key = nn.Linear(C, C, bias=False)
        self.value = nn.Linear(C, C, bias=False)
        self.output = nn.Linear(C, C, bias=False)
        self.ln_x = nn.GroupNorm(config.n_head, C, eps=GROUP_NORM_EPSILON)

    def _add_lora(self, name: str, rank: int, bias: Tensor | None) -> None:
        C = self.n_head * self.head_size
        if bias is not None:
            setattr(self, f"{name}0", nn.Parameter(bias))
        setattr(self, f"{name}1", nn.Parameter(torch.zeros(C, rank)))
        setattr(self, f"{name}2", nn.Parameter(torch.empty(rank, C)))

    def _lora(self, name: str, x: Tensor) -> Tensor:
        first, second = getattr(self, f"{name}1"), getattr(self, f"{name}2")
        h = x @ first
        h = torch.tanh(h) if name == "w" else torch.sigmoid(h) if name == "g" else h
        out: Tensor = h @ second
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
        B, T, C = x.shape
        H, N = self.n_head, self.head_size
        delta = _shift(x, before) - x
        xr, xw, xk, xv, xa, xg = (torch.addcmul(x, delta, getattr(self, f"x_{name}")) for name in "rwkvag")
        r, k, v = self.receptance(xr).float(), self.key(xk).float(), self.value(xv).float()
        log_w = DECAY_SCALE * torch.sigmoid(self._lora("w", xw).float())
        a = torch.sigmoid(self._lora("a", xa).float())
        if v_first is None:
            v_first = v
        else:
            v = torch.lerp(v, v_first, torch.sigmoid(self._lora("v", xv).float()))
        kk = functional.normalize((k * self.k_k).view(B, T, H, N), dim=-1, eps=1e-12)
        k = torch.addcmul(k, k * (a - 1), self.k_a)
        # Padding leaves the state as it is: no decay, nothing removed, nothing written.
        written = (k * mask).view(B, T, H, N)
        y, state = wkv7(
            r.view(B, T, H, N),
            (log_w * mask).view(B, T, H, N),
            written,
            v.view(B, T, H, N),
            -kk,
            kk * (a * mask).view(B, T, H, N),
            state,
        )
        y = self.ln_x(y.reshape(B * T, C)).view(B, T, C) if T else y.reshape(B, T, C)
        bonus = (r.view(B, T, H, N) * k.view(B, T, H, N) * self.r_k).sum(-1, keepdim=True)
        bonus = bonus * v.view(B, T, H, N)
        y = (y + bonus.view(B, T, C)) * self._lora("g", xg).float()
        return self.output(y).float(), state, v_first


class ChannelMix(nn.Module):
    """The feed-forward of RWKV-7: token shift, squared ReLU."""

    def __init__(self, config: RwkvConfig, layer: int) -> None:
        super().__init__()
        C = config.n_embd
        fade = 1 - layer / config.n_layer
        self.x_k = nn.Parameter((1 - (torch.arange(C) / C) ** (fade**4)).view(1, 1, C))
        self.key = nn.Linear(C, config.n_ffn, bias=False)
        self.value = nn.Linear(config.n_ffn, C, bias=False)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        """Mix along channels: x (B, T, C) layer-normed, `before` (B, C) the row before the first."""
        xk = torch.addcmul(x, _shift(x, before) - x, self.x_k)
        out: Tensor = self.value(torch.relu(self.key(xk)).square())
        return out.float()


class Block(nn.Module):
    """One layer: time mix and channel mix, each on a layer-normed residual stream."""

    def __init__(self, config: RwkvConfig, layer: int) -> None:
        super().__init__()
        if layer == 0:
            self.ln0 = nn.LayerNorm(config.n_embd, LAYER_NORM_EPSILON)
        self.ln1 = nn.LayerNorm(config.n_embd, LAYER_NORM_EPSILON)
        self.ln2 = nn.LayerNorm(config.n_embd, LAYER_NORM_EPSILON)
        self.att = TimeMix(config, layer)
        self.ffn = ChannelMix(config, layer)


class Rwkv(nn.Module):
    """The backbone: embedding, blocks, final norm; `state_dict()` has the official names."""

    def __init__(self, config: RwkvConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.emb = nn.Embedding(config.vocab_size, config.n_embd)
        self.blocks = nn.ModuleList(Block(config, i) for i in range(config.n_layer))
        self.is_shallow = False
        self.ln_out = nn.LayerNorm(config.n_embd, LAYER_NORM_EPSILON)
        self._initialise(torch.Generator().manual_seed(seed))

    def _initialise(self, generator: torch.Generator) -> None:
        """Set the matrices. The blocks' last ones are zero: the model begins as its embedding.

        Source: scales after RWKV-LM, `RWKV-v7/train_temp/src/model.py`, the twin of `rwkv_v7_demo.py` that
        trains.
        """
        C = self.config.n_embd
        ffn_bound = 0.5 / math.sqrt(C)
        nn.init.uniform_(self.emb.weight, -1e-2, 1e-2, generator=generator)
        spread = {"receptance": 0.5, "key": 0.05, "value": 0.5, "output": 0.0}
        for block in self.blocks:
            assert isinstance(block, Block)
            for name, scale in spread.items():
                bound = scale / math.sqrt(C)
                nn.init.uniform_(getattr(block.att, name).weight, -bound, bound, generator=generator)
            for name in "wavg":
                if hasattr(block.att, f"{name}2"):
                    nn.init.orthogonal_(getattr(block.att, f"{name}2"), gain=0.1, generator=generator)
            nn.init.uniform_(block.ffn.key.weight, -ffn_bound, ffn_bound, generator=generator)
            nn.init.zeros_(block.ffn.value.weight)

    def forward(
        self,
        tokens: Tensor,
        lengths: Tensor | None = None,
        state: State | None = None,
    ) -> tuple[Tensor, State]:
        """Run whole sequences.

        Args:
            tokens: int64, (B, T); rows shorter than T are padded at the end with any id.
            lengths: int64, (B,), real tokens a row; None means T.
            state: where to go on; None is the zero state.

        Returns:
            hidden after the final norm, float32, (B, T, C), meaningless at padding; the state after each
            row's last real token.
        """
        B, T = tokens.shape
        if lengths is None:
            lengths = torch.full((B,), T, dtype=torch.long, device=tokens.device)
        if state is None:
            state = zero_state(self.config, B, tokens.device)
        mask = (torch.arange(T, device=tokens.device) < lengths.unsqueeze(-1)).unsqueeze(-1).float()
        x = self.emb(tokens)
        if self.is_shallow:
            first = self.blocks[0]
            assert isinstance(first, Block)
            return self.ln_out(first.ln0(x)), state
        v_first: Tensor | None = None
        states: list[tuple[Tensor, Tensor, Tensor]] = []
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            if i == 0:
                x = block.ln0(x)
            h = block.ln1(x)
            mixed, wkv, v_first = block.att(h, state.attention_shift[i], state.wkv[i], v_first, mask)
            x = x + mixed
            h2 = block.ln2(x)
            x = x + block.ffn(h2, state.ffn_shift[i])
            states.append(
                (_last(h, lengths, state.attention_shift[i]), wkv, _last(h2, lengths, state.ffn_shift[i]))
            )
        shifts, wkvs, ffn_shifts = zip(*states, strict=True)
        return self.ln_out(x), State(torch.stack(shifts), torch.stack(wkvs), torch.stack(ffn_shifts))
