"""CLIP's vision tower: images to features of their patches. Built by transformers, fed by `codec/image.py`.

| letter | what |
| --- | --- |
| B F | images, frames of an image |
| P D | patches and the class token before them, width |

Source: Radford et al., *Learning Transferable Visual Models From Natural Language Supervision* (arXiv
2103.00020); the module is transformers' `CLIPVisionModel`.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from dataclasses import asdict
from threading import Lock
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.clip.configuration_clip import CLIPVisionConfig
from transformers.models.clip.modeling_clip import CLIPVisionModel

from gooseguard.codec.image import DEFAULT_LIMITS, ImageLimits, Preprocessing, preprocess, read_preprocessing
from gooseguard.codec.visual_layout import TOWER_PREFIX, TowerConfig, infer_tower, tower_names
from gooseguard.core.errors import ArtefactError
from gooseguard.models.official import read_official

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin")
"""Of a folder in the published layout, the first that is there."""

CACHE_BYTES = 256 << 20
"""Of features that are kept, unless the caller says otherwise."""


class VisionTower(nn.Module):
    """A CLIP tower. `state_dict()` has the published names."""

    def __init__(self, config: TowerConfig) -> None:
        """Build a tower without values of its own; `load_tensors` fills it."""
        super().__init__()
        self.config = config
        with torch.device("meta"):
            self.vision_model = CLIPVisionModel(CLIPVisionConfig(**asdict(config)))

    def load_tensors(self, tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> VisionTower:
        """Take the values of exactly the tensors of this tower, named as published; frozen afterwards."""
        weights = {
            name.removeprefix(TOWER_PREFIX): tensor.to(dtype)
            for name, tensor in tensors.items()
            if not name.endswith("embeddings.position_ids")
        }
        self.vision_model.load_state_dict(weights, assign=True)
        # The one buffer, which is in no file: the numbers of the positions.
        embeddings = self.vision_model.embeddings
        embeddings.position_ids = torch.arange(self.config.side**2 + 1).unsqueeze(0)
        return self.requires_grad_(requires_grad=False).eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """Give the features of images.

        Args:
            pixels: float32, (B, 3, S, S), prepared by `codec.image.prepare`.

        Returns:
            float32, (B, P, D): the last hidden state, the class token first, before the last norm.
        """
        # To the device and dtype of the weights.
        given = pixels.to(self.vision_model.embeddings.class_embedding)
        hidden: Tensor = self.vision_model(pixel_values=given).last_hidden_state
        return hidden.float()

    @property
    def dtype(self) -> torch.dtype:
        """Give the dtype of the weights."""
        return self.vision_model.embeddings.class_embedding.dtype  # type: ignore[no-any-return]  # untyped


def load_tower(folder: Path, dtype: torch.dtype = torch.float32) -> tuple[VisionTower, Preprocessing]:
    """Load a tower from a local folder in the published layout of CLIP; nothing is fetched.

    Args:
        folder: `config.json`, `preprocessor_config.json` and `model.safetensors` (or `pytorch_model.bin`, of
            which only tensors are read); CLIP's text half is left out.
        dtype: of the weights.

    Raises:
        ArtefactError: a file is missing, damaged, or of another model.
    """
    path = next((folder / name for name in WEIGHTS_FILES if (folder / name).is_file()), None)
    if path is None:
        raise ArtefactError(f"{folder}: has no {' or '.join(WEIGHTS_FILES)}; expected a CLIP model's folder")
    table = _read_vision_config(folder / "config.json")
    tensors = tower_names(read_official(path))
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    try:
        config = infer_tower(
            shapes, table.get("num_attention_heads", 0), table.get("hidden_act", "quick_gelu")
        )
    except ArtefactError as error:
        raise ArtefactError(f"{path}: {error}") from None
    preparation = read_preprocessing(folder)
    check_preparation(preparation, config, str(folder))
    return VisionTower(config).load_tensors(tensors, dtype), preparation


def check_preparation(preparation: Preprocessing, config: TowerConfig, where: str) -> None:
    """Check that images are cut to the size that the tower takes.

    Raises:
        ArtefactError: they are not.
    """
    if preparation.crop != config.image_size:
        raise ArtefactError(
            f"{where}: images are cut to {preparation.crop} pixels, the tower takes {config.image_size}; "
            "expected the preprocessor_config.json that was published with it"
        )


def _read_vision_config(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path}: cannot be read ({type(error).__name__}); expected CLIP's own") from None
    # A whole CLIP model has its vision half inside.
    inner = table.get("vision_config", table) if isinstance(table, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("num_attention_heads", 0), int):
        raise ArtefactError(f"{path}: is no config of a CLIP model; expected the file as it was published")
    return inner


class FeatureCache:
    """What an image became, by the digest of its bytes; the least recently used goes. Safe for threads."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        """Keep at most `max_bytes` of features; 0 keeps none."""
        self._max_bytes = max_bytes
        self._n_bytes = 0
        self._kept: OrderedDict[bytes, Tensor] = OrderedDict()
        self._lock = Lock()

    def get(self, data: bytes, make: Callable[[bytes], Tensor]) -> Tensor:
        """Give what `make` made of these bytes, now or before; not to be written to."""
        key = hashlib.sha256(data).digest()
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        # Outside the lock: two may do the same work, none waits for another's image.
        features = make(data)
        size = features.nbytes
        with self._lock:
            if key not in self._kept and size <= self._max_bytes:
                self._kept[key] = features
                self._n_bytes += size
                while self._n_bytes > self._max_bytes:
                    self._n_bytes -= self._kept.popitem(last=False)[1].nbytes
        return features


def pool_grid(features: Tensor, side: int, grid: int) -> Tensor:
    """Pool the features of images, (F, P, D), to (F, L, D), the class token last.

    Source: VisualRWKV, `grid_pooling`, as in the last commit of version 6 (67676fa): earlier ones had the
        class token first, which the reversal of all but the last row then mixed with the patches.

    Args:
        features: the class token first.
        side: patches along an edge.
        grid: -1 all patches, 0 the class token alone, 1 their mean, n a grid of n by n.
    """
    first, patches = features[:, :1], features[:, 1:]
    if grid == 0:
        return first
    if grid == 1:
        patches = patches.mean(1, keepdim=True)
    elif grid > 1:
        square = patches.transpose(1, 2).reshape(len(patches), -1, side, side)
        # A side that is no multiple of the grid leaves out what is over at the right and below.
        patches = functional.avg_pool2d(square, side // grid).flatten(2).transpose(1, 2)
    return torch.cat([patches, first], 1)


@torch.inference_mode()
def see(
    tower: VisionTower, data: bytes, preparation: Preprocessing, limits: ImageLimits = DEFAULT_LIMITS
) -> Tensor:
    """Give the features of the frames of an image file, float32, (F, P, D), frame by frame.

    Raises:
        ContentError: it is no whole image, or too large.
    """
    pixels = torch.from_numpy(preprocess(data, preparation, limits))
    return torch.cat([tower(frame.unsqueeze(0)) for frame in pixels])
