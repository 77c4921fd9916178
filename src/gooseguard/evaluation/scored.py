"""A scorer and labelled rows to arrays, which everything else here reads. Knows no metric."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gooseguard.core.errors import DataError, EngineError
from gooseguard.core.scorer import ScoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from gooseguard.core.content import Content
    from gooseguard.core.scorer import Scorer

N_CONTENTS = 2048
"""Contents handed to a scorer at once."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledRows:
    """What is true of the rows of one split; no scores."""

    categories: tuple[str, ...]
    """Names of the K columns."""
    labels: NDArray[np.floating[Any]]
    """(n, K), 0..1, NaN = not annotated."""
    sources: NDArray[np.str_]
    """(n,), where each row was published."""
    languages: NDArray[np.str_] | None = None
    """(n,), BCP-47; None when unknown."""
    dataset: str = ""
    """Name or digest of the dataset, for the report."""
    split: str = ""
    """Name of the split, for the report."""

    def __post_init__(self) -> None:
        n = self.sources.shape[0]
        expected = (n, len(self.categories))
        if self.labels.shape != expected:
            raise DataError(f"labels of shape {self.labels.shape}; expected {expected} for {n} sources")
        if self.languages is not None and self.languages.shape != (n,):
            raise DataError(f"languages of shape {self.languages.shape}; expected {(n,)}, one a row")
        if len(set(self.categories)) != len(self.categories):
            raise DataError("categories of the labels repeat; expected each name once")


@dataclass(frozen=True, slots=True, eq=False)
class ScoredRows:
    """What one scorer and one policy say of the same rows."""

    name: str
    """The scorer, "name@digest"."""
    scores: NDArray[np.floating[Any]]
    """(n, K), 0..1, NaN = not scored."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """Category to review threshold; a category without one has no error rates."""
    n_errors: int = 0
    """Rows that the scorer refused."""


def evaluate_scorer(
    scorer: Scorer,
    contents: Sequence[Content],
    categories: Sequence[str],
    thresholds: Mapping[str, float] | None = None,
    n_contents: int = N_CONTENTS,
) -> ScoredRows:
    """Score contents and lay the scores out as an array.

    Args:
        scorer: any scorer.
        contents: n contents.
        categories: the K columns wanted; one that the scorer does not list becomes a column of NaN.
        thresholds: category to review threshold.
        n_contents: contents handed over at once.

    Raises:
        EngineError: the scorer returned another number of results, or left out a category that it lists.
    """
    scores = np.full((len(contents), len(categories)), np.nan, dtype=np.float32)
    columns = [(k, category) for k, category in enumerate(categories) if category in scorer.categories]
    n_errors = 0
    for begin in range(0, len(contents), n_contents):
        block = contents[begin : begin + n_contents]
        results = scorer.score(block)
        if len(results) != len(block):
            raise EngineError(
                f"scorer {scorer.name}: {len(results)} results for {len(block)} contents; "
                "expected one each, in order"
            )
        for row, result in enumerate(results, start=begin):
            if isinstance(result, ScoreError):
                n_errors += 1
                continue
            for k, category in columns:
                if category not in result.values:
                    raise EngineError(
                        f"scorer {scorer.name}: no value for {category!r}, which it lists, at row {row}; "
                        "expected a number or None"
                    )
                value = result.values[category]
                scores[row, k] = np.nan if value is None else value
    return ScoredRows(scorer.name, scores, dict(thresholds or {}), n_errors)
