"""Mod-VisualRWKV: a CLIP tower, a projector and an RWKV language model in one file: reads images in prompts.

An image becomes rows that take the place of token embeddings: the tower's features, pooled, the class token
last, projected to the width of the backbone. Layers 1, 3, 5 … may read the patches backwards, so that a patch
can know of those after it.

| letter | what |
| --- | --- |
| B T C | sequences, tokens, width of the backbone |
| F | frames of an image |
| P D | patches and the class token before them, width of the tower |
| L | rows an image becomes |

Source: VisualRWKV (arXiv 2406.13362), `VisualRWKV-v6/v6.0/src/model.py` (class VisualRWKV) for pooling,
projector and reversal, `VisualRWKV-v7/v7.00/src/model.py` (MLPWithContextGating) for the gated projector. The
code is our own. Ours: reading backwards with RWKV-7, whose published models do not; the values of its layer 0
stay with their rows.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gooseguard.codec.image import DEFAULT_LIMITS, Preprocessing, read_preprocessing
from gooseguard.codec.layout import LAYER_NORM_EPSILON
from gooseguard.codec.visual_layout import (
    VisualConfig,
    infer_visual,
    read_settings,
    strip_prefix,
    tower_names,
)
from gooseguard.codec.visual_prompt import VISUAL_PROMPT_VERSION
from gooseguard.codec.world import WorldTokenizer
from gooseguard.core.content import Modality
from gooseguard.core.errors import ArtefactError
from gooseguard.core.manifest import canonical_json
from gooseguard.models.language import LanguageModel, Prefix
from gooseguard.models.layers import Linear
from gooseguard.models.official import make_rwkv, read_official
from gooseguard.models.vision import FeatureCache, VisionTower, check_preparation, pool_grid, see

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gooseguard.codec.image import ImageLimits
    from gooseguard.models.language import Vocabulary
    from gooseguard.models.rwkv import Rwkv

WEIGHTS = ("*.safetensors", "*.pth")
"""How the one file with the weights is called in a folder."""


class GatedProjector(nn.Module):
    """The projector of version 7: what each feature gates is projected and normed."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.gate = Linear(n_in, n_in)
        self.o_proj = Linear(n_in, n_out)
        self.ln_v = nn.LayerNorm(n_out, LAYER_NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Project (…, D) to (…, C), float32."""
        gated = x * torch.sigmoid(self.gate(x).float())
        projected: Tensor = self.ln_v(self.o_proj(gated).float())
        return projected


class VisualRwkv(nn.Module):
    """Tower, projector and backbone. `state_dict()` has the published names: `rwkv.*`, `vit.*`, `proj.*`."""

    def __init__(self, config: VisualConfig, rwkv: Rwkv, vit: VisionTower) -> None:
        """Join a backbone that has a language head and a tower; the projector has no values yet."""
        super().__init__()
        self.config = config
        self.rwkv = rwkv
        self.vit = vit
        sizes = (config.tower.hidden_size, config.rwkv.n_embd)
        self.proj: nn.Module = GatedProjector(*sizes) if config.is_gated else Linear(*sizes)

    def pool(self, features: Tensor) -> Tensor:
        """Pool the features of images, (F, P, D), to (F, L, D), the class token last."""
        return pool_grid(features, self.config.tower.side, self.config.settings.grid)

    def project(self, pooled: Tensor) -> Tensor:
        """Project pooled features (…, L, D) to rows for the backbone, float32, (…, L, C)."""
        rows: Tensor = self.proj(pooled)
        return rows.float()

    def forward(self, sequences: Sequence[Sequence[Tensor]]) -> tuple[Tensor, Tensor]:
        """Run whole sequences of text and images.

        Args:
            sequences: B lists of runs in order: token ids, int64 (T,), or the rows of an image, (L, C).

        Returns:
            hidden after the final norm, float32, (B, T, C), meaningless at padding; lengths, int64, (B,).
        """
        made = [self._embed(runs) for runs in sequences]
        lengths = torch.tensor([len(rows) for rows, _ in made], device=made[0][0].device)
        x = nn.utils.rnn.pad_sequence([rows for rows, _ in made], batch_first=True)
        mirror: Tensor | None = None
        if self.config.settings.is_reversed:
            places = torch.arange(x.shape[1], device=x.device)
            mirror = torch.stack([torch.cat([own, places[len(own) :]]) for _, own in made])
        hidden, _ = self.rwkv.run(x, lengths, None, mirror)
        return hidden, lengths

    def _embed(self, runs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Give the rows of a sequence, float32 (T, C), and the place each trades with, int64 (T,)."""
        rows = [run if run.is_floating_point() else self.rwkv.emb(run).float() for run in runs]
        places, begin = [], 0
        for run, embedded in zip(runs, rows, strict=True):
            places.append(begin + self.mirror(len(run), is_image=run.is_floating_point(), device=run.device))
            begin += len(embedded)
        return torch.cat(rows), torch.cat(places)

    def mirror(self, n_row: int, *, is_image: bool, device: torch.device | None = None) -> Tensor:
        """Give the place, int64 (n_row,), that each row of a run trades with in every other layer."""
        places = torch.arange(n_row, device=device)
        # The class token, the last row of an image, stays where it is.
        return torch.cat([places[:-1].flip(0), places[-1:]]) if is_image else places


class VisualLanguageModel(LanguageModel):
    """A language model that also reads images in its prompts. Safe to call from several threads."""

    family = "visualrwkv"
    modalities = frozenset({Modality.TEXT, Modality.IMAGE})

    def __init__(
        self,
        visual: VisualRwkv,
        tokenizer: Vocabulary,
        preparation: Preprocessing,
        path: Path | None = None,
        limits: ImageLimits = DEFAULT_LIMITS,
    ) -> None:
        """Take a model, the vocabulary of its backbone and how its tower wants images; `path` as its base."""
        super().__init__(visual.rwkv, tokenizer, path)
        self.visual = visual.eval()
        self.preparation = preparation
        self._limits = limits
        self._cache = FeatureCache()

    @cached_property
    def digest(self) -> str:
        """Give the SHA-256 (hex) of weights, settings, preparation and limits of images, and layout."""
        table = {
            "weights": self._digest_weights(),
            "settings": self.visual.config.settings.to_json(),
            "preparation": [self.preparation.shortest_edge, *self.preparation.mean, *self.preparation.std],
            "frames": self._limits.sampled,
            "prompt": VISUAL_PROMPT_VERSION,
        }
        return hashlib.sha256(canonical_json(table).encode()).hexdigest()

    @property
    def module(self) -> nn.Module:
        """Give all that has weights."""
        return self.visual

    @property
    def image_place(self) -> str:
        """Give where images stand in a prompt."""
        return self.visual.config.settings.image_place

    def frames(self, data: bytes) -> Tensor:
        """Give the rows of each frame of an image file, float32, (F, L, C); the tower's work is kept.

        Raises:
            ContentError: it is no whole image, or too large.
        """
        pooled = self._cache.get(data, self._pooled)
        with torch.inference_mode():
            return self.visual.project(pooled)

    def _pooled(self, data: bytes) -> Tensor:
        return self.visual.pool(see(self.visual.vit, data, self.preparation, self._limits))

    @torch.inference_mode()
    def look(self, rows: Tensor, prefix: Prefix | None = None) -> Prefix:
        """Read the rows of one frame, (L, C), whole, from the beginning or from where `prefix` ends."""
        is_reversed = self.visual.config.settings.is_reversed
        mirror = self.visual.mirror(len(rows), is_image=True).unsqueeze(0) if is_reversed else None
        state = None if prefix is None else prefix.state
        hidden, state = self.model.run(rows.unsqueeze(0), None, state, mirror)
        n_before = 0 if prefix is None else prefix.n_token
        return Prefix(self._logits(hidden[:, -1])[0], state, n_before + len(rows))


def load_visual(path: Path, dtype: torch.dtype | None = None) -> tuple[VisualRwkv, Preprocessing, Path]:
    """Load a model from one file, or from a folder that holds one, on the CPU, in evaluation mode.

    Args:
        path: a `.pth` or safetensors file with `rwkv.*`, `vit.*` and `proj.*`; or a folder with it, with
            `visual.json` where it is not of the published settings, and with `preprocessor_config.json` where
            images are not prepared as CLIP's own are.
        dtype: of the backbone's matrices; `None` keeps the file's, mapped and not copied. The tower and the
            projector are float32.

    Returns:
        The model, how its tower wants images, and the file of the weights.

    Raises:
        ArtefactError: it is no whole model of this family; lists what does not fit.
    """
    folder = path if path.is_dir() else None
    file = path if folder is None else find_weights(folder)
    tensors = read_official(file)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    try:
        config = infer_visual(shapes, None if folder is None else read_settings(folder))
        rwkv = make_rwkv(config.rwkv, strip_prefix(tensors, "rwkv."), dtype)
    except ArtefactError as error:
        raise ArtefactError(f"{file}: {error}") from None
    vit = VisionTower(config.tower).load_tensors(tower_names(strip_prefix(tensors, "vit.")))
    with torch.device("meta"):
        visual = VisualRwkv(config, rwkv, vit)
    weights = {name: tensor.float() for name, tensor in strip_prefix(tensors, "proj.").items()}
    visual.proj.load_state_dict(weights, assign=True)
    return visual.requires_grad_(requires_grad=False).eval(), _preparation(folder, config, file), file


def _preparation(folder: Path | None, config: VisualConfig, file: Path) -> Preprocessing:
    size = config.tower.image_size
    if folder is None or not (folder / "preprocessor_config.json").exists():
        return Preprocessing(size, size)
    preparation = read_preprocessing(folder)
    check_preparation(preparation, config.tower, str(file))
    return preparation


def find_weights(folder: Path) -> Path:
    """Give the one file of weights in a folder.

    Raises:
        ArtefactError: there is none, or there are several.
    """
    found = sorted(path for pattern in WEIGHTS for path in folder.glob(pattern))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ArtefactError(
            f"{folder}: files of weights: {names}; expected exactly one .pth or .safetensors file in it"
        )
    return found[0]


def load(path: Path, vocabulary: Path | None, threads: int) -> VisualLanguageModel:
    """Load a model that reads and writes text and reads images; raises as `load_visual`.

    Args:
        path: file or folder, as `load_visual`.
        vocabulary: World vocabulary file; `None` for that of the installed `rwkv` package.
        threads: of torch; set for the whole process, since torch has no other setting.
    """
    torch.set_num_threads(threads)
    visual, preparation, file = load_visual(path)
    tokenizer = WorldTokenizer.from_package() if vocabulary is None else WorldTokenizer.from_file(vocabulary)
    return VisualLanguageModel(visual, tokenizer, preparation, file)
