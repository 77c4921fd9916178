"""Scores kept in `.npz` files beside a report: a repeat is quick, and a killed run goes on where it was.

A file is named by a digest of everything its scores depend on, and says so inside. Knows no metric.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gooseguard.core.content import Content
from gooseguard.core.errors import ArtefactError, ConfigError
from gooseguard.core.files import replacing
from gooseguard.core.manifest import canonical_json
from gooseguard.evaluation.scored import N_CONTENTS, ScoredRows, evaluate_scorer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from gooseguard.core.scorer import Scorer
    from gooseguard.data.shards import DatasetColumns


class Listener(Protocol):
    """Who is told where an evaluation stands."""

    def say(self, phase: str) -> None:
        """Begin a phase."""

    def count(self, done: int, total: int) -> None:
        """Say how far the phase is."""


@dataclass(frozen=True, slots=True)
class ScoreKey:
    """What scores depend on."""

    scorer: str
    """Name of the scorer, "name@digest"."""
    dataset: str
    """SHA-256 (hex) of the dataset's manifest."""
    split: str
    """`val` or `test`; "val and test" of a baseline."""
    categories: tuple[str, ...]
    """Columns of the scores."""
    settings: str = ""
    """Canonical JSON of what else decides the scores; empty when nothing does."""

    def text(self) -> str:
        """Give everything in one canonical text, the version of this code included."""
        return canonical_json(asdict(self) | {"gooseguard": version("gooseguard")})

    def file_name(self, kind: str) -> str:
        """Give the name of the file, such as `scores-test-<digest>.npz`."""
        split = re.sub(r"\W+", "-", self.split)
        return f"{kind}-{split}-{hashlib.sha256(self.text().encode()).hexdigest()[:16]}.npz"


def read_arrays(path: Path, key: ScoreKey) -> dict[str, NDArray[Any]] | None:
    """Read what `write_arrays` wrote; None when there is no such file.

    Raises:
        ArtefactError: the file is damaged, or was written for another key.
    """
    if not path.is_file():
        return None
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as held:
            arrays: dict[str, NDArray[Any]] = dict(held)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ArtefactError(
            f"{path}: cannot be read as kept scores ({type(error).__name__}); remove it to score again"
        ) from None
    if "key" not in arrays or str(arrays.pop("key")) != key.text():
        raise ArtefactError(f"{path}: holds scores of another model or dataset; remove it to score again")
    return arrays


def write_arrays(path: Path, key: ScoreKey, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays and their key: beside, then renamed.

    Raises:
        ConfigError: nothing can be written there.
    """
    held: dict[str, Any] = {"key": np.array(key.text()), **arrays}
    try:
        with replacing(path) as partial, partial.open("wb") as stream:
            np.savez(stream, **held)
    except OSError as error:
        raise ConfigError(f"{path.parent}: scores cannot be kept there ({error.strerror})") from None


def draw_order(n_rows: int) -> NDArray[np.int64]:
    """Give the order in which rows are scored, int64, (n_rows,): the same shuffle every time.

    Shuffled, so that the first rows are a fair sample: what a limit takes, and what time left is told from.
    """
    return np.random.default_rng(0).permutation(n_rows)


def score_split(
    scorer: Scorer,
    columns: DatasetColumns,
    key: ScoreKey,
    folder: Path,
    listener: Listener,
    limit: int | None = None,
) -> ScoredRows:
    """Score the rows of a split in `draw_order`, but for those whose scores are kept in `folder`.

    Args:
        scorer: any scorer; asked only for rows that nobody scored before.
        columns: the split.
        key: what the scores depend on; `key.categories` are their columns.
        folder: where scores are kept, after every `N_CONTENTS` rows.
        listener: told how many rows are scored.
        limit: score only the first so many of the order; all when left out.

    Returns:
        Scores of the rows `draw_order(n)[:limit]`, without thresholds.

    Raises:
        ArtefactError: a file of kept scores is damaged.
    """
    order = draw_order(len(columns.texts))[:limit]
    path = folder / key.file_name("scores")
    kept = read_arrays(path, key)
    scores = np.empty((0, len(key.categories)), np.float32) if kept is None else kept.get("scores")
    if scores is None or scores.ndim != 2 or scores.shape[1] != len(key.categories):
        raise ArtefactError(f"{path}: holds no scores of {len(key.categories)} categories; remove it")
    listener.count(min(len(scores), len(order)), len(order))
    while len(scores) < len(order):
        rows = order[len(scores) : len(scores) + N_CONTENTS]
        contents = [Content.from_text(columns.texts[row], columns.languages[row] or None) for row in rows]
        scored = evaluate_scorer(scorer, contents, key.categories).scores
        scores = np.concatenate((scores, scored.astype(np.float32)))
        write_arrays(path, key, {"scores": scores})
        listener.count(len(scores), len(order))
    scores = scores[: len(order)]
    # A text scorer gives a row all of its categories, or refuses it.
    n_errors = int(np.isnan(scores).all(axis=1).sum())
    return ScoredRows(key.scorer, scores, {}, n_errors)
