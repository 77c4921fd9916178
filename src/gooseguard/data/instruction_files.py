"""Pairs -> files: our shards, which `gooseguard train` reads, and the JSON of LLaVA and VisualRWKV.

Shards are gzipped JSON Lines, `train-00000.jsonl.gz`; docs/formats.md says what stands in a row. The other
form is one JSON list a split, `llava-train.json`, of `{"id", "image", "conversations"}`: a row with sound
or film has no place in it and is left out there. Equal pairs give equal bytes.

Source: haotian-liu/LLaVA, "Finetune LLaVA on Custom Datasets"; howard-hou/VisualRWKV, `README.md`.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Self

from gooseguard.core.manifest import canonical_json
from gooseguard.data.questions import without_images

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from gooseguard.data.questions import Question

KIND, FORMAT_VERSION = "instructions", 1

SHARD_ROWS = 50_000
"""Most rows of one shard."""

LEVEL = 6
"""Of gzip."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One question, and the answer that is to be learnt."""

    question: Question
    """What is asked, about which row."""
    answer: str
    """What a model should say."""
    template: str
    """Prompt layout, a key of `codec.prompt.TEMPLATES`."""
    teacher: str
    """Who answered: `labels`, or a model."""
    prompt_digest: str
    """SHA-256 (hex) of what was asked."""
    seed: int
    """That the pair was drawn with."""

    @property
    def id(self) -> str:
        """Give the id: row and kind of question."""
        return f"{self.question.row.id}#{self.question.kind}"


class PairWriter:
    """Writes pairs into a folder; use it as a context."""

    def __init__(self, folder: Path, dataset: Path) -> None:
        """Take the folder to write into, and the one that paths of media are relative to."""
        self.folder, self.dataset = folder, dataset
        self.n_pairs: Counter[str] = Counter()
        """Split to its pairs."""
        self.n_llava: Counter[str] = Counter()
        """Split to those in LLaVA's form."""
        self.n_of_source: Counter[str] = Counter()
        """Published set to its pairs."""
        self._shards: dict[str, gzip.GzipFile] = {}
        self._lists: dict[str, IO[str]] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._open:
            for stream in self._lists.values():
                stream.write("\n]\n")

    def write(self, split: str, pair: Pair) -> None:
        """Write one pair, after those of its split that came before."""
        number, place = divmod(self.n_pairs[split], SHARD_ROWS)
        if place == 0:
            self._begin_shard(split, number)
        self._shards[split].write(canonical_json(to_row(pair)).encode() + b"\n")
        self.n_pairs[split] += 1
        self.n_of_source[pair.question.row.source] += 1
        row = to_llava(pair)
        if row is None:
            return
        if split not in self._lists:
            path = self.folder / f"llava-{split}.json"
            self._lists[split] = self._open.enter_context(path.open("w", encoding="utf-8", newline="\n"))
            self._lists[split].write("[\n")
        else:
            self._lists[split].write(",\n")
        self._lists[split].write(json.dumps(row, ensure_ascii=False))
        self.n_llava[split] += 1

    def _begin_shard(self, split: str, number: int) -> None:
        if split in self._shards:
            self._shards[split].close()
        path = self.folder / f"{split}-{number:05}.jsonl.gz"
        raw = self._open.enter_context(path.open("wb"))
        # Neither a name nor a time in the header: equal pairs, equal bytes.
        zipped = gzip.GzipFile(filename="", mode="wb", compresslevel=LEVEL, fileobj=raw, mtime=0)
        self._shards[split] = self._open.enter_context(zipped)


def to_row(pair: Pair) -> dict[str, Any]:
    """Give the row of a shard."""
    question, row = pair.question, pair.question.row
    return {
        "id": pair.id,
        "messages": [
            {"role": "system", "content": question.instruction},
            {"role": "user", "content": row.content},
            {"role": "assistant", "content": without_images(pair.answer)},
        ],
        "template": pair.template,
        "wording": question.wording,
        "teacher": pair.teacher,
        "prompt_digest": pair.prompt_digest,
        "seed": pair.seed,
        "asked": list(question.asked),
        "flagged": list(question.flagged),
        "action": None if question.action is None else str(question.action),
        "media": [{"modality": medium.modality, "path": medium.path} for medium in row.media],
        "source": row.source,
        "language": row.language,
    }


def to_llava(pair: Pair) -> dict[str, Any] | None:
    """Give the row in LLaVA's form; None where it has sound or film, for which there is no place."""
    row = pair.question.row
    paths = [medium.path for medium in row.media if medium.modality == "image"]
    if len(paths) < len(row.media):
        return None
    # The image first, as both expect it.
    images, text = "<image>\n" * len(paths), f"\n{row.words}" if row.words else ""
    made: dict[str, Any] = {"id": pair.id}
    if paths:
        made["image"] = paths[0] if len(paths) == 1 else paths
    made["conversations"] = [
        {"from": "human", "value": f"{images}{pair.question.instruction}{text}"},
        {"from": "gpt", "value": without_images(pair.answer)},
    ]
    return made
