"""LoRA on the matrices of a backbone or a tower: a low-rank delta beside each frozen one.

Base names stay the official ones: `blocks.0.att.key.weight` gets `blocks.0.att.key.lora_a` and `…lora_b` as
neighbours, so that `state_dict()` holds both and nothing is renamed on the way back.

Source: E. Hu et al., *LoRA: Low-Rank Adaptation of Large Language Models* (arXiv 2106.09685), section 4.1:
the delta is alpha / rank * B A, A random and B zero at first. Initial A as in its published code: Kaiming
uniform, a = sqrt(5), which is uniform within 1 / sqrt(in).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from gooseguard.core.errors import ConfigError
from gooseguard.core.taxonomy import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gooseguard.models.rwkv import Rwkv

PLACES = {
    "receptance": ("att.receptance",),
    "key": ("att.key",),
    "value": ("att.value",),
    "output": ("att.output",),
    "gate": ("att.gate",),
    "ffn": ("ffn.key", "ffn.value", "ffn.receptance"),
}
"""What a target stands for, in every block. x070 has no such gate, and no receptance in its FFN."""

TOWER_PLACES = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj")
"""Matrices of a CLIP tower that get a delta, in every layer."""


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """Sizes and places of the delta."""

    rank: int = 32
    """Rank of each delta."""
    alpha: float = 64.0
    """The delta counts alpha / rank."""
    targets: tuple[str, ...] = ("receptance", "key", "value", "output", "ffn")
    """Which matrices get one; keys of `PLACES`."""

    def __post_init__(self) -> None:
        if self.rank < 1 or not self.alpha > 0:
            raise ConfigError(
                f"lora: rank is {self.rank} and alpha {self.alpha}, expected at least 1 and more than 0"
            )
        if not self.targets:
            raise ConfigError(f"lora: targets is empty, expected some of {', '.join(PLACES)}")
        for target in self.targets:
            if target not in PLACES:
                known = ", ".join(PLACES)
                raise ConfigError(
                    f"lora: unknown target {target!r}; expected some of {known}{nearest(target, PLACES)}"
                )

    @property
    def scale(self) -> float:
        """Give what the delta is multiplied by."""
        return self.alpha / self.rank


class LoraLinear(nn.Linear):
    """A frozen matrix and its delta. The delta is float32, whatever the matrix is stored in."""

    def __init__(self, base: nn.Linear, rank: int, scale: float) -> None:
        """Take over weight and bias of `base`, which are not copied."""
        super().__init__(base.in_features, base.out_features, bias=False, device="meta")
        self.weight, self.bias = base.weight, base.bias
        self.scale = scale
        device = base.weight.device
        self.lora_a = nn.Parameter(torch.empty(rank, base.in_features, device=device))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank, device=device))

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, in) to (…, out), in the dtype of the matrix."""
        base = functional.linear(x.to(self.weight.dtype), self.weight, self.bias)
        # In the matrix's dtype as well: both factors are small, their product is added to a rounded one.
        low = functional.linear(x.to(base.dtype), self.lora_a.to(base.dtype))
        return base + self.scale * functional.linear(low, self.lora_b.to(base.dtype))


def attach_lora(model: Rwkv, config: LoraConfig, seed: int = 0) -> Rwkv:
    """Freeze a model and put a delta, zero at first, beside each target matrix.

    Args:
        model: changed in place.
        config: sizes and places.
        seed: of A's initial values.

    Returns:
        The model.

    Raises:
        ConfigError: a target names no matrix of this version.
    """
    model.requires_grad_(requires_grad=False)
    generator = torch.Generator().manual_seed(seed)
    found: set[str] = set()
    for block in model.blocks:
        for target in config.targets:
            for place in PLACES[target]:
                part, name = place.split(".")
                if isinstance(getattr(getattr(block, part), name, None), nn.Linear):
                    found.add(target)
                    _put(block, place, config.rank, config.scale, generator)
    absent = [target for target in config.targets if target not in found]
    if absent:
        raise ConfigError(
            f"lora: {model.config.version} has no {', '.join(absent)}; take it out of the targets"
        )
    return model


def attach_tower_lora(tower: nn.Module, rank: int, seed: int = 0) -> None:
    """Freeze a CLIP tower and put a delta, zero at first, beside the matrices of its attention.

    Args:
        tower: of `models/vision.py`; changed in place.
        rank: of each delta, which counts twice: alpha is 2 ranks, as by default in a backbone.
        seed: of A's initial values.
    """
    tower.requires_grad_(requires_grad=False)
    generator = torch.Generator().manual_seed(seed)
    ends = {name for name, _ in tower.named_modules() if name.endswith(TOWER_PLACES)}
    for name in sorted(ends):
        _put(tower, name, rank, 2.0, generator)


def _put(root: nn.Module, place: str, rank: int, scale: float, generator: torch.Generator) -> None:
    """Put a delta beside the matrix at `place`, such as "att.key"."""
    parent_name, _, name = place.rpartition(".")
    parent = root.get_submodule(parent_name)
    base = getattr(parent, name)
    layer = LoraLinear(base, rank, scale)
    bound = 1 / math.sqrt(base.in_features)
    # Drawn on the CPU, so that every device begins with the same numbers.
    first = torch.empty(layer.lora_a.shape).uniform_(-bound, bound, generator=generator)
    with torch.no_grad():
        layer.lora_a.copy_(first)
    setattr(parent, name, layer)


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    """Give the name and layer of each matrix with a delta, such as "blocks.0.att.key"."""
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear):
            yield name, module


def merged(weight: Tensor, lora_a: Tensor, lora_b: Tensor, scale: float) -> Tensor:
    """Give a matrix with its delta added: computed in float32, then rounded to the matrix's own dtype.

    Args:
        weight: (out, in), any floating dtype; not written to.
        lora_a: float32, (rank, in).
        lora_b: float32, (out, rank).
        scale: of the delta.
    """
    return (weight.float() + scale * (lora_b @ lora_a)).to(weight.dtype)
