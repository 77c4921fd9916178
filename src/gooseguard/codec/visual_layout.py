"""The layout of a Mod-VisualRWKV model in one file: `rwkv.*`, `vit.*` and `proj.*`, and its config.

Sizes are read off the shapes of the tensors; what shapes cannot tell (where the image goes, how it is pooled,
whether alternate layers read it backwards) stands in a small JSON file, or has the values of the published
models. Knows no framework.

Source: VisualRWKV (arXiv 2406.13362), `VisualRWKV-v6/v6.0/src/model.py` and
`VisualRWKV-v7/v7.00/src/model.py` (class VisualRWKV) for the names; transformers'
`CLIPVisionModel` for those of the tower.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from gooseguard.codec.layout import RwkvConfig, infer_config
from gooseguard.core.errors import ArtefactError
from gooseguard.core.taxonomy import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Shape = tuple[int, ...]

SETTINGS_FILE = "visual.json"
"""What shapes cannot tell, beside the weights."""

PARTS = ("rwkv.", "vit.", "proj.")
"""How names in the single file begin."""

TOWER_PREFIX = "vision_model."
"""How the tower's names begin, after `vit.` and in a folder of its own."""

HEAD_WIDTH = 64
"""Of every published CLIP tower; the file does not tell it."""

ACTIVATIONS = ("quick_gelu", "gelu")
"""Of the tower's MLP: OpenAI's own towers, and those of OpenCLIP."""


class ImagePlace(StrEnum):
    """Where the image stands in the user's turn."""

    FIRST = "first"
    MIDDLE = "middle"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class TowerConfig:
    """Every size of a CLIP vision tower."""

    hidden_size: int
    """Width D."""
    intermediate_size: int
    """Of the MLP."""
    num_hidden_layers: int
    """Blocks."""
    num_attention_heads: int
    """Heads a block."""
    image_size: int
    """Pixels of the square input's edge."""
    patch_size: int
    """Pixels of a patch's edge."""
    hidden_act: str = ACTIVATIONS[0]
    """One of `ACTIVATIONS`."""
    layer_norm_eps: float = 1e-5
    """Of every layer norm."""

    @property
    def side(self) -> int:
        """Give the patches along an edge."""
        return self.image_size // self.patch_size


@dataclass(frozen=True, slots=True)
class VisualSettings:
    """What the shapes of the tensors cannot tell; defaults are those of the published version 6."""

    image_place: str = ImagePlace.FIRST.value
    """Where the image stands: first, middle (the text before and after it) or last."""
    grid: int = -1
    """Pooling: -1 all patches, 0 the class token alone, 1 their mean, n a grid of n by n; the class token
    comes last in each."""
    is_reversed: bool = True
    """Whether every other layer, from the second on, reads the patches backwards."""
    n_head: int = 0
    """Heads of the tower; 0 is one for each 64 of its width."""
    activation: str = ACTIVATIONS[0]
    """Of the tower's MLP."""

    def __post_init__(self) -> None:
        findings = []
        if self.image_place not in [place.value for place in ImagePlace]:
            findings.append(
                f"image_place is {self.image_place!r}, expected one of {', '.join(ImagePlace)}"
                f"{nearest(self.image_place, ImagePlace)}"
            )
        if self.grid < -1:
            findings.append(f"grid is {self.grid}, expected -1 or more")
        if self.n_head < 0:
            findings.append(f"n_head is {self.n_head}, expected 0 or more")
        if self.activation not in ACTIVATIONS:
            findings.append(f"activation is {self.activation!r}, expected one of {', '.join(ACTIVATIONS)}")
        if findings:
            raise ArtefactError(f"visual settings: {'; '.join(findings)}")

    def to_json(self) -> dict[str, Any]:
        """Give what `read_settings` reads."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class VisualConfig:
    """Everything about a Mod-VisualRWKV model but its values."""

    rwkv: RwkvConfig
    """The backbone."""
    tower: TowerConfig
    """What sees."""
    settings: VisualSettings
    """How both are joined."""
    is_gated: bool = False
    """Whether the projector is version 7's gated one, rather than a matrix."""

    @property
    def n_patch(self) -> int:
        """Give the rows an image becomes, the class token aside: those that are read backwards."""
        grid, side = self.settings.grid, self.tower.side
        if grid < 2:
            return {-1: side * side, 0: 0, 1: 1}[grid]
        return (side // (side // grid)) ** 2


def settings_from_json(table: object, where: str) -> VisualSettings:
    """Read what `VisualSettings.to_json` gives; what is missing has its default.

    Raises:
        ArtefactError: a key is unknown, or a value of the wrong type.
    """
    if not isinstance(table, dict):
        raise ArtefactError(f'{where}: is no JSON object; expected such as {{"image_place": "first"}}')
    kinds = {field.name: type(field.default) for field in fields(VisualSettings)}
    findings = [f"{name!r} is unknown{nearest(name, kinds)}" for name in table if name not in kinds]
    findings += [
        f"{name!r} is {value!r}, expected {kinds[name].__name__}"
        for name, value in table.items()
        if name in kinds and type(value) is not kinds[name]
    ]
    if findings:
        raise ArtefactError(f"{where}: {'; '.join(findings)}")
    try:
        return replace(VisualSettings(), **table)
    except ArtefactError as error:
        raise ArtefactError(f"{where}: {error}") from None


def read_settings(folder: Path) -> VisualSettings | None:
    """Read `visual.json` of a folder; `None` where there is none.

    Raises:
        ArtefactError: it is wrong.
    """
    path = folder / SETTINGS_FILE
    if not path.exists():
        return None
    try:
        table = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path}: cannot be read ({type(error).__name__}); expected JSON") from None
    return settings_from_json(table, str(path))


def infer_visual(shapes: Mapping[str, Shape], settings: VisualSettings | None = None) -> VisualConfig:
    """Read the config of a model in one file off the shapes of its tensors.

    Args:
        shapes: of all tensors in the file, under their names.
        settings: what shapes cannot tell; `None`: image first, all patches, and read backwards in every other
            layer where the backbone is RWKV-6, as the published models of each version do.

    Raises:
        ArtefactError: it does not fit, with the list of what is missing, unexpected or misshaped.
    """
    strange = sorted(name for name in shapes if not name.startswith(PARTS))
    lacking = [part for part in PARTS if not any(name.startswith(part) for name in shapes)]
    if strange or lacking:
        findings = [
            *(f"{part}* is missing" for part in lacking),
            *(f"{name} is unexpected" for name in strange),
        ]
        raise ArtefactError(
            f"no VisualRWKV checkpoint: {_shown(findings)}; expected rwkv.*, vit.* and proj.*"
        )
    rwkv_shapes, tower_shapes, proj = (strip_prefix(shapes, part) for part in PARTS)
    rwkv = infer_config(rwkv_shapes)
    if "head.weight" not in rwkv_shapes:
        raise ArtefactError("rwkv.head.weight is missing; expected a backbone with its language head")
    if settings is None:
        settings = VisualSettings(is_reversed=rwkv.version == "x060")
    tower = infer_tower(tower_names(tower_shapes), settings.n_head, settings.activation)
    if settings.grid > tower.side:
        raise ArtefactError(
            f"visual settings: grid is {settings.grid}, expected at most {tower.side} (patches)"
        )
    is_gated = "gate.weight" in proj
    check_tensors(proj, projector_shapes(tower.hidden_size, rwkv.n_embd, is_gated=is_gated), "proj.")
    return VisualConfig(rwkv, tower, settings, is_gated)


def projector_shapes(n_in: int, n_out: int, *, is_gated: bool) -> dict[str, Shape]:
    """Give name and shape of each tensor of a projector from the tower's width to the backbone's."""
    if not is_gated:
        return {"weight": (n_out, n_in)}
    return {
        "gate.weight": (n_in, n_in),
        "o_proj.weight": (n_out, n_in),
        "ln_v.weight": (n_out,),
        "ln_v.bias": (n_out,),
    }


def infer_tower(
    shapes: Mapping[str, Shape], n_head: int = 0, activation: str = ACTIVATIONS[0]
) -> TowerConfig:
    """Read the sizes of a CLIP tower off its tensors, named as `CLIPVisionModel` publishes them.

    Raises:
        ArtefactError: it is no whole CLIP tower; lists what is wrong.
    """
    patches = tuple(shapes.get(f"{TOWER_PREFIX}embeddings.patch_embedding.weight", ()))
    positions = tuple(shapes.get(f"{TOWER_PREFIX}embeddings.position_embedding.weight", ()))
    pattern = re.compile(rf"{re.escape(TOWER_PREFIX)}encoder\.layers\.(\d{{1,4}})\.")
    layers = [int(match[1]) for name in shapes if (match := pattern.match(name))]
    if len(patches) != 4 or len(positions) != 2 or not layers:
        groups = sorted({name.removeprefix(TOWER_PREFIX).partition(".")[0] for name in shapes})
        raise ArtefactError(
            f"vit is no CLIP tower: it has {_shown(groups)}; expected {TOWER_PREFIX}embeddings.* and "
            f"{TOWER_PREFIX}encoder.layers.*, as CLIP ViT-L/14 (SAM, DINOv2 and SigLIP are not read)"
        )
    D, _, patch, _ = patches
    mlp = shapes.get(f"{TOWER_PREFIX}encoder.layers.0.mlp.fc1.weight", (4 * D, D))
    heads = n_head or D // HEAD_WIDTH
    if heads < 1 or D % heads:
        raise ArtefactError(
            f"vit: width {D} is no multiple of its {heads} heads; pass n_head in {SETTINGS_FILE}"
        )
    side = math.isqrt(max(positions[0] - 1, 0))
    tower = TowerConfig(D, mlp[0], 1 + max(layers), heads, side * patch, patch, activation)
    # A buffer of older files: the numbers of the positions.
    found = {name: shape for name, shape in shapes.items() if not name.endswith("embeddings.position_ids")}
    check_tensors(found, tower_shapes_of(tower), "vit.")
    return tower


def tower_shapes_of(config: TowerConfig) -> dict[str, Shape]:
    """Give the published name and shape of each tensor of a CLIP tower."""
    D, F, patch = config.hidden_size, config.intermediate_size, config.patch_size
    shapes: dict[str, Shape] = {
        "embeddings.class_embedding": (D,),
        "embeddings.patch_embedding.weight": (D, 3, patch, patch),
        "embeddings.position_embedding.weight": (config.side**2 + 1, D),
    }
    linears = {f"self_attn.{name}_proj": (D, D) for name in "kvq"} | {"self_attn.out_proj": (D, D)}
    linears |= {"mlp.fc1": (F, D), "mlp.fc2": (D, F)}
    for i in range(config.num_hidden_layers):
        for name, shape in linears.items():
            shapes[f"encoder.layers.{i}.{name}.weight"] = shape
            shapes[f"encoder.layers.{i}.{name}.bias"] = shape[:1]
    norms = ["pre_layrnorm", "post_layernorm"]
    norms += [f"encoder.layers.{i}.layer_norm{n}" for i in range(config.num_hidden_layers) for n in (1, 2)]
    shapes |= {f"{norm}.{kind}": (D,) for norm in norms for kind in ("weight", "bias")}
    return {f"{TOWER_PREFIX}{name}": shape for name, shape in shapes.items()}


def tower_names(table: Mapping[str, Any]) -> dict[str, Any]:
    """Give the entries of a tower under the published names, CLIP's text half left out.

    transformers writes a tower of its own without `vision_model.` since its version 5.
    """
    if any(name.startswith(TOWER_PREFIX) for name in table):
        return {name: value for name, value in table.items() if name.startswith(TOWER_PREFIX)}
    return {f"{TOWER_PREFIX}{name}": value for name, value in table.items()}


def strip_prefix(table: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Give the entries whose name begins with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in table.items() if name.startswith(prefix)}


def check_tensors(found: Mapping[str, Shape], expected: Mapping[str, Shape], prefix: str) -> None:
    """Check that exactly the expected tensors are there, each of its shape.

    Raises:
        ArtefactError: with the list of missing, unexpected and misshaped ones.
    """
    findings = [
        *(f"{prefix}{name} is missing" for name in sorted(set(expected) - set(found))),
        *(f"{prefix}{name} is unexpected" for name in sorted(set(found) - set(expected))),
        *(
            f"{prefix}{name} is {tuple(found[name])}, expected {shape}"
            for name, shape in expected.items()
            if name in found and tuple(found[name]) != shape
        ),
    ]
    if findings:
        raise ArtefactError(f"checkpoint does not fit: {_shown(findings)}")


def _shown(findings: list[str]) -> str:
    rest = f"; and {len(findings) - 12} more" if len(findings) > 12 else ""
    return "; ".join(findings[:12]) + rest
