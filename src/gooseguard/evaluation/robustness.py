"""Scorers and contents to curves: ROC AUC, FPR and FNR as a modality goes missing, is swapped or corrupted.

At strength 0 nothing was done. Thresholds come from elsewhere, validation rows of clean contents: nobody
tunes them to the damage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gooseguard.core.errors import DataError
from gooseguard.evaluation.corruption import KINDS, STRENGTHS, Degradation, degrade
from gooseguard.evaluation.report import without_nan
from gooseguard.evaluation.runs import Rates, draw_runs
from gooseguard.evaluation.scored import evaluate_scorer
from gooseguard.metrics.resampling import N_RESAMPLES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gooseguard.core.content import Content, Modality
    from gooseguard.core.scorer import Scorer

Count = Callable[[int, int], None]
"""Told how many degraded sets are scored, of how many."""

MakeContents = Callable[[], "Sequence[Content | None]"]
"""Gives damaged contents, made when they are first asked for."""

Score = Callable[["Sequence[Scorer]", MakeContents, str, str], "NDArray[np.float32]"]
"""Scorers, contents, category, and what was done to the contents, to scores, float32, (R, n)."""


@dataclass(frozen=True, slots=True)
class RobustnessConfig:
    """What is measured."""

    kinds: Mapping[Modality, Sequence[str]]
    """What happens to each modality; `corruption.KINDS` has all of it."""
    strengths: tuple[int, ...] = STRENGTHS
    """How much of it."""
    n_resamples: int = N_RESAMPLES
    """Of the intervals."""
    seed: int = 0
    """Of degradations and resamples."""


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """A model, or several that differ by their seed alone: measured as one."""

    name: str
    """What curves call them."""
    scorers: Sequence[Scorer]
    """One a run."""
    thresholds: Sequence[float]
    """Of the category, one a run."""


@dataclass(frozen=True, slots=True)
class Point:
    """Runs at one strength."""

    strength: int
    """0 is what came in."""
    n_left: int
    """Items of which something was left, and scored."""
    rates: Rates
    """Mean over the runs."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Runs under one kind of damage."""

    name: str
    """Of the runs."""
    modality: str
    """What is damaged."""
    kind: str
    """How."""
    points: tuple[Point, ...]
    """By strength, 0 first."""

    def to_json(self) -> dict[str, Any]:
        """Give a JSON-ready object; what has no value is null."""
        table: dict[str, Any] = without_nan(asdict(self))
        return table


def measure_robustness(
    groups: Sequence[Runs],
    contents: Sequence[Content],
    labels: NDArray[np.floating[Any]],
    category: str,
    config: RobustnessConfig,
    count: Count = lambda done, total: None,
    score: Score = lambda scorers, make, category, damage: score_runs(scorers, make(), category),
) -> list[Curve]:
    """Measure every group under every kind of damage.

    Args:
        groups: what is measured; all see the same damaged contents.
        contents: n contents, with the modalities that are damaged.
        labels: float, (n,), of the category, NaN = not annotated; the damage leaves them as they are.
        category: which one.
        config: which damage.
        count: told how far it is.
        score: as `score_runs`; another one may keep what it scored, and not ask for contents again.

    Raises:
        DataError: labels and contents do not fit.
        ContentError: an image cannot be decoded.
    """
    if labels.shape != (len(contents),):
        raise DataError(f"robustness: labels of shape {labels.shape} for {len(contents)} contents")

    def measure(strength: int, runs: Runs, make: MakeContents, damage: str) -> Point:
        scores = score(runs.scorers, make, category, damage)
        limits = np.asarray(runs.thresholds)
        rates = draw_runs(labels, scores, limits, config.seed, config.n_resamples).rates()
        # A content that no run scored was not there any more.
        return Point(strength, int((~np.isnan(scores)).any(0).sum()), rates)

    degradations = list(_plan(config))
    clean = [measure(0, runs, lambda: contents, "complete") for runs in groups]
    curves: dict[tuple[Modality, str], list[list[Point]]] = {}
    for done, degradation in enumerate(degradations):
        count(done, len(degradations))
        make = cache(partial(degrade, contents, degradation, config.seed))
        key = (degradation.modality, degradation.kind)
        for own, runs in zip(curves.setdefault(key, [[point] for point in clean]), groups, strict=True):
            strength = degradation.strength
            own.append(measure(strength, runs, make, f"{degradation.modality} {degradation.kind} {strength}"))
    count(len(degradations), len(degradations))
    return [
        Curve(runs.name, str(modality), kind, tuple(own))
        for (modality, kind), points in curves.items()
        for own, runs in zip(points, groups, strict=True)
    ]


def _plan(config: RobustnessConfig) -> Iterator[Degradation]:
    for modality, kinds in config.kinds.items():
        for kind in kinds:
            for strength in sorted(config.strengths):
                yield Degradation(modality, kind, strength)


def score_runs(
    scorers: Sequence[Scorer], contents: Sequence[Content | None], category: str
) -> NDArray[np.float32]:
    """Score contents by each run, float32, (R, n); NaN where there is nothing to score, or no score."""
    left = [row for row, content in enumerate(contents) if content is not None]
    given = [content for content in contents if content is not None]
    scores = np.full((len(scorers), len(contents)), np.nan, np.float32)
    for run, scorer in enumerate(scorers):
        scores[run, left] = evaluate_scorer(scorer, given, (category,)).scores[:, 0]
    return scores


ALL_KINDS = RobustnessConfig(KINDS)
"""Everything, at every strength."""
