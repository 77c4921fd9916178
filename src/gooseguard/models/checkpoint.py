"""Torch text model to checkpoint folder and back; `codec/checkpoint.py` reads the folder without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors.numpy import save_file

from gooseguard.codec.checkpoint import (
    CALIBRATION_FILE,
    CARD_FILE,
    CHECKPOINT_VERSION,
    CONFIG_FILE,
    VOCABULARY_FILE,
    WEIGHTS_FILE,
    read_model_folder,
)
from gooseguard.codec.scores import Calibration
from gooseguard.codec.text_model import TextModel, TextModelConfig, vocabulary_digest
from gooseguard.core.manifest import Manifest, canonical_json, digest_file, open_artefact, write_manifest
from gooseguard.models.mod_rwkv import ModRwkv, ModRwkvConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gooseguard.codec.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A checkpoint as it was read."""

    manifest: Manifest
    """What the folder says of itself."""
    content: TextModel
    """The model in plain arrays: config, tensors, calibration, tokenizer, card."""

    def load(self) -> ModRwkv:
        """Make the torch module, float32 on the CPU, in evaluation mode; its weights are copies."""
        config = self.content.config
        model = ModRwkv(ModRwkvConfig(config.backbone, config.categories, config.n_pairs))
        model.load_state_dict(
            {name: torch.from_numpy(tensor) for name, tensor in self.content.tensors.items()}
        )
        return model.eval()


def write_checkpoint(  # noqa: PLR0913  (one parameter for each thing that the folder holds)
    folder: Path,
    model: ModRwkv,
    *,
    name: str,
    tokenizer: Tokenizer,
    calibration: Mapping[str, Mapping[str, float]],
    languages: Sequence[str],
    card: Mapping[str, Any],
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
) -> Path:
    """Write a checkpoint folder: beside, then renamed, so that it is whole or not there.

    Args:
        folder: replaced if it is a checkpoint already.
        model: its weights are stored as float32.
        name: such as "starter-text".
        tokenizer: the vocabulary that the model was trained with.
        calibration: category to {"scale": …, "bias": …}, as `codec.scores.Calibration` reads it.
        languages: BCP-47 tags of the training data.
        card: facts of the model card, JSON values.
        config: of the run, overrides included, JSON values; for the manifest.
        inputs: name of each input of the run to its SHA-256; for the manifest.

    Returns:
        The folder.

    Raises:
        ArtefactError: the folder holds something else, the pieces do not fit each other, a number is not
            finite, or nothing can be written; lists everything that is wrong with the model.
    """
    categories = model.config.categories
    model_config = TextModelConfig(
        name=name,
        backbone=model.config.backbone,
        categories=categories,
        languages=tuple(sorted(languages)),
        vocabulary_sha256=vocabulary_digest(tokenizer.to_json()),
        n_pairs=model.config.n_pairs,
    )
    weights = {
        name: tensor.detach().to("cpu", torch.float32).contiguous().numpy()
        for name, tensor in model.state_dict().items()
    }
    content = TextModel(
        model_config, weights, Calibration.from_json(calibration, categories), tokenizer, card
    )
    content.check(f"checkpoint {folder}")
    with open_artefact(folder, "checkpoint") as partial:
        _write(partial, content, config, inputs)
    return folder


def _write(folder: Path, content: TextModel, config: Mapping[str, Any], inputs: Mapping[str, str]) -> None:
    """Write all files of a checkpoint, the manifest last."""
    save_file(dict(content.tensors), folder / WEIGHTS_FILE)
    tables = {
        CONFIG_FILE: content.config.to_json(),
        CALIBRATION_FILE: content.calibration.to_json(),
        CARD_FILE: dict(content.card),
    }
    for name, table in tables.items():
        text = json.dumps(table, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        (folder / name).write_text(f"{text}\n", "utf-8")
    (folder / VOCABULARY_FILE).write_text(content.tokenizer.to_json(), "utf-8")
    names = (WEIGHTS_FILE, *tables, VOCABULARY_FILE)
    manifest = Manifest(
        kind="checkpoint",
        format_version=CHECKPOINT_VERSION,
        # Refuses NaN here rather than in a reader.
        config=json.loads(canonical_json(config)),
        inputs=inputs,
        files={name: digest_file(folder / name) for name in names},
        facts={"name": content.config.name, "digest": content.digest()},
    )
    write_manifest(folder, manifest)


def read_checkpoint(folder: Path, *, verify: bool = False) -> Checkpoint:
    """Read a checkpoint folder.

    Args:
        folder: what `write_checkpoint` left.
        verify: also compare the digest of every file with the manifest.

    Raises:
        ArtefactError: lists everything that is wrong.
    """
    return Checkpoint(*read_model_folder(folder, verify=verify))
