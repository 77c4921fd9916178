"""The RWKV language backbone, x052 (Eagle), x060 (Finch) and x070 (Goose): tokens to hidden states.

Runs whole sequences at once, or one token with the state of those before. Parameter names and shapes are the
official ones (`codec/layout.py`); the blocks of each version are in `eagle.py`, `finch.py` and `goose.py`.
Knows nothing of categories, text or training.

| letter | what |
| --- | --- |
| B T C | sequences, tokens, width |
| H N | heads, head size; C = H N |
| r w k v a g | receptance, decay, key, value, in-context learning rate, gate |

Matrices may be in bfloat16 (`models/official.py` loads them so); vectors, hidden states and the state are
float32.

Source: RWKV-7 "Goose" (arXiv 2503.14456), "Eagle and Finch" (arXiv 2404.05892); RWKV-LM for names, epsilons
and initial values. The code is our own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor, nn

from gooseguard.codec.layout import LAYER_NORM_EPSILON, RwkvConfig
from gooseguard.core.errors import EngineError
from gooseguard.models import eagle, finch, goose
from gooseguard.models.layers import Linear, last

BLOCKS = {"x052": eagle, "x060": finch, "x070": goose}
"""The module that has a version's TimeMix and ChannelMix."""

PIECE = 512
"""Tokens that `Rwkv.prefill` reads at once: enough to keep matrix products busy, little memory."""


@dataclass(frozen=True, slots=True)
class State:
    """The recurrent memory of B sequences, the same for every version."""

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


@overload
def _trade(x: Tensor, mirror: Tensor | None) -> Tensor: ...
@overload
def _trade(x: None, mirror: Tensor | None) -> None: ...
def _trade(x: Tensor | None, mirror: Tensor | None) -> Tensor | None:
    """Give each row of (B, T, C) the one that `mirror`, (B, T), says; twice is none."""
    return x if x is None or mirror is None else x.take_along_dim(mirror.unsqueeze(-1), dim=1)


class Block(nn.Module):
    """One layer: time mix and channel mix, each on a layer-normed residual stream."""

    def __init__(self, config: RwkvConfig, layer: int) -> None:
        super().__init__()
        version = BLOCKS[config.version]
        if layer == 0:
            self.ln0 = nn.LayerNorm(config.n_embd, LAYER_NORM_EPSILON)
        self.ln1 = nn.LayerNorm(config.n_embd, LAYER_NORM_EPSILON)
        self.ln2 = nn.LayerNorm(config.n_embd, LAYER_NORM_EPSILON)
        self.att = version.TimeMix(config, layer)
        self.ffn = version.ChannelMix(config, layer)


class Rwkv(nn.Module):
    """The backbone: embedding, blocks, final norm, and a language head on request.

    `state_dict()` has the official names. Built on the meta device, it has no values and is filled by
    `load_state_dict(…, assign=True)`.
    """

    def __init__(self, config: RwkvConfig, seed: int = 0, *, has_head: bool = False) -> None:
        super().__init__()
        self.config = config
        # Given values, or it draws its own, which on the meta device makes torch import its compiler.
        values = torch.empty(config.vocab_size, config.n_embd)
        self.emb = nn.Embedding(config.vocab_size, config.n_embd, _weight=values)
        self.blocks = nn.ModuleList(Block(config, i) for i in range(config.n_layer))
        self.is_shallow = False
        self.ln_out = nn.LayerNorm(config.n_embd, LAYER_NORM_EPSILON)
        self.head = Linear(config.n_embd, config.vocab_size) if has_head else None
        if not self.emb.weight.is_meta:
            self._initialise(torch.Generator().manual_seed(seed))

    def _initialise(self, generator: torch.Generator) -> None:
        """Set the matrices. The blocks' last ones are zero: the model begins as its embedding.

        Source: scales after RWKV-LM, `RWKV-v7/train_temp/src/model.py`, the twin of `rwkv_v7_demo.py` that
        trains.
        """
        C = self.config.n_embd
        nn.init.uniform_(self.emb.weight, -1e-2, 1e-2, generator=generator)
        for block in self.blocks:
            assert isinstance(block, Block)
            for name, scale in block.att.SPREAD.items():
                bound = scale / math.sqrt(C)
                nn.init.uniform_(getattr(block.att, name).weight, -bound, bound, generator=generator)
            block.att.initialise(generator)
            block.ffn.initialise()
            for name, matrix in block.ffn.named_children():
                if name == "key":
                    bound = 0.5 / math.sqrt(C)
                    nn.init.uniform_(matrix.weight, -bound, bound, generator=generator)
                else:
                    nn.init.zeros_(matrix.weight)
        if self.head is not None:
            bound = 0.5 / math.sqrt(C)
            nn.init.uniform_(self.head.weight, -bound, bound, generator=generator)

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
        return self.run(self.emb(tokens).float(), lengths, state)

    def run(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        state: State | None = None,
        mirror: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Run whole sequences of embeddings.

        Args:
            x: float32, (B, T, C): rows of the embedding, or what takes their place, padded at the end.
            lengths: as `forward`.
            state: as `forward`.
            mirror: int64, (B, T), the place each row trades with in layers 1, 3, 5 …; its own, but in spans
                that those layers read backwards. The last real row and padding keep their places.

        Returns:
            as `forward`.
        """
        B, T = x.shape[:2]
        if lengths is None:
            lengths = torch.full((B,), T, dtype=torch.long, device=x.device)
        if state is None:
            state = zero_state(self.config, B, x.device)
        mask = (torch.arange(T, device=x.device) < lengths.unsqueeze(-1)).unsqueeze(-1).float()
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
            is_mirrored = mirror is not None and i % 2 == 1
            if is_mirrored:
                # The values of layer 0 stay with their rows.
                x, v_first = _trade(x, mirror), _trade(v_first, mirror)
            h = block.ln1(x)
            mixed, wkv, v_first = block.att(h, state.attention_shift[i], state.wkv[i], v_first, mask)
            x = x + mixed
            h2 = block.ln2(x)
            x = x + block.ffn(h2, state.ffn_shift[i])
            if is_mirrored:
                x, v_first = _trade(x, mirror), _trade(v_first, mirror)
            states.append(
                (last(h, lengths, state.attention_shift[i]), wkv, last(h2, lengths, state.ffn_shift[i]))
            )
        shifts, wkvs, ffn_shifts = zip(*states, strict=True)
        return self.ln_out(x), State(torch.stack(shifts), torch.stack(wkvs), torch.stack(ffn_shifts))

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Run one token a sequence: int64, (B,), to hidden (B, C), float32, and the state after it."""
        hidden, state = self(tokens.unsqueeze(1), None, state)
        return hidden[:, 0], state

    @torch.no_grad()
    def prefill(
        self,
        tokens: Tensor,
        lengths: Tensor | None = None,
        state: State | None = None,
        piece: int = PIECE,
    ) -> tuple[Tensor, State]:
        """Read sequences of any length, `piece` tokens at a time: memory does not grow with T.

        Args:
            tokens: int64, (B, T), T at least 1, padded at the end.
            lengths: int64, (B,), real tokens a row, at least 1 each; None means T.
            state: where to go on; None is the zero state.
            piece: tokens a row that are in work at once.

        Returns:
            hidden of each row's last real token, float32, (B, C), and the state after it; no gradients.

        Raises:
            EngineError: a row has no tokens.
        """
        B, T = tokens.shape
        if lengths is None:
            lengths = torch.full((B,), T, dtype=torch.long, device=tokens.device)
        if T == 0 or bool((lengths < 1).any()):
            raise EngineError("prefill: a sequence has no tokens, expected at least one")
        final = self.emb.weight.new_zeros(B, self.config.n_embd, dtype=torch.float32)
        for begin in range(0, int(lengths.max()), piece):
            left = (lengths - begin).clamp(0, piece)
            hidden, state = self(tokens[:, begin : begin + piece], left, state)
            final = last(hidden, left, final)
        assert state is not None
        return final, state

    def logits(self, hidden: Tensor) -> Tensor:
        """Give the language head's logits, float32, (…, V), for hidden states (…, C).

        Raises:
            EngineError: the model was built without a language head.
        """
        if self.head is None:
            raise EngineError("this model has no language head; expected a checkpoint with head.weight")
        logits: Tensor = self.head(hidden)
        return logits.float()
