"""Readers of published sets, by name: `READERS` lists them, `open_source` opens what was downloaded."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from gooseguard.core.errors import ConfigError
from gooseguard.core.taxonomy import nearest
from gooseguard.data.sources.delimited import open_csv
from gooseguard.data.sources.hugging_face import open_hugging_face
from gooseguard.data.sources.json_lines import open_json_lines
from gooseguard.data.sources.labelled_text import open_labelled_text
from gooseguard.data.sources.media_files import open_media_folder
from gooseguard.data.sources.parquet import open_parquet
from gooseguard.data.sources.source import Faults, OnFault, Source, SourceConfig, SourceRow
from gooseguard.data.sources.web_dataset import open_web_dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Reader = Callable[[Path, SourceConfig], tuple[Source, ...]]
    """What was downloaded, and the recipe's words on it -> its sets."""

__all__ = ["READERS", "Faults", "OnFault", "Source", "SourceConfig", "SourceRow", "open_source"]

READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "csv": open_csv,
        "hugging_face": open_hugging_face,
        "json_lines": open_json_lines,
        "labelled_text": open_labelled_text,
        "media_folder": open_media_folder,
        "parquet": open_parquet,
        "web_dataset": open_web_dataset,
    }
)
"""Name -> reader."""


def open_source(config: SourceConfig) -> tuple[Source, ...]:
    """Open a source of a recipe: its sets, in the order in which they are read.

    Files are looked for, and descriptions read, but no row.

    Raises:
        ConfigError: the reader is unknown, there is no such file, or the description is wrong.
    """
    if config.name not in READERS:
        raise ConfigError(
            f"source {config.name!r} is unknown; expected one of {', '.join(READERS)}"
            f"{nearest(config.name, READERS)}"
        )
    return READERS[config.name](Path(config.path), config)
