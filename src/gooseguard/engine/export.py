"""Checkpoint folder to engine file. Knows no torch: both are read and written in NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gooseguard.codec.checkpoint import read_model_folder
from gooseguard.engine.file import EngineFile, write_engine_file

if TYPE_CHECKING:
    from pathlib import Path


def export(checkpoint: Path, output: Path, dtype: str = "bf16") -> EngineFile:
    """Write the engine file of a checkpoint.

    Args:
        checkpoint: a folder, verified against its manifest first.
        output: the file, replaced if there is one.
        dtype: what matrices are stored as: "f32", or "bf16" at half the size.

    Returns:
        What was written, read back and verified.

    Raises:
        ArtefactError: the checkpoint is incomplete or altered, or the file cannot be written.
        ConfigError: there is no such dtype.
    """
    _, model = read_model_folder(checkpoint, verify=True)
    return write_engine_file(output, model, dtype, parent=model.digest())
