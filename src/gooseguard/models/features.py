"""The residual stream between the layers of a backbone, as features of whole texts.

What layer l leaves behind is what layer l + 1, or the final norm, reads. Knows nothing of teachers.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from gooseguard.core.errors import ConfigError
from gooseguard.models.rwkv import Block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor, nn

    from gooseguard.models.rwkv import Rwkv


def check_layers(layers: Sequence[int], n_layer: int, whose: str) -> None:
    """Check that a model has these layers, counted from 0.

    Raises:
        ConfigError: it has not.
    """
    for layer in layers:
        if not 0 <= layer < n_layer:
            raise ConfigError(f"layer {layer} of the {whose}: expected 0 to {n_layer - 1}")


@contextmanager
def capture(backbone: Rwkv, layers: Sequence[int]) -> Iterator[dict[int, Tensor]]:
    """Collect the stream after some layers of the calls made in the block, float32, (B, T, C) each.

    Args:
        backbone: called in the block by one thread only.
        layers: counted from 0.
    """
    streams: dict[int, Tensor] = {}

    def keep(layer: int) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            streams[layer] = arguments[0]

        return hook

    handles = []
    for layer in layers:
        reader: nn.Module = backbone.ln_out
        if layer + 1 < len(backbone.blocks):
            block = backbone.blocks[layer + 1]
            assert isinstance(block, Block)
            reader = block.ln1
        handles.append(reader.register_forward_pre_hook(keep(layer)))
    try:
        yield streams
    finally:
        for handle in handles:
            handle.remove()


def mean_features(streams: dict[int, Tensor], layers: Sequence[int], lengths: Tensor) -> Tensor:
    """Give the mean over each text's real tokens, float32, (B, len(layers), C); lengths int64, (B,)."""
    means = []
    for layer in layers:
        stream = streams[layer].float()
        real = (torch.arange(stream.shape[1], device=stream.device) < lengths.unsqueeze(-1)).unsqueeze(-1)
        means.append((stream * real).sum(1) / lengths.clamp(min=1).unsqueeze(-1))
    return torch.stack(means, dim=1)
