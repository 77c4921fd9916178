"""Encoders for fusion heads: an RWKV backbone for texts, a CLIP tower for images; neither is trained here.

What was encoded is kept by the digest of its bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gooseguard.codec.image import DEFAULT_LIMITS, ImageLimits, Preprocessing
from gooseguard.models.digest import digest_module
from gooseguard.models.fusion_scorer import Encoder
from gooseguard.models.vision import FeatureCache, VisionTower, pool_grid, see

if TYPE_CHECKING:
    from torch import Tensor

    from gooseguard.codec.prompt import Encoder as Tokenizer
    from gooseguard.core.content import Part
    from gooseguard.models.rwkv import Rwkv


def make_text_encoder(backbone: Rwkv, tokenizer: Tokenizer, longest: int, cache: FeatureCache) -> Encoder:
    """Make features of texts: the hidden state after each token, float32, (T, C).

    Args:
        backbone: read only.
        tokenizer: its vocabulary.
        longest: tokens that are read of a text; the rest is left out.
        cache: what is kept; of texts only.
    """

    @torch.inference_mode()
    def make(data: bytes) -> Tensor:
        tokens = tokenizer.encode(data.decode())[:longest]
        hidden: Tensor = backbone(torch.tensor([tokens]))[0][0] if tokens else torch.empty(0, width)
        return hidden

    def encode(part: Part) -> Tensor:
        # `text` says what is no UTF-8; white space shows nothing.
        return cache.get(part.text.strip().encode(), make)

    width = backbone.config.n_embd
    return Encoder(width, encode, digest_module(backbone))


def make_image_encoder(
    tower: VisionTower,
    preparation: Preprocessing,
    grid: int,
    cache: FeatureCache,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> Encoder:
    """Make features of images: patches pooled to a grid and the class token, float32, (T, D); frames follow.

    Args:
        tower: read only.
        preparation: how it wants images.
        grid: as `vision.pool_grid`.
        cache: what is kept; of images only.
        limits: what an image may take.
    """

    @torch.inference_mode()
    def make(data: bytes) -> Tensor:
        features = see(tower, data, preparation, limits)
        return pool_grid(features, tower.config.side, grid).flatten(0, 1)

    def encode(part: Part) -> Tensor:
        return cache.get(part.data, make)

    return Encoder(tower.config.hidden_size, encode, digest_module(tower))
