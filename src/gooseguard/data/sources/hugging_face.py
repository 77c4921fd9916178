"""A folder that Hugging Face `datasets` saved to disk -> rows. Reads it with pyarrow alone.

`Dataset.save_to_disk` writes Arrow streams, `state.json`, which names them in order, and `dataset_info.json`,
which names the classes behind numbers; `DatasetDict.save_to_disk` writes `dataset_dict.json` and such a
folder for each split. Class labels are given by their names; an image is its bytes, or the file at its path.

Source: huggingface/datasets, `src/datasets/arrow_dataset.py`, `Dataset.save_to_disk` and `load_from_disk`;
`src/datasets/features/features.py` (`ClassLabel`) and `image.py` (`Image`: a struct of bytes and path).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gooseguard.core.errors import ConfigError, DataError
from gooseguard.data.arrow import import_arrow
from gooseguard.data.sources.delimited import check_columns
from gooseguard.data.sources.json_lines import flatten
from gooseguard.data.sources.media_files import check_part, read_part
from gooseguard.data.sources.parquet import NOT_UTF8, rows_of
from gooseguard.data.sources.source import Source
from gooseguard.data.sources.spec import Record, needed_spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gooseguard.core.content import Part
    from gooseguard.data.sources.source import Faults, SourceConfig, SourceRow
    from gooseguard.data.sources.spec import Spec


@dataclass(frozen=True, slots=True)
class SavedSplit:
    """One folder with Arrow files."""

    split: str
    """Name of the split; empty where the folder holds one only."""
    files: tuple[Path, ...]
    """Arrow streams, in order."""
    classes: Mapping[str, tuple[str, ...]]
    """Column of class labels to the names of its classes."""


def find_splits(root: Path) -> tuple[SavedSplit, ...]:
    """Give the splits of a folder that was saved to disk.

    Raises:
        ConfigError: it is none, or its rows were selected without being written.
    """
    if (root / "dataset_dict.json").is_file():
        names = _read_json(root / "dataset_dict.json").get("splits")
        if not isinstance(names, list):
            raise ConfigError(f"{root.name}/dataset_dict.json: names no splits; save it to disk again")
        return tuple(_read_split(root / str(name), str(name)) for name in names)
    return (_read_split(root, ""),)


def _read_split(folder: Path, split: str) -> SavedSplit:
    state = _read_json(folder / "state.json")
    if state.get("_indices_data_files"):
        raise ConfigError(
            f"{folder.name}: keeps a selection of its rows; call flatten_indices() before saving"
        )
    files = tuple(folder / str(entry["filename"]) for entry in state.get("_data_files", []))
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        raise ConfigError(f"{folder.name}: has no {missing[0] if missing else 'Arrow file'}; save it again")
    features = _read_json(folder / "dataset_info.json").get("features") or {}
    classes = {
        name: tuple(feature["names"])
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    }
    return SavedSplit(split, files, classes)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path.parent.name}/{path.name}: {type(error).__name__}; expected a folder of save_to_disk"
        ) from None
    return value if isinstance(value, dict) else {}


def read_arrow(
    saved: SavedSplit, file: Path, name: str, required: tuple[str, ...], faults: Faults
) -> Iterator[Record]:
    """Read one Arrow stream, one record a row.

    Raises:
        DataError: a column is missing, or `faults` stops.
    """
    arrow = import_arrow()
    number = 0
    try:
        with arrow.memory_map(str(file)) as mapped, arrow.ipc.open_stream(mapped) as stream:
            check_columns(stream.schema.names, required, name)
            for batch in stream:
                for cells in rows_of(batch):
                    number += 1
                    if cells is None:
                        faults.add(name, f"{name}, row {number}: {NOT_UTF8}")
                        continue
                    for column, names in saved.classes.items():
                        value = cells.get(column)
                        # -1 stands for no label.
                        if value is not None:
                            cells[column] = names[value] if 0 <= value < len(names) else None
                    yield Record(name, number, cells)
    except (OSError, arrow.ArrowException, UnicodeDecodeError) as error:
        faults.add(name, f"{name}, after row {number}: is damaged ({type(error).__name__}); save it again")


def _make(record: Record, spec: Spec, root: Path, split: str) -> SourceRow:
    parts: tuple[Part, ...] | None = None
    if column := spec.columns.image:
        cell = record.fields.get(column)
        if not isinstance(cell, dict) or not (cell.get("bytes") or cell.get("path")):
            raise DataError(f"{record.place}, column {column!r}: is no image; expected its bytes or its path")
        place = f"{record.place}, column {column!r}"
        image = (
            check_part(cell["bytes"], place) if cell.get("bytes") else read_part(root / cell["path"], place)
        )
        text = record.fields.get(spec.columns.text)
        parts = (image, image.from_text(text)) if isinstance(text, str) and text else (image,)
    fields = flatten({key: value for key, value in record.fields.items() if key != spec.columns.image})
    return spec.make_row(Record(record.file, record.number, fields), parts, split=split)


def open_hugging_face(root: Path, config: SourceConfig) -> tuple[Source, ...]:
    """Open a folder of `save_to_disk`, as the mapping file describes it; `select` chooses splits.

    Raises:
        ConfigError: it is no such folder, a split is not there, or there is no mapping or a wrong one.
    """
    spec = needed_spec("hugging_face", config.mapping)
    splits = find_splits(root)
    for name in config.select:
        if name not in {saved.split for saved in splits}:
            known = ", ".join(saved.split for saved in splits)
            raise ConfigError(f"{spec.card.name}: has no split {name!r}; expected one of {known}")
    splits = tuple(saved for saved in splits if not config.select or saved.split in config.select)
    wanted = spec.columns.image or spec.columns.text
    required = tuple(dict.fromkeys([wanted, *(rule.field.partition(".")[0] for rule in spec.labels)]))

    def rows(faults: Faults) -> Iterator[SourceRow]:
        for saved in splits:
            for file in saved.files:
                name = file.relative_to(root).as_posix()
                for record in read_arrow(saved, file, name, required, faults):
                    try:
                        row = _make(record, spec, root, saved.split)
                    except DataError as error:
                        faults.add(name, str(error))
                        continue
                    yield row

    return (Source(spec.card, root, tuple(file for saved in splits for file in saved.files), rows),)
