"""Two small towers, taught to name what captions and pictures of `scenes.py` show, never if it is harmful.

They stand for what a published language model and a published CLIP are to a fusion head: encoders that know
their modality and nothing of the task. RWKV-7 with a byte pair vocabulary for captions, CLIP's vision tower
for pictures, both from random weights.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gooseguard.codec.image import Preprocessing, preprocess
from gooseguard.codec.layout import RwkvConfig
from gooseguard.codec.visual_layout import TowerConfig
from gooseguard.core.content import Modality
from gooseguard.core.manifest import canonical_json
from gooseguard.experiment.fitting import FitConfig, fit_rows
from gooseguard.experiment.scenes import SIDE, draw_items
from gooseguard.models.fusion_encoders import make_image_encoder, make_text_encoder
from gooseguard.models.mod_rwkv import pool
from gooseguard.models.rwkv import Rwkv
from gooseguard.models.vision import FeatureCache, VisionTower, pool_grid
from gooseguard.training.resume import ResumePoints
from gooseguard.training.vocabulary import train_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gooseguard.codec.tokenizer import Tokenizer
    from gooseguard.experiment.scenes import Item
    from gooseguard.models.fusion_scorer import Encoder
    from gooseguard.training.loop import Reporter

LONGEST = 64
"""Tokens of a caption that are read: none of ours has as many, but noise makes more of them."""

PREPARATION = Preprocessing(SIDE, SIDE)
"""How pictures are prepared: not resized."""

HEAD_SIZE = 32
"""Of the caption tower."""

EVEN = {"text": 0.25, "image": 0.25, "combination": 0.25}
"""Shares of cases among what towers learn from: no case is rare, and none is named."""


@dataclass(frozen=True, slots=True)
class TowersConfig:
    """Sizes of the towers, and how they are taught."""

    n_item: int = 8_000
    """Items that they learn from; none of them is seen again."""
    width: int = 64
    """Of both towers."""
    n_layer: int = 3
    """Blocks of the picture tower."""
    n_head: int = 4
    """Heads of the picture tower."""
    patch: int = 8
    """Pixels of a patch's edge."""
    grid: int = 2
    """Rows and columns that the patches are pooled to."""
    n_text_layer: int = 2
    """Blocks of the caption tower."""
    vocab_size: int = 400
    """Of the caption tower."""
    text: FitConfig = field(default_factory=lambda: FitConfig(2, 3e-3))
    """How the caption tower is taught."""
    image: FitConfig = field(default_factory=lambda: FitConfig(6, 1.5e-3, warmup=100))
    """How the picture tower is taught."""


@dataclass(frozen=True, slots=True, eq=False)
class Towers:
    """Both towers, taught."""

    tokenizer: Tokenizer
    """Of captions."""
    backbone: Rwkv
    """Of captions."""
    vision: VisionTower
    """Of pictures."""
    grid: int
    """As `TowersConfig.grid`."""

    def encoders(self, cache_bytes: int) -> dict[Modality, Encoder]:
        """Give encoders for a fusion head; each keeps `cache_bytes` of features."""
        caches = [FeatureCache(cache_bytes) for _ in range(2)]
        return {
            Modality.TEXT: make_text_encoder(self.backbone, self.tokenizer, LONGEST, caches[0]),
            Modality.IMAGE: make_image_encoder(self.vision, PREPARATION, self.grid, caches[1]),
        }


def teach_towers(config: TowersConfig, seed: int, folder: Path, report: Callable[[str], Reporter]) -> Towers:
    """Draw items and teach both towers on them; what `folder` holds of this config goes on where it was.

    Args:
        config: sizes, and how.
        seed: of items, initial weights and order.
        folder: of resume points; made.
        report: phase to whom to tell where the fitting stands.

    Raises:
        ArtefactError: `folder` holds the towers of another config or seed, or is damaged.
    """
    items = draw_items(config.n_item, EVEN, np.random.default_rng([seed, 0]))
    tokenizer = train_vocabulary([_caption(item) for item in items], config.vocab_size)
    sizes = RwkvConfig(config.n_text_layer, config.width, tokenizer.vocab_size, head_size=HEAD_SIZE)
    backbone, vision = Rwkv(sizes, seed), make_tower(config, seed)
    fingerprint = hashlib.sha256(canonical_json([asdict(config), seed]).encode()).hexdigest()
    for name, namer, fit in (
        ("captions", CaptionNamer(backbone, tokenizer, items), config.text),
        ("pictures", PictureNamer(vision, config.grid, items), config.image),
    ):
        points = ResumePoints(folder / name, fingerprint)
        fit_rows(namer, len(items), namer.loss, fit, seed, points, report(f"teach {name}"))
    for tower in (backbone, vision):
        tower.requires_grad_(requires_grad=False).eval()
    return Towers(tokenizer, backbone, vision, config.grid)


def make_tower(config: TowersConfig, seed: int) -> VisionTower:
    """Make a picture tower of random weights: norms 1 and 0, biases 0, matrices normal by their inputs."""
    tower = VisionTower(
        TowerConfig(config.width, 4 * config.width, config.n_layer, config.n_head, SIDE, config.patch)
    )
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, tensor in tower.state_dict().items():
        if "norm" in name or "layrnorm" in name or name.endswith("bias"):
            is_scale = name.endswith("weight")
            tensors[name] = torch.ones(tensor.shape) if is_scale else torch.zeros(tensor.shape)
        else:
            is_place = name.endswith(("class_embedding", "position_embedding.weight"))
            spread = 0.02 if is_place else 1 / math.sqrt(math.prod(tensor.shape[1:]))
            tensors[name] = spread * torch.randn(tensor.shape, generator=generator)
    return tower.load_tensors(tensors).requires_grad_(requires_grad=True).train()


class CaptionNamer(nn.Module):
    """The caption tower, and a matrix that names what captions show."""

    def __init__(self, backbone: Rwkv, tokenizer: Tokenizer, items: Sequence[Item]) -> None:
        """Take the tower and the items that it is taught on."""
        super().__init__()
        self.backbone = backbone
        ids = [torch.tensor(tokenizer.encode(_caption(item))[:LONGEST]) for item in items]
        self._lengths = torch.tensor([len(row) for row in ids])
        self._tokens = nn.utils.rnn.pad_sequence(ids, batch_first=True)
        self._labels = torch.from_numpy(np.stack([item.facts.text_labels() for item in items]))
        self.names = _no_names(3 * backbone.config.n_embd, self._labels.shape[1])

    def loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Give the mean cross-entropy of the names of some items, a scalar."""
        del generator
        lengths = self._lengths[rows]
        hidden, _ = self.backbone(self._tokens[rows, : int(lengths.max())], lengths)
        return functional.binary_cross_entropy_with_logits(
            self.names(pool(hidden, lengths)), self._labels[rows]
        )


class PictureNamer(nn.Module):
    """The picture tower, and a matrix that names what pictures show, from the rows that a head will get."""

    def __init__(self, vision: VisionTower, grid: int, items: Sequence[Item]) -> None:
        """Take the tower and the items that it is taught on."""
        super().__init__()
        self.vision, self.grid = vision, grid
        pixels = [preprocess(item.content.parts[1].data, PREPARATION)[0] for item in items]
        # Half precision: 8,000 pictures are 200 MB.
        self._pixels = torch.from_numpy(np.stack(pixels).astype(np.float16))
        self._labels = torch.from_numpy(np.stack([item.facts.image_labels() for item in items]))
        self.norm = nn.LayerNorm(vision.config.hidden_size)
        self.names = _no_names(vision.config.hidden_size, self._labels.shape[1])

    def loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Give the mean cross-entropy of the names of some items, a scalar."""
        del generator
        features = pool_grid(self.vision(self._pixels[rows].float()), self.vision.config.side, self.grid)
        logits = self.names(self.norm(features.mean(1)))
        return functional.binary_cross_entropy_with_logits(logits, self._labels[rows])


def _no_names(width: int, n_label: int) -> nn.Linear:
    names = nn.Linear(width, n_label)
    nn.init.zeros_(names.weight)
    nn.init.zeros_(names.bias)
    return names


def _caption(item: Item) -> str:
    return item.content.parts[0].text
