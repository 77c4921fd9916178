"""The checkpoint folder (docs/formats.md) to a text model in plain arrays.

Knows no framework, so that training and the engine read the same thing; `models/checkpoint.py` writes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.numpy import load_file

from gooseguard.codec.scores import Calibration
from gooseguard.codec.text_model import (
    Findings,
    TextModel,
    TextModelConfig,
    check_tensor_shapes,
    check_values,
    check_vocabulary,
    parse_json,
)
from gooseguard.codec.tokenizer import Tokenizer
from gooseguard.core.errors import ArtefactError
from gooseguard.core.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

CHECKPOINT_VERSION = 1
"""Newest format version of a folder that is read, and the one that is written."""

WEIGHTS_FILE, CONFIG_FILE, CALIBRATION_FILE = "model.safetensors", "config.json", "calibration.json"
"""Files of a checkpoint."""

VOCABULARY_FILE, CARD_FILE = "vocabulary.json", "card.json"
"""Files of a checkpoint."""


def read_model_folder(folder: Path, *, verify: bool) -> tuple[Manifest, TextModel]:
    """Read a checkpoint folder.

    Args:
        folder: as `models.checkpoint.write_checkpoint` leaves it.
        verify: also compare the digest of every file with the manifest.

    Raises:
        ArtefactError: lists everything that is wrong.
    """
    manifest = read_manifest(folder, "checkpoint", CHECKPOINT_VERSION, verify=verify)
    findings = Findings()
    tables: dict[str, Any] = {}
    for name in (CONFIG_FILE, CALIBRATION_FILE, CARD_FILE):
        with findings.collect():
            tables[name] = parse_json(_read_bytes(folder, name), name)
    vocabulary, tokenizer, config, calibration = "", None, None, None
    with findings.collect():
        data = _read_bytes(folder, VOCABULARY_FILE)
        tokenizer = Tokenizer.from_json(data)
        vocabulary = data.decode("utf-8")
    if CONFIG_FILE in tables:
        with findings.collect():
            config = TextModelConfig.from_json(tables[CONFIG_FILE])
    if config is not None and CALIBRATION_FILE in tables:
        with findings.collect():
            calibration = Calibration.from_json(tables[CALIBRATION_FILE], config.categories)
    if CARD_FILE in tables and not isinstance(tables[CARD_FILE], dict):
        findings.messages.append(f"{CARD_FILE} is no JSON object")
    tensors: dict[str, npt.NDArray[Any]] = {}
    with findings.collect():
        tensors = _read_tensors(folder)
        check_values(tensors)
    if config is not None and tensors:
        with findings.collect():
            check_tensor_shapes({name: tensor.shape for name, tensor in tensors.items()}, config)
    if config is not None and tokenizer is not None:
        with findings.collect():
            check_vocabulary(tokenizer, vocabulary, config)
    findings.raise_any(f"checkpoint {folder}")
    # Each of them is missing only with a finding.
    assert config is not None and calibration is not None and tokenizer is not None
    return manifest, TextModel(config, tensors, calibration, tokenizer, tables[CARD_FILE])


def _read_bytes(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise ArtefactError(
            f"{name} cannot be read ({type(error).__name__}); make the checkpoint again"
        ) from None


def _read_tensors(folder: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        return load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError, KeyError, AttributeError, TypeError) as error:
        # The latter three: a dtype that NumPy does not have.
        raise ArtefactError(
            f"{WEIGHTS_FILE} cannot be read as float32 safetensors ({type(error).__name__}); "
            "make the checkpoint again"
        ) from None
