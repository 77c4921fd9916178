"""The state of one text as bytes, and back: what a session is kept as between two pieces. Data, no code.

A safetensors file. Metadata: `format`, `format_version`, `model` ("name@digest", without which a state means
nothing) and `facts`, JSON: what the text stream holds back. The tensors are the engine's; there are none
before the first token.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save as write_tensors

from gooseguard.core.errors import ArtefactError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

FORMAT = "gooseguard-state"
FORMAT_VERSION = "1"


def pack_state(model: str, facts: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Give a state as bytes.

    Args:
        model: "name@digest".
        facts: JSON-ready.
        arrays: of any dtype of NumPy's own; empty before the first token.
    """
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model": model,
        "facts": json.dumps(facts, separators=(",", ":")),
    }
    return write_tensors({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata)


def unpack_state(data: bytes, model: str) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Give facts and arrays of a state.

    Args:
        data: what `pack_state` gave.
        model: that of the state.

    Raises:
        ArtefactError: it is no whole state, or of another model or version.
    """
    try:
        arrays = read_tensors(data)
        size = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + size])["__metadata__"]
        facts = json.loads(metadata["facts"])
    except (SafetensorError, KeyError, TypeError, ValueError):
        raise ArtefactError("state: no whole state file; open a new session") from None
    if metadata.get("format") != FORMAT or metadata.get("format_version") != FORMAT_VERSION:
        raise ArtefactError("state: of an unknown format; open a new session")
    if metadata.get("model") != model:
        raise ArtefactError(f"state: of model {metadata.get('model')}, expected {model}; open a new session")
    if not all(np.isfinite(array).all() for array in arrays.values()) or not isinstance(facts, dict):
        raise ArtefactError("state: it is damaged; open a new session")
    return facts, arrays
