"""What a recipe of kind `visual` says. Apart from the stage, which takes seconds to import."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

from gooseguard.codec.text_model import is_model_name
from gooseguard.codec.visual_layout import ImagePlace, VisualSettings
from gooseguard.core.errors import ConfigError
from gooseguard.models.lora import LoraConfig
from gooseguard.training.answer_loop import TuneConfig


class Learn(StrEnum):
    """What is learnt, beside what `tower_rank` says of the tower."""

    PROJECTOR = "projector"
    """The projector alone: stage one."""
    ALL = "all"
    """Projector and backbone."""
    LORA = "lora"
    """Projector, and low-rank deltas on matrices of the backbone, merged into them at the end."""


@dataclass(frozen=True, slots=True)
class VisualTuneConfig:
    """A recipe of kind `visual`."""

    name: str
    """Name of the model."""
    base: str
    """A Mod-VisualRWKV model, file or folder; or an official RWKV checkpoint, which `tower` is joined to."""
    data: str
    """LLaVA's JSON of conversations."""
    images: str
    """Folder that the names of images in `data` are relative to."""
    tower: str = ""
    """Folder of a CLIP model in the published layout, where `base` is a backbone alone."""
    vocabulary: str = ""
    """Vocabulary file of the backbone; empty for the World vocabulary of the installed `rwkv` package."""
    learn: Learn = Learn.PROJECTOR
    """What is learnt."""
    is_gated: bool = False
    """Whether a new projector is version 7's gated one."""
    image_place: str = ImagePlace.FIRST.value
    """Where the image stands in the user's turn: first, middle or last."""
    grid: int = -1
    """Pooling of the patches, as `VisualSettings.grid`."""
    is_reversed: bool = True
    """Whether every other layer reads the patches backwards."""
    val_fraction: float = 0.005
    """Share of the rows held out for the loss that is shown, chosen by their ids."""
    check_images: bool = True
    """Whether every image is decoded before training begins, rather than when it is its turn."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """Sizes and places of the deltas; only read where `learn` is `lora`."""
    tower_rank: int = 0
    """Rank of deltas beside the tower's attention, merged at the end; 0 leaves the tower as it is."""
    keep_features_gb: float = 0.0
    """Gigabytes of features that are kept on disk, in the run's folder; 0 keeps none there."""
    loop: TuneConfig = field(default_factory=TuneConfig)
    """How to fit."""

    def __post_init__(self) -> None:
        if not is_model_name(self.name):
            raise ConfigError(f"recipe: name is {self.name!r}, expected a name without spaces, @ and /")
        if not 0 <= self.val_fraction < 1:
            raise ConfigError(f"recipe: val_fraction is {self.val_fraction}, expected at least 0, below 1")
        if self.tower_rank < 0:
            raise ConfigError(f"recipe: tower_rank is {self.tower_rank}, expected 0 or more")
        if self.keep_features_gb and self.tower_rank:
            raise ConfigError(
                f"recipe: keep_features_gb is {self.keep_features_gb}, expected 0 where the tower learns, "
                "since what it gives changes"
            )
        if not 0 <= self.keep_features_gb < math.inf:
            raise ConfigError(f"recipe: keep_features_gb is {self.keep_features_gb}, expected 0 or more")
        VisualSettings(self.image_place, self.grid)
        if self.loop.is_sharded:
            raise ConfigError("recipe: loop.is_sharded is true; a model that sees is not divided yet")
