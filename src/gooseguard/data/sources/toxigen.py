"""ToxiGen -> rows: statements about groups of people that a language model wrote.

Two sets of one publication: `toxigen`, those that people rated (`annotated_train.csv`, `annotated_test.csv`,
or `train-*.parquet` and `test-*.parquet` in the folder `annotated`), with `toxicity_human` from 1 to 5; and
`toxigen_generated` (`toxigen.csv`), where the label is what the model was asked for. `select` chooses.

Source: github.com/microsoft/TOXIGEN, `README.md`; huggingface.co/datasets/toxigen/toxigen-data.
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

ANNOTATED, GENERATED = "toxigen", "toxigen_generated"
RATED = ("text", "target_group", "toxicity_human")
WRITTEN = ("generation", "group", "prompt_label")


def open_toxigen(root: Path, config: SourceConfig) -> tuple[Source, ...]:
    """Open a file, or the folder with them.

    Raises:
        ConfigError: there is no file of the sets that are asked for.
    """
    wanted = config.select or (ANNOTATED, GENERATED)
    if unknown := [name for name in wanted if name not in (ANNOTATED, GENERATED)]:
        raise ConfigError(f"toxigen: has no set {unknown[0]!r}; expected {ANNOTATED} or {GENERATED}")
    files = find_files(root, (".csv", ".parquet"), "toxigen")
    generated = tuple(file for file in files if file.name == "toxigen.csv")
    rated = tuple(file for file in files if file.name.startswith("annotated_") or file.suffix == ".parquet")
    sources = [
        _open(name, root, chosen, config)
        for name, chosen in ((ANNOTATED, rated), (GENERATED, generated))
        if name in wanted and chosen
    ]
    if not sources:
        raise ConfigError(f"toxigen: {root} has no file of {' or '.join(wanted)}")
    return tuple(sources)


def _open(name: str, root: Path, files: tuple[Path, ...], config: SourceConfig) -> Source:
    spec = packaged_spec(name, config.mapping if name == ANNOTATED else "")
    required = RATED if name == ANNOTATED else WRITTEN

    def read(faults: Faults) -> Iterator[SourceRow]:
        shards = ParquetShards(required)

        def records(file: Path, name: str, faults: Faults) -> Iterator[Record]:
            split = "test" if "test" in file.name else "train"
            rows = (
                shards.read(file, name, faults)
                if file.suffix == ".parquet"
                else read_csv(file, name, faults, required, fallback=config.fallback_encoding)
            )
            for record in rows:
                yield Record(name, record.number, {**record.fields, "split": split})

        yield from walk(spec, root, files, records)(faults)

    return Source(spec.card, root, files, read)
