"""Civil Comments -> rows: comments of news sites with the share of annotators for each label.

The 2019 edition is CSV: `all_data.csv`, or `train.csv` (where `toxicity` is called `target`) with
`test_public_expanded.csv` and `test_private_expanded.csv`. The Parquet edition, `train-*.parquet` and so on,
has the text as `text`, and neither identities nor counts of annotators.

Source: kaggle.com/competitions/jigsaw-unintended-bias-in-toxicity-classification/data;
huggingface.co/datasets/google/civil_comments (README.md, `dataset_info`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gooseguard.core.errors import ConfigError
from gooseguard.data.sources.delimited import read_csv
from gooseguard.data.sources.files import find_files, walk
from gooseguard.data.sources.parquet import ParquetShards
from gooseguard.data.sources.source import Source
from gooseguard.data.sources.spec import Record, packaged_spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gooseguard.data.sources.source import Faults, SourceConfig, SourceRow

ALL, PARTS = "all_data.csv", ("train.csv", "test_public_expanded.csv", "test_private_expanded.csv")
"""Files of the 2019 edition: all rows, or the same rows by split. Others hold no labels, or no texts."""

LABELS = ("severe_toxicity", "obscene", "identity_attack", "insult", "threat", "sexual_explicit")
"""Columns that every edition has beside toxicity."""


def open_civil_comments(root: Path, config: SourceConfig) -> tuple[Source, ...]:
    """Open either edition: a file, or the folder that holds its files.

    Raises:
        ConfigError: there is no file of it.
    """
    spec = packaged_spec("civil_comments", config.mapping)
    files = choose_files(root)
    shards_required = ("text", "toxicity", *LABELS)

    def read(faults: Faults) -> Iterator[SourceRow]:
        shards = ParquetShards(shards_required)

        def records(file: Path, name: str, faults: Faults) -> Iterator[Record]:
            if file.suffix == ".parquet":
                for record in shards.read(file, name, faults):
                    cells = dict(record.fields)
                    cells |= {"comment_text": cells.pop("text"), "split": file.name.partition("-")[0]}
                    yield Record(name, record.number, cells)
                return
            required = ("id", "comment_text", *LABELS, "toxicity_annotator_count")
            for record in read_csv(file, name, faults, required, fallback=config.fallback_encoding):
                cells = dict(record.fields)
                if "target" in cells:
                    cells["toxicity"] = cells.pop("target")
                cells.setdefault("split", file.name.partition(".")[0].partition("_")[0])
                yield Record(name, record.number, cells)

        yield from walk(spec, root, files, records)(faults)

    return (Source(spec.card, root, files, read),)


def choose_files(root: Path) -> tuple[Path, ...]:
    """Give the files that hold each comment once.

    Raises:
        ConfigError: there is none.
    """
    files = find_files(root, (".csv", ".csv.gz", ".parquet"), "civil_comments")
    if root.is_file():
        return files
    shards = tuple(file for file in files if file.suffix == ".parquet")
    by_name = {file.name.removesuffix(".gz"): file for file in files}
    chosen = (by_name[ALL],) if ALL in by_name else tuple(by_name[name] for name in PARTS if name in by_name)
    if not chosen and not shards:
        raise ConfigError(f"civil_comments: {root} holds neither {ALL}, {PARTS[0]} nor Parquet shards")
    return chosen or shards
