"""Real Life Violence Situations -> rows: videos in the folders `Violence` and `NonViolence`.

    Real Life Violence Dataset/Violence/V_1.mp4
    Real Life Violence Dataset/NonViolence/NV_1.mp4

The published archive holds the same folder twice, the second time within
`real life violence situations/`; each file is read once.

Source: kaggle.com/datasets/mohamedmustafa/real-life-violence-situations-dataset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gooseguard.data.sources.files import find_files
from gooseguard.data.sources.media_files import SUFFIXES, media_rows
from gooseguard.data.sources.source import Source
from gooseguard.data.sources.spec import packaged_spec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gooseguard.data.sources.source import SourceConfig


def open_real_life_violence(root: Path, config: SourceConfig) -> tuple[Source, ...]:
    """Open the folder that the archive was unpacked to.

    Raises:
        ConfigError: there is no such folder, or no video in it.
    """
    spec = packaged_spec("real_life_violence", config.mapping)
    files = without_second_copy(find_files(root, SUFFIXES, spec.card.name))
    return (Source(spec.card, root, files, media_rows(spec, root, files)),)


def without_second_copy(files: Sequence[Path]) -> tuple[Path, ...]:
    """Leave out files whose class folder and name stand less deep in another folder."""
    chosen: dict[tuple[str, str], Path] = {}
    for file in files:
        key = (file.parent.name, file.name)
        if key not in chosen or len(file.parts) < len(chosen[key].parts):
            chosen[key] = file
    kept = set(chosen.values())
    return tuple(file for file in files if file in kept)
