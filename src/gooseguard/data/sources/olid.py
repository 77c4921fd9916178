"""OLID (OffensEval 2019) -> rows: tweets labelled on three levels.

`olid-training-v1.0.tsv` has `id, tweet, subtask_a, subtask_b, subtask_c`, without quoting; a level that does
not apply is NULL. `testset-levela.tsv` has `id, tweet`, and `labels-levela.csv`, `-levelb`, `-levelc` have
`id,label` without a header, the latter two for a part of the tweets.

Source: sites.google.com/site/offensevalsharedtask/olid, `readme.txt` of OLIDv1.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gooseguard.core.errors import ConfigError
from gooseguard.data.sources.delimited import read_csv
from gooseguard.data.sources.files import walk
from gooseguard.data.sources.source import Source
from gooseguard.data.sources.spec import Record, packaged_spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gooseguard.data.sources.source import Faults, SourceConfig

TRAINING, TEST = "olid-training-v1.0.tsv", "testset-levela.tsv"


def open_olid(root: Path, config: SourceConfig) -> tuple[Source, ...]:
    """Open the folder of OLIDv1.0, or its training file.

    Raises:
        ConfigError: there is neither the training file nor the test file with its labels.
    """
    spec = packaged_spec("olid", config.mapping)
    folder = root.parent if root.is_file() else root
    answers = tuple(folder / f"labels-level{level}.csv" for level in "abc")
    texts = (root,) if root.is_file() else tuple(folder / name for name in (TRAINING, TEST))
    texts = tuple(file for file in texts if file.is_file() and (file.name != TEST or answers[0].is_file()))
    if not texts:
        raise ConfigError(f"olid: {root} has no {TRAINING}, and no {TEST} with {answers[0].name}")
    used = tuple(file for file in answers if file.is_file()) if texts[-1].name == TEST else ()

    def records(file: Path, name: str, faults: Faults) -> Iterator[Record]:
        options = {"quoted": False, "fallback": config.fallback_encoding}
        if file.name != TEST:
            required = ("id", "tweet", "subtask_a", "subtask_b", "subtask_c")
            for record in read_csv(file, name, faults, required, **options):  # type: ignore[arg-type]  # as named
                yield Record(name, record.number, {**record.fields, "split": "train"})
            return
        levels = {
            f"subtask_{answer.stem[-1]}": {
                record.fields["id"]: record.fields["label"]
                for record in read_csv(answer, answer.name, faults, header=("id", "label"))
            }
            for answer in used
        }
        for record in read_csv(file, name, faults, ("id", "tweet"), **options):  # type: ignore[arg-type]  # as named
            cells = {level: labels.get(record.fields["id"]) for level, labels in levels.items()}
            if cells.get("subtask_a") == "NOT":
                cells |= {"subtask_b": "NULL", "subtask_c": "NULL"}
            yield Record(name, record.number, {**record.fields, **cells, "split": "test"})

    return (Source(spec.card, folder, (*texts, *used), walk(spec, folder, texts, records)),)
