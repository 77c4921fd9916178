"""What a recipe of kind `llava` says. Apart from the stage, which takes seconds to import."""

from __future__ import annotations

from dataclasses import dataclass, field

from gooseguard.codec.text_model import is_model_name
from gooseguard.core.errors import ConfigError
from gooseguard.training.answer_loop import TuneConfig


@dataclass(frozen=True, slots=True)
class LlavaTuneConfig:
    """A recipe of kind `llava`."""

    name: str
    """Name of the adapter."""
    base: str
    """Folder of a LLaVA 1.5 model."""
    data: str
    """LLaVA's JSON of conversations."""
    images: str
    """Folder that the names of images in `data` are relative to."""
    rank: int = 128
    """Rank of each delta; every matrix of the language model has one."""
    alpha: float = 256.0
    """The delta counts alpha / rank."""
    val_fraction: float = 0.005
    """Share of the rows held out for the loss that is shown."""
    check_images: bool = True
    """Whether every image is decoded before training begins."""
    loop: TuneConfig = field(default_factory=TuneConfig)
    """How to fit; `is_checkpointed` is not read."""

    def __post_init__(self) -> None:
        if not is_model_name(self.name):
            raise ConfigError(f"recipe: name is {self.name!r}, expected a name without spaces, @ and /")
        if self.rank < 1 or not self.alpha > 0:
            raise ConfigError(f"recipe: rank is {self.rank} and alpha {self.alpha}, expected more than 0")
        if not 0 <= self.val_fraction < 1:
            raise ConfigError(f"recipe: val_fraction is {self.val_fraction}, expected at least 0, below 1")
        if self.loop.is_sharded:
            raise ConfigError("recipe: loop.is_sharded is true; a model that sees is not divided yet")
