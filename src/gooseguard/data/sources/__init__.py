"""Readers of published sets, by name: `READERS` lists them, `open_source` opens what was downloaded."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from gooseguard.core.errors import ConfigError
from gooseguard.core.taxonomy import nearest
from gooseguard.data.sources.beavertails import open_beavertails
from gooseguard.data.sources.civil_comments import open_civil_comments
from gooseguard.data.sources.delimited import open_csv
from gooseguard.data.sources.edos import open_edos
from gooseguard.data.sources.hateful_memes import open_hateful_memes
from gooseguard.data.sources.hatexplain import open_hatexplain
from gooseguard.data.sources.hugging_face import open_hugging_face
from gooseguard.data.sources.jigsaw_2018 import open_jigsaw_2018
from gooseguard.data.sources.json_lines import open_json_lines
from gooseguard.data.sources.labelled_text import open_labelled_text
from gooseguard.data.sources.lspd import open_lspd
from gooseguard.data.sources.media_files import open_media_folder
from gooseguard.data.sources.oig_moderation import open_oig_moderation
from gooseguard.data.sources.olid import open_olid
from gooseguard.data.sources.parquet import open_parquet
from gooseguard.data.sources.real_life_violence import open_real_life_violence
from gooseguard.data.sources.sbic import open_sbic
from gooseguard.data.sources.source import Faults, OnFault, Source, SourceConfig, SourceRow
from gooseguard.data.sources.toxigen import open_toxigen
from gooseguard.data.sources.web_dataset import open_web_dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Reader = Callable[[Path, SourceConfig], tuple[Source, ...]]
    """What was downloaded, and the recipe's words on it -> its sets."""

__all__ = ["READERS", "Faults", "OnFault", "Source", "SourceConfig", "SourceRow", "open_source"]

READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "beavertails": open_beavertails,
        "civil_comments": open_civil_comments,
        "edos": open_edos,
        "hateful_memes": open_hateful_memes,
        "hatexplain": open_hatexplain,
        "jigsaw_2018": open_jigsaw_2018,
        "lspd": open_lspd,
        "oig_moderation": open_oig_moderation,
        "olid": open_olid,
        "real_life_violence": open_real_life_violence,
        "sbic": open_sbic,
        "toxigen": open_toxigen,
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
