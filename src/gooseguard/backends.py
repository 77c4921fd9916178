"""The one place that picks a backend: an engine file, or the packaged starter model, to a scorer."""

from __future__ import annotations

import os
import warnings
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from gooseguard.codec import extension
from gooseguard.core.errors import ArtefactError
from gooseguard.engine.file import EngineFile, read_engine_file
from gooseguard.engine.portable import PortableBackbone
from gooseguard.engine.scorer import TextScorer

if TYPE_CHECKING:
    from collections.abc import Callable

STARTER = "starter-text"
"""The model that ships with Gooseguard."""


def load(model: str | Path | None = None, *, threads: int | None = None, spans: bool = False) -> TextScorer:
    """Load a model that scores text.

    Warns once, as `RuntimeWarning`, where the native extension is missing.

    Args:
        model: path of an engine file; `None` for the packaged starter.
        threads: texts worked on at once; `None` for as many as this process may use processors.
        spans: whether to report which sentences score high.

    Raises:
        ArtefactError: there is no such file, or it is no whole engine file.
        ConfigError: `threads` is below 1.
    """
    if (reason := extension.problem()) is not None:
        warnings.warn(
            f"the native extension is {reason}; the Python one gives the same scores, more slowly",
            RuntimeWarning,
            stacklevel=2,
        )
    file = _read_starter() if model is None else read_engine_file(Path(model))
    # Each worker of the scorer calls the backbone for itself.
    backbone = PortableBackbone(file.model.config.backbone, file.model.backbone, threads=1)
    return TextScorer(file, backbone, threads=count_processors() if threads is None else threads, spans=spans)


def count_processors() -> int:
    """Give how many processors this process may use."""
    # Only Linux knows which processors a process is held to.
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _read_starter() -> EngineFile:
    resource = resources.files("gooseguard").joinpath("weights", f"{STARTER}.safetensors")
    if not resource.is_file():
        raise ArtefactError(
            f"this installation has no packaged model {STARTER!r}; "
            "install a released gooseguard, or name an engine file"
        )
    with resources.as_file(resource) as path:
        return read_engine_file(path)
