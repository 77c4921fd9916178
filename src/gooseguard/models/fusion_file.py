"""A fusion head and its calibration in one safetensors file; the encoders are named by their digests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gooseguard.codec.scores import Calibration
from gooseguard.core.content import Modality
from gooseguard.core.errors import ArtefactError, ConfigError
from gooseguard.core.files import replacing
from gooseguard.core.manifest import canonical_json
from gooseguard.models.fusion import HEADS, FusionConfig, FusionKind
from gooseguard.models.fusion_scorer import FusionScorer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gooseguard.models.fusion_scorer import Encoder

FORMAT = "gooseguard-fusion"
"""Name of the format, and the key of its description."""

FORMAT_VERSION = 1
"""Version that is written, and the only one that is read."""


def write_fusion(scorer: FusionScorer, path: Path) -> None:
    """Write the head and the calibration of a scorer; beside, then renamed."""
    config = scorer.head.config
    table = {
        "version": FORMAT_VERSION,
        "kind": config.kind.value,
        # A list: their order is that of the weights.
        "widths": [[str(name), width] for name, width in config.widths.items()],
        "categories": list(config.categories),
        "width": config.width,
        "n_head": config.n_head,
        "n_block": config.n_block,
        "calibration": scorer.calibration.to_json(),
        "base_rates": list(scorer.base_rates),
        "languages": sorted(scorer.languages),
        "encoders": scorer.encoder_digests,
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in scorer.head.state_dict().items()}
    with replacing(path) as partial:
        save_file(tensors, partial, {FORMAT: canonical_json(table)})


def read_fusion(path: Path, encoders: Mapping[Modality, Encoder]) -> FusionScorer:
    """Read what `write_fusion` wrote.

    Args:
        path: the file.
        encoders: the same that the head was trained on.

    Raises:
        ArtefactError: it is no such file, damaged, of a newer version, or made for other encoders.
    """
    try:
        with safe_open(path, "pt") as file:
            table: dict[str, Any] = json.loads((file.metadata() or {})[FORMAT])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ArtefactError(
            f"{path}: cannot be read as a fusion head ({type(error).__name__}); write it again"
        ) from None
    if table.get("version") != FORMAT_VERSION:
        raise ArtefactError(
            f"{path}: format version is {table.get('version')!r}, expected {FORMAT_VERSION}; "
            "upgrade gooseguard"
        )
    found = {str(name): encoder.digest for name, encoder in encoders.items()}
    if found != table["encoders"]:
        names = sorted(
            name for name in {*found, *table["encoders"]} if found.get(name) != table["encoders"].get(name)
        )
        raise ArtefactError(
            f"{path}: the head was trained on other encoders of {', '.join(names)}; expected the same ones"
        )
    try:
        config = FusionConfig(
            FusionKind(table["kind"]),
            {Modality(name): width for name, width in table["widths"]},
            tuple(table["categories"]),
            table["width"],
            table["n_head"],
            table["n_block"],
        )
        with torch.device("meta"):
            head = HEADS[config.kind](config)
        head.load_state_dict(tensors, assign=True)
        calibration = Calibration.from_json(table["calibration"], config.categories)
        return FusionScorer(head, encoders, calibration, table["languages"], table["base_rates"])
    except (KeyError, TypeError, ValueError, RuntimeError, ConfigError) as error:
        raise ArtefactError(
            f"{path}: description and tensors do not fit ({type(error).__name__}); write it again"
        ) from None
