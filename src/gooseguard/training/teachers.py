"""Teachers: any scorer, a torch checkpoint with its hidden features, or what a file says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import torch

from gooseguard.codec.normalize import normalize
from gooseguard.core.content import Content
from gooseguard.core.errors import ContentError, DataError
from gooseguard.core.manifest import digest_file
from gooseguard.core.scorer import ScoreError, Scores, is_probability
from gooseguard.core.taxonomy import load_taxonomy, nearest
from gooseguard.models.features import capture, check_layers, mean_features
from gooseguard.training.batches import cut_by_budget, pack, pad
from gooseguard.training.calibrate import apply_platt
from gooseguard.training.lessons import Lesson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gooseguard.core.scorer import Scorer
    from gooseguard.models.checkpoint import Checkpoint

BATCH_TOKENS = 16384
"""Padded tokens that a checkpoint runs at once."""


CUT = ("length", "time")
"""How `gooseguard ask --json` says that an answer is cut, which would teach half of one."""


class ScorerTeacher:
    """Teaches what a scorer scores: an engine file, an official checkpoint, an endpoint, a baseline."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer, self.name, self.categories = scorer, scorer.name, frozenset(scorer.categories)

    def teach(self, contents: Sequence[Content]) -> list[Lesson | ScoreError]:
        """Give the scores of each content."""
        results = self.scorer.score(contents)
        return [Lesson(result.values) if isinstance(result, Scores) else result for result in results]


class CheckpointTeacher:
    """Teaches the calibrated scores of a checkpoint, and what some of its layers leave behind."""

    def __init__(self, checkpoint: Checkpoint, layers: Sequence[int] = ()) -> None:
        """Load the model.

        Raises:
            ConfigError: it has no such layer.
        """
        self.content = checkpoint.content
        check_layers(layers, self.content.config.backbone.n_layer, "teacher")
        self.model, self.layers = checkpoint.load(), tuple(layers)
        self.categories = frozenset(self.content.config.categories)
        after = f"+{'+'.join(map(str, layers))}" if layers else ""
        self.name = f"{self.content.config.name}@{self.content.digest()[:12]}{after}"

    def teach(self, contents: Sequence[Content]) -> list[Lesson | ScoreError]:
        """Give scores and features of each content."""
        lessons: list[Lesson | ScoreError] = []
        readable = []
        for i, content in enumerate(contents):
            try:
                text = "\n".join(part.text for part in content.parts)
            except ContentError as error:
                lessons.append(ScoreError("ContentError", str(error)))
                continue
            ids = self.content.tokenizer.encode(normalize(text).text)
            lessons.append(ScoreError("ContentError", "text shows nothing once it is normalised"))
            if len(ids):
                readable.append((i, ids))
        for i, lesson in self._run(readable):
            lessons[i] = lesson
        return lessons

    @torch.inference_mode()
    def _run(self, readable: Sequence[tuple[int, Sequence[int]]]) -> list[tuple[int, Lesson]]:
        categories = self.content.config.categories
        rows = pack([ids for _, ids in readable], np.zeros((len(readable), 0), np.float32))
        order = np.argsort(rows.lengths, kind="stable")
        taught: list[tuple[int, Lesson]] = []
        for batch in cut_by_budget(order, rows.lengths[order], BATCH_TOKENS) if len(order) else []:
            tokens, lengths = (torch.from_numpy(x) for x in pad(rows, batch, int(rows.lengths.max())))
            with capture(self.model.backbone, self.layers) as streams:
                logits = self.model(tokens, lengths).numpy()
            features = mean_features(streams, self.layers, lengths).numpy() if self.layers else None
            table = self.content.calibration.to_json()
            scores = np.stack(
                [
                    apply_platt(logits[:, k], table[category]["scale"], table[category]["bias"])
                    for k, category in enumerate(categories)
                ],
                axis=1,
            )
            for row, i in enumerate(batch):
                values = dict(zip(categories, scores[row].tolist(), strict=True))
                taught.append((readable[i][0], Lesson(values, None if features is None else features[row])))
        return taught


class FileTeacher:
    """Teaches what somebody wrote down, by any means, for texts or for the ids of a dataset's rows."""

    def __init__(self, path: Path, ids: Mapping[str, str]) -> None:
        """Read JSON Lines: `text` or `id`, and `scores`, an `answer`, or both.

        What `gooseguard score --json` and `gooseguard ask --json` write is of this form, where they were
        given rows with the dataset's ids.

        Args:
            path: the file.
            ids: id of each row of the dataset to its text.

        Raises:
            DataError: the file is missing, a row is of neither form, or a score is none; names the line.
        """
        self._lessons: dict[str, Lesson] = {}
        number = 0
        try:
            with path.open("r", encoding="utf-8") as lines:
                for number, line in enumerate(lines, start=1):
                    if line.strip():
                        self._read(line, f"{path.name}, line {number}", ids)
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{path.name}, after line {number}: {type(error).__name__}; "
                "expected JSON Lines of scores or answers"
            ) from None
        self.name = f"{path.stem}@{digest_file(path)[:12]}"
        self.categories = frozenset(name for lesson in self._lessons.values() for name in lesson.scores)

    def _read(self, line: str, place: str, ids: Mapping[str, str]) -> None:
        try:
            row = json.loads(line)
        except ValueError:
            raise DataError(f"{place}: is no JSON; expected one object a line") from None
        row = row if isinstance(row, dict) else {}
        if "error" in row or row.get("finish") in CUT:
            # What whoever wrote the file could not judge, or not finish.
            return
        answer, scores = row.get("answer"), row.get("scores", {} if "answer" in row else None)
        if not isinstance(scores, dict) or not isinstance(answer, str | None):
            raise DataError(
                f"{place}: has no scores and no answer; expected an object with text or id, and scores or "
                "an answer"
            )
        taxonomy = load_taxonomy()
        for category, value in scores.items():
            if category not in taxonomy:
                raise DataError(f"{place}: unknown category {category!r}{nearest(category, taxonomy)}")
            if value is not None and not is_probability(value):
                raise DataError(f"{place}: score of {category!r} is no number within 0..1, or null")
        text = row.get("text", ids.get(str(row.get("id"))))
        # Rows of other datasets do no harm.
        if isinstance(text, str):
            self._lessons[Content.from_text(text).digest()] = Lesson(scores, answer=answer or None)

    def teach(self, contents: Sequence[Content]) -> list[Lesson | ScoreError]:
        """Give what the file says of each content, which may be nothing."""
        return [self._lessons.get(content.digest(), Lesson({})) for content in contents]
