"""LSPD (Large-Scale Pornographic Dataset) -> rows: images in one folder a class, at any depth.

    porn/  hentai/  sexy/  drawing/  normal/

Source: Phan et al., "LSPD: A Large-Scale Pornographic Dataset for Detection and Classification", IJIES 15(1),
2022 (five classes of images); sites.google.com/uit.edu.vn/LSPD, where it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gooseguard.data.sources.files import find_files
from gooseguard.data.sources.media_files import SUFFIXES, media_rows
from gooseguard.data.sources.source import Source
from gooseguard.data.sources.spec import packaged_spec

if TYPE_CHECKING:
    from pathlib import Path

    from gooseguard.data.sources.source import SourceConfig


def open_lspd(root: Path, config: SourceConfig) -> tuple[Source, ...]:
    """Open the folder with the folders of its classes.

    Raises:
        ConfigError: there is no such folder, or no image in it.
    """
    spec = packaged_spec("lspd", config.mapping)
    files = find_files(root, SUFFIXES, spec.card.name)
    return (Source(spec.card, root, files, media_rows(spec, root, files)),)
