"""Base checkpoint and adapter -> checkpoint in the official layout: same names, shapes and dtypes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gooseguard.core.errors import ArtefactError, ConfigError
from gooseguard.models.adapter import Form, pairs, read_adapter, tensors_digest
from gooseguard.models.lora import merged
from gooseguard.models.official import read_official, write_tensors

if TYPE_CHECKING:
    from pathlib import Path


def merge(base: Path, adapter: Path, output: Path) -> str:
    """Add an adapter's deltas to its base and write the sum.

    The base stays mapped from its file; what is held in memory are the matrices that change.

    Args:
        base: official checkpoint, `.pth` or safetensors.
        adapter: folder that fine-tuning wrote.
        output: ends in `.pth` or `.safetensors`, which says the format; replaced if it is there.

    Returns:
        Digest (hex) of the written weights.

    Raises:
        ArtefactError: a file is broken, the adapter was learnt on another base, or nothing can be written.
        ConfigError: the adapter holds initial states, which no checkpoint has a place for, or the output is
            the base itself.
    """
    if output.resolve() == base.resolve():
        raise ConfigError(
            f"{output}: is the base itself, which is mapped while it is read; name another file"
        )
    read = read_adapter(adapter)
    if read.form is not Form.LORA or read.lora is None:
        raise ConfigError(
            f"{adapter}: holds initial states, which the official layout has no place for; "
            "load it beside its base instead"
        )
    tensors = read_official(base)
    read.check_base(tensors_digest(tensors), str(base))
    for name, lora_a, lora_b in pairs(read.tensors):
        shape = (lora_b.shape[0], lora_a.shape[1])
        if name not in tensors or tuple(tensors[name].shape) != shape:
            raise ArtefactError(
                f"{adapter}: has a delta of shape {shape} for {name}, which {base} has not so"
            )
        tensors[name] = merged(tensors[name], lora_a, lora_b, read.lora.scale)
    write_tensors(tensors, output)
    return tensors_digest(tensors)
