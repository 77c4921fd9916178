"""LLaVA and an adapter of peft -> LLaVA in the published layout: same names, shapes and dtypes."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import torch

from gooseguard.core.errors import ArtefactError
from gooseguard.core.files import new_folder
from gooseguard.models.mod_llava import adapt, load_llava, read_json

if TYPE_CHECKING:
    from pathlib import Path

BESIDE = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "preprocessor_config.json",
    "processor_config.json",
    "chat_template.json",
    "chat_template.jinja",
)
"""Files of the base that are copied as they are, where it has them."""


def merge_llava(base: Path, adapter: Path, output: Path) -> Path:
    """Add an adapter to its base and write the whole, with tokenizer and preprocessor, for `--model`.

    Args:
        base: folder of the model that the adapter was learnt on; where the adapter says it lies counts
            for nothing here, so that both may have moved.
        adapter: folder, as peft or `gooseguard train` writes it.
        output: a folder that is not there yet; it is there whole, or not at all.

    Returns:
        The output.

    Raises:
        ArtefactError: the adapter or its base is broken, they do not fit, there is something at `output`, or
            nothing can be written.
    """
    if output.exists():
        raise ArtefactError(f"{output}: exists; choose another folder")
    dtype = getattr(torch, str(read_json(base / "config.json").get("dtype") or "float32"))
    model, _ = load_llava(base, dtype)
    merged: Any = adapt(model, adapter)
    try:
        with new_folder(output) as folder:
            merged.merge_and_unload().save_pretrained(str(folder))
            for name in BESIDE:
                if (base / name).is_file():
                    shutil.copyfile(base / name, folder / name)
    except OSError as error:
        raise ArtefactError(f"{output}: cannot be written ({type(error).__name__}: {error})") from None
    return output
