"""Labels and scores to a report: a model, and a baseline beside it, on the same rows and the same resamples.

Knows arrays only: no scorer, dataset or file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gooseguard.core.errors import ConfigError, DataError
from gooseguard.evaluation.report import (
    CategoryMetrics,
    CategoryReport,
    LanguageReport,
    OrdinaryReport,
    Report,
    ScorerReport,
    SourceReport,
)
from gooseguard.metrics.calibration import N_BINS, brier_score, expected_calibration_error
from gooseguard.metrics.ranking import MIN_CLASS, POSITIVE, Ranking, confusion, known_rows, rates_of_counts
from gooseguard.metrics.resampling import (
    LEVEL,
    N_RESAMPLES,
    Estimate,
    HeadlineRanking,
    bootstrap,
    estimate,
    wilson_interval,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gooseguard.evaluation.scored import LabelledRows, ScoredRows

Key = tuple[Any, ...]
Measure = Callable[["NDArray[Any]"], "NDArray[np.float64]"]
"""Row weights (B, n) to (B, M) statistics."""


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """Every setting of an evaluation."""

    n_resamples: int = N_RESAMPLES
    """Bootstrap resamples; rows are drawn within each source, once for all categories and scorers."""
    seed: int = 0
    """Of the resamples."""
    min_class: int = MIN_CLASS
    """Positives and negatives a source or language must hold to be measured."""
    max_fpr: float = 0.01
    """False-positive rate at which recall is reported."""
    n_bins: int = N_BINS
    """Bins of the expected calibration error."""
    ordinary_sources: tuple[str, ...] = ("benign_goemotions_unlabelled", "benign_dolly_instructions")
    """Sources of ordinary text, in which every flag is close to a false alarm."""
    language_categories: tuple[str, ...] = ("toxicity",)
    """Categories that are also measured a language."""

    def __post_init__(self) -> None:
        for name in ("n_resamples", "min_class", "n_bins"):
            if getattr(self, name) < 1:
                raise ConfigError(f"evaluation: {name} is {getattr(self, name)}, expected at least 1")
        if not 0 < self.max_fpr < 1:
            raise ConfigError(f"evaluation: max_fpr is {self.max_fpr}, expected a share between 0 and 1")


class _Measured:
    """Point estimates and bootstrap draws of many statistics, all on the same resamples."""

    def __init__(self, strata: NDArray[Any], config: EvaluationConfig) -> None:
        self._strata = strata
        self._config = config
        self._keys: list[Key] = []
        self._measures: list[Measure] = []
        self._columns: dict[Key, int] = {}
        self._values = np.empty(0)
        self._draws = np.empty((0, 0))

    def add(self, keys: Sequence[Key], measure: Measure) -> None:
        """Plan a measure of `len(keys)` statistics."""
        self._keys.extend(keys)
        self._measures.append(measure)

    def run(self) -> None:
        """Measure everything that was planned."""

        def statistic(weights: NDArray[Any]) -> NDArray[np.float64]:
            columns = [measure(weights) for measure in self._measures]
            return np.concatenate(columns, axis=1) if columns else np.empty((weights.shape[0], 0))

        generator = np.random.default_rng(self._config.seed)
        self._values = statistic(np.ones((1, self._strata.size), dtype=np.float32))[0]
        self._draws = bootstrap(statistic, self._strata, generator, self._config.n_resamples)
        self._columns = {key: column for column, key in enumerate(self._keys)}

    def value(self, key: Key) -> float:
        """Give a point estimate; NaN when it was not planned."""
        return float(self._values[self._columns[key]]) if key in self._columns else float("nan")

    def combine(self, plus: Sequence[Key], minus: Sequence[Key] = ()) -> Estimate:
        """Give mean(plus) - mean(minus) with its paired interval; NaN when a part was not planned."""
        if not plus or any(key not in self._columns for key in (*plus, *minus)):
            return Estimate(float("nan"))
        first, second = ([self._columns[key] for key in keys] for keys in (plus, minus))
        value, draws = self._values[first].mean(), self._draws[:, first].mean(axis=1)
        if second:
            value, draws = value - self._values[second].mean(), draws - self._draws[:, second].mean(axis=1)
        return estimate(float(value), draws, LEVEL)


@dataclass(frozen=True, slots=True, eq=False)
class _Cell:
    """One scorer on one category."""

    labels: NDArray[np.floating[Any]]
    """(n,), NaN where a row is left out."""
    scores: NDArray[np.floating[Any]]
    """(n,)."""
    headline: HeadlineRanking
    threshold: float
    confusion: NDArray[np.bool_]
    """(4, n): TP, FP, FN, TN; empty of rows when there is no threshold."""


def _scores_category(scored: ScoredRows, k: int) -> bool:
    return not bool(np.isnan(scored.scores[:, k]).all())


def _cells(
    rows: LabelledRows, scorers: Sequence[ScoredRows], config: EvaluationConfig
) -> dict[tuple[int, int], _Cell]:
    """Lay out each scorer and category, on the rows that all scorers of that category scored."""
    cells = {}
    for k, category in enumerate(rows.categories):
        able = [i for i, scored in enumerate(scorers) if _scores_category(scored, k)]
        known = known_rows(rows.labels[:, k], *(scorers[i].scores[:, k] for i in able))
        labels = np.where(known, rows.labels[:, k], np.nan)
        for i in able:
            scores = scorers[i].scores[:, k]
            threshold = float(scorers[i].thresholds.get(category, np.nan))
            counted = confusion(labels, scores, threshold) & (not np.isnan(threshold))
            headline = HeadlineRanking.build(labels, scores, rows.sources, config.min_class)
            cells[i, k] = _Cell(labels, scores, headline, threshold, counted)
    return cells


def _plan(measured: _Measured, at: tuple[int, int], cell: _Cell, max_fpr: float) -> None:
    """Plan every resampled statistic of one cell, under keys that begin with scorer and category number."""
    pooled = Ranking.build(cell.labels, cell.scores)
    counts = cell.confusion.T.astype(np.float32)

    def within(weights: NDArray[Any]) -> NDArray[np.float64]:
        aucs = cell.headline.aucs(weights)
        return np.concatenate((aucs, aucs.mean(axis=1, keepdims=True)), axis=1)

    def over_all(weights: NDArray[Any]) -> NDArray[np.float64]:
        tally = pooled.tally(weights)
        f1 = rates_of_counts((weights @ counts).astype(np.float64))["f1"]
        return np.stack(
            (tally.roc_auc(), tally.average_precision(), tally.recall_at_fpr(max_fpr), f1), axis=1
        )

    if cell.headline.sources:
        measured.add([*((*at, "source", name) for name in cell.headline.sources), (*at, "headline")], within)
    measured.add([(*at, name) for name in ("pooled", "precision", "recall", "f1")], over_all)


def _plan_languages(
    measured: _Measured, rows: LabelledRows, cells: dict[tuple[int, int], _Cell], config: EvaluationConfig
) -> list[tuple[int, str, int, int]]:
    """Plan the AUC of each large enough language; give category number, language, positives and negatives."""
    planned: dict[tuple[int, str, int, int], None] = {}
    if rows.languages is None:
        return []
    for (i, k), cell in cells.items():
        if rows.categories[k] not in config.language_categories:
            continue
        for language in sorted({str(name) for name in np.unique(rows.languages)}):
            ranking = Ranking.build(cell.labels, cell.scores, rows.languages == language)
            n_positives, n_negatives = ranking.positives.size, ranking.negatives.size
            if min(n_positives, n_negatives) < config.min_class:
                continue

            def auc(weights: NDArray[Any], ranking: Ranking = ranking) -> NDArray[np.float64]:
                return ranking.tally(weights).roc_auc()[:, None]

            measured.add([(i, k, "language", language)], auc)
            planned[k, language, n_positives, n_negatives] = None
    return list(planned)


def _language_reports(
    measured: _Measured, rows: LabelledRows, planned: Sequence[tuple[int, str, int, int]], n_scorers: int
) -> tuple[LanguageReport, ...]:
    found = []
    for k, language, n_positives, n_negatives in planned:
        aucs = tuple(measured.combine([(i, k, "language", language)]) for i in range(n_scorers))
        found.append(LanguageReport(rows.categories[k], language, n_positives, n_negatives, aucs))
    return tuple(found)


def _metrics(measured: _Measured, at: tuple[int, int], cell: _Cell, n_bins: int) -> CategoryMetrics:
    tp, fp, fn, tn = (int(count) for count in cell.confusion.sum(axis=1))
    return CategoryMetrics(
        headline_auc=measured.combine([(*at, "headline")]),
        pooled_auc=measured.combine([(*at, "pooled")]),
        average_precision=measured.combine([(*at, "precision")]),
        recall_at_fpr=measured.combine([(*at, "recall")]),
        threshold=cell.threshold,
        f1=measured.combine([(*at, "f1")]),
        fpr=wilson_interval(fp, fp + tn),
        fnr=wilson_interval(fn, tp + fn),
        precision=wilson_interval(tp, tp + fp),
        ece=expected_calibration_error(cell.labels, cell.scores, n_bins),
        brier=brier_score(cell.labels, cell.scores),
    )


def _counts(labels: NDArray[np.floating[Any]]) -> tuple[int, int]:
    return int((labels >= POSITIVE).sum()), int((labels < POSITIVE).sum())


def _category_report(
    measured: _Measured,
    rows: LabelledRows,
    cells: dict[tuple[int, int], _Cell],
    k: int,
    config: EvaluationConfig,
) -> CategoryReport:
    n_scorers = 1 + max((i for i, _ in cells), default=0)
    able = [cells[i, k] for i in range(n_scorers) if (i, k) in cells]
    labels = able[0].labels if able else rows.labels[:, k]
    n_positives, n_negatives = _counts(labels)
    paired = len(able) == 2
    return CategoryReport(
        category=rows.categories[k],
        n_positives=n_positives,
        n_negatives=n_negatives,
        headline_sources=able[0].headline.sources if able else (),
        scorers=tuple(
            _metrics(measured, (i, k), cells[i, k], config.n_bins) if (i, k) in cells else None
            for i in range(n_scorers)
        ),
        headline_difference=measured.combine([(0, k, "headline")], [(1, k, "headline")]) if paired else None,
        average_precision_difference=(
            measured.combine([(0, k, "precision")], [(1, k, "precision")]) if paired else None
        ),
    )


def _source_reports(
    measured: _Measured, rows: LabelledRows, cells: dict[tuple[int, int], _Cell], n_scorers: int
) -> tuple[SourceReport, ...]:
    found = []
    for k, category in enumerate(rows.categories):
        able = [i for i in range(n_scorers) if (i, k) in cells]
        for source in cells[able[0], k].headline.sources if able else ():
            n_positives, n_negatives = _counts(cells[able[0], k].labels[rows.sources == source])
            aucs = tuple(
                measured.combine([(i, k, "source", source)]) if i in able else None for i in range(n_scorers)
            )
            found.append(SourceReport(category, source, n_positives, n_negatives, aucs))
    return tuple(found)


def _ordinary_reports(
    rows: LabelledRows, scorers: Sequence[ScoredRows], config: EvaluationConfig
) -> tuple[OrdinaryReport, ...]:
    found = []
    scored_by_all = np.logical_and.reduce([~np.isnan(scored.scores).all(axis=1) for scored in scorers])
    for source in config.ordinary_sources:
        chosen = (rows.sources == source) & scored_by_all
        n_rows = int(chosen.sum())
        if not n_rows:
            continue
        shares, by_category = [], []
        for scored in scorers:
            thresholds = np.array([scored.thresholds.get(category, np.inf) for category in rows.categories])
            flagged = scored.scores[chosen] >= thresholds
            shares.append(wilson_interval(int(flagged.any(axis=1).sum()), n_rows))
            by_category.append(
                {
                    category: float(flagged[:, k].mean())
                    for k, category in enumerate(rows.categories)
                    if category in scored.thresholds
                }
            )
        found.append(OrdinaryReport(source, n_rows, tuple(shares), tuple(by_category)))
    return tuple(found)


def _check(rows: LabelledRows, scorers: Sequence[ScoredRows]) -> None:
    for scored in scorers:
        if scored.scores.shape != rows.labels.shape:
            raise DataError(
                f"scores of {scored.name} have shape {scored.scores.shape}; "
                f"expected {rows.labels.shape}, as the labels"
            )
        known = scored.scores[~np.isnan(scored.scores)]
        if known.size and (known.min() < 0 or known.max() > 1):
            raise DataError(
                f"scores of {scored.name} run from {known.min():.4g} to {known.max():.4g}; expected 0..1"
            )


def evaluate(
    rows: LabelledRows,
    model: ScoredRows,
    baseline: ScoredRows | None = None,
    config: EvaluationConfig | None = None,
) -> Report:
    """Measure a model, and a baseline beside it.

    A category is measured on the annotated rows that every scorer of the category scored. Intervals are
    bootstrap percentiles at 95 %, rows drawn within each source; those of shares are Wilson's.

    Args:
        rows: labels, sources and languages.
        model: what is evaluated.
        baseline: what it is compared with.
        config: settings; the defaults when left out.

    Raises:
        DataError: labels and scores do not fit each other, or a score is outside 0..1.
    """
    config = config or EvaluationConfig()
    scorers = [model] if baseline is None else [model, baseline]
    _check(rows, scorers)
    cells = _cells(rows, scorers, config)
    measured = _Measured(rows.sources, config)
    for at, cell in cells.items():
        _plan(measured, at, cell, config.max_fpr)
    languages = _plan_languages(measured, rows, cells, config)
    measured.run()
    numbers = range(len(scorers))
    averaged = [
        k
        for k in range(len(rows.categories))
        if not any(np.isnan(measured.value((i, k, "headline"))) for i in numbers)
    ]
    headlines = [[(i, k, "headline") for k in averaged] for i in numbers]
    return Report(
        dataset=rows.dataset,
        split=rows.split,
        n_rows=rows.labels.shape[0],
        scorers=tuple(
            ScorerReport(scored.name, scored.n_errors, measured.combine(headlines[i]))
            for i, scored in enumerate(scorers)
        ),
        mean_difference=None if baseline is None else measured.combine(headlines[0], headlines[1]),
        mean_categories=tuple(rows.categories[k] for k in averaged),
        categories=tuple(
            _category_report(measured, rows, cells, k, config) for k in range(len(rows.categories))
        ),
        sources=_source_reports(measured, rows, cells, len(scorers)),
        languages=_language_reports(measured, rows, languages, len(scorers)),
        ordinary=_ordinary_reports(rows, scorers, config),
        settings=asdict(config) | {"level": LEVEL},
    )
