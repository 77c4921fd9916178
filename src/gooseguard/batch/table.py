"""Rows to verdicts, in order and in bounded batches. Pure: knows no file, no format and no terminal.

A row that cannot be scored becomes a row with an error that asks for review; the rows beside it are scored.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from gooseguard.core.errors import DataError, EngineError, GooseguardError
from gooseguard.core.scorer import ScoreError, Scorer, Scores
from gooseguard.core.verdict import Action, decide

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gooseguard.core.content import Content
    from gooseguard.core.policy import Policy

MAX_ROWS = 256
"""Rows of a batch."""

MAX_BYTES = 1 << 20
"""Bytes of content of a batch; a row that is larger is a batch of its own."""


@dataclass(frozen=True, slots=True)
class Row:
    """A content under the id its owner gave it."""

    id: str
    """Need not be unique."""
    content: Content
    """What is judged."""


@dataclass(frozen=True, slots=True)
class RowError:
    """A row that could not be read."""

    id: str
    """The owner's id where it could be read, else the row's number."""
    error: ScoreError
    """Why."""


def score_rows(rows: Iterable[Row | RowError], scorer: Scorer, policy: Policy) -> Iterator[dict[str, Any]]:
    """Give one JSON-ready verdict a row, in the order of the rows.

    A verdict has id, action, flagged, scores, model, policy and spans; one of a row that could not be scored
    has no scores, is not flagged, has the action `review`, and an `error` with type and message.

    Raises:
        GooseguardError: the scorer cannot score at all, or `rows` cannot be read further.
    """
    for batch in score_batches(rows, scorer, policy):
        yield from batch


def score_batches(
    rows: Iterable[Row | RowError],
    scorer: Scorer,
    policy: Policy,
    *,
    max_rows: int = MAX_ROWS,
    max_bytes: int = MAX_BYTES,
) -> Iterator[list[dict[str, Any]]]:
    """Give what `score_rows` gives, in the batches in which it was scored.

    Raises:
        GooseguardError: as `score_rows`; what was read before is scored first.
    """
    for batch in _batches(rows, max_rows, max_bytes):
        contents = [row.content for row in batch if isinstance(row, Row)]
        results = scorer.score(contents) if contents else []
        if len(results) != len(contents):
            raise EngineError(
                f"{scorer.name} gave {len(results)} scores for {len(contents)} contents; the scorer is broken"
            )
        following = iter(results)
        yield [
            _verdict(row, next(following), scorer, policy)
            if isinstance(row, Row)
            else _failed(row.id, row.error, scorer, policy)
            for row in batch
        ]


def _batches(rows: Iterable[Row | RowError], max_rows: int, max_bytes: int) -> Iterator[list[Row | RowError]]:
    batch: list[Row | RowError] = []
    n_bytes = 0
    try:
        for row in rows:
            size = sum(len(part.data) for part in row.content.parts) if isinstance(row, Row) else 0
            if batch and n_bytes + size > max_bytes:
                yield batch
                batch, n_bytes = [], 0
            batch.append(row)
            n_bytes += size
            if len(batch) >= max_rows:
                yield batch
                batch, n_bytes = [], 0
    except DataError:
        # What was read before the rows broke off is not lost.
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _verdict(row: Row, result: Scores | ScoreError, scorer: Scorer, policy: Policy) -> dict[str, Any]:
    if isinstance(result, ScoreError):
        return _failed(row.id, result, scorer, policy)
    try:
        verdict = decide(result, policy, {part.modality for part in row.content.parts})
    except GooseguardError as error:
        return _failed(row.id, ScoreError(type(error).__name__, str(error)), scorer, policy)
    return {
        "id": row.id,
        "action": str(verdict.action),
        "flagged": verdict.is_flagged,
        "scores": {
            category: None if score is None else float(score) for category, score in result.values.items()
        },
        "model": result.model,
        "policy": verdict.policy,
        "spans": [asdict(span) for span in result.spans],
    }


def _failed(row_id: str, error: ScoreError, scorer: Scorer, policy: Policy) -> dict[str, Any]:
    return {
        "id": row_id,
        "action": str(Action.REVIEW),
        "flagged": False,
        "scores": {},
        "model": scorer.name,
        "policy": policy.name,
        "spans": [],
        "error": {"type": error.type, "message": error.message},
    }
