"""The outcome of an evaluation: frozen numbers with intervals, as JSON and as Markdown.

Holds and prints; computes nothing. Every list of estimates has one entry a scorer: the model first, then the
baseline if there was one.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from gooseguard.metrics.resampling import Estimate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FORMAT = 1
"""Version of the JSON form."""

NONE = "–"
"""Shown where there is no number."""


@dataclass(frozen=True, slots=True)
class CategoryMetrics:
    """One scorer on one category."""

    headline_auc: Estimate
    """Unweighted mean of the ROC AUCs within sources; higher is better."""
    pooled_auc: Estimate
    """ROC AUC over all sources; higher is better."""
    average_precision: Estimate
    """Area under the precision-recall steps, all sources; higher is better."""
    recall_at_fpr: Estimate
    """Highest recall at the report's `max_fpr`, all sources; higher is better."""
    threshold: float
    """The policy's review threshold; NaN when it names none."""
    f1: Estimate
    """F1 at the threshold; higher is better."""
    fpr: Estimate
    """Share of negatives flagged; lower is better; Wilson interval."""
    fnr: Estimate
    """Share of positives not flagged; lower is better; Wilson interval."""
    precision: Estimate
    """Share of flagged rows that are positive; higher is better; Wilson interval."""
    ece: float
    """Expected calibration error in equal-mass bins; lower is better; no interval: resampling raises it."""
    brier: float
    """Mean squared gap of score and label; lower is better."""


@dataclass(frozen=True, slots=True)
class CategoryReport:
    """One category."""

    category: str
    """Its name."""
    n_positives: int
    """Annotated positives that every scorer scored."""
    n_negatives: int
    """Annotated negatives that every scorer scored."""
    headline_sources: tuple[str, ...]
    """Sources large enough to enter the headline AUC."""
    scorers: tuple[CategoryMetrics | None, ...]
    """One a scorer; None when that scorer does not score the category."""
    headline_difference: Estimate | None
    """Headline AUC of the model minus that of the baseline, paired."""
    average_precision_difference: Estimate | None
    """Average precision of the model minus that of the baseline, paired."""


@dataclass(frozen=True, slots=True)
class SourceReport:
    """One category within one source."""

    category: str
    """The category."""
    source: str
    """The source."""
    n_positives: int
    """Annotated positives."""
    n_negatives: int
    """Annotated negatives."""
    aucs: tuple[Estimate | None, ...]
    """ROC AUC, one a scorer."""


@dataclass(frozen=True, slots=True)
class LanguageReport:
    """One category within one language."""

    category: str
    """The category."""
    language: str
    """BCP-47."""
    n_positives: int
    """Annotated positives."""
    n_negatives: int
    """Annotated negatives."""
    aucs: tuple[Estimate | None, ...]
    """ROC AUC over the language's sources together, one a scorer."""


@dataclass(frozen=True, slots=True)
class OrdinaryReport:
    """What a policy flags in a source of ordinary text, which hardly holds any harm."""

    source: str
    """The source."""
    n_rows: int
    """Rows that every scorer scored."""
    flagged: tuple[Estimate, ...]
    """Share with any category at or above its threshold, one a scorer; lower is better; Wilson interval."""
    by_category: tuple[dict[str, float], ...]
    """Category to share flagged, one mapping a scorer."""


@dataclass(frozen=True, slots=True)
class ScorerReport:
    """One scorer over all categories."""

    name: str
    """The scorer, "name@digest"."""
    n_errors: int
    """Rows that it refused."""
    mean_headline_auc: Estimate
    """Mean of the headline AUCs over `Report.mean_categories`; higher is better."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that one evaluation found."""

    dataset: str
    """Name or digest of the dataset."""
    split: str
    """Name of the split."""
    n_rows: int
    """Rows of the split."""
    scorers: tuple[ScorerReport, ...]
    """The model, then the baseline."""
    mean_difference: Estimate | None
    """Mean headline AUC of the model minus that of the baseline; rows drawn once for all categories."""
    mean_categories: tuple[str, ...]
    """Categories in which every scorer has a headline AUC."""
    categories: tuple[CategoryReport, ...]
    """One a category."""
    sources: tuple[SourceReport, ...]
    """One a category and source of its headline."""
    languages: tuple[LanguageReport, ...]
    """One a language with enough rows."""
    ordinary: tuple[OrdinaryReport, ...]
    """One a source of ordinary text."""
    settings: dict[str, Any]
    """How it was measured: resamples, seed, level, `min_class`, `max_fpr`, bins."""

    def to_json(self) -> str:
        """Give the report as JSON; NaN becomes null."""
        document = {"kind": "report", "format": FORMAT, **without_nan(asdict(self))}
        return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def to_markdown(self) -> str:
        """Give the report as Markdown tables, each under a heading of the third level."""
        sections = [
            ("Ranking", ranking_table(self)),
            ("At the policy's thresholds", decision_table(self)),
            ("Ordinary text", ordinary_table(self)),
            ("Languages", language_table(self)),
            ("Within sources", source_table(self)),
        ]
        title = f"{self.n_rows:,} rows of {self.dataset or 'a dataset'}, split {self.split or 'unnamed'}. "
        names = " against ".join(f"`{scorer.name}`" for scorer in self.scorers)
        errors = ", ".join(f"{scorer.n_errors:,}" for scorer in self.scorers)
        shown = [f"### {heading}\n\n{table}" for heading, table in sections if table]
        return "\n\n".join([f"{title}{names}; refused rows: {errors}.", *shown]) + "\n"


def without_nan(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Give a nested value with null in place of NaN and infinity, which JSON does not know."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return value


def _number(value: float, digits: int = 3, *, signed: bool = False) -> str:
    if math.isnan(value):
        return NONE
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"


def _percent(value: float, digits: int = 1) -> str:
    return NONE if math.isnan(value) else f"{100 * value:.{digits}f} %"


def _interval(found: Estimate | None, *, signed: bool = False) -> str:
    if found is None or math.isnan(found.value):
        return NONE
    text = _number(found.value, signed=signed)
    if math.isnan(found.low):
        return text
    return f"{text} ({_number(found.low, signed=signed)} to {_number(found.high, signed=signed)})"


def _percent_interval(found: Estimate) -> str:
    if math.isnan(found.value):
        return NONE
    return f"{_percent(found.value, 2)} ({_percent(found.low, 2)} to {_percent(found.high, 2)})"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], n_text: int = 1) -> str:
    """Lay out a Markdown table, numbers right-aligned; empty without rows."""
    body = [f"| {' | '.join(row)} |" for row in rows]
    if not body:
        return ""
    rule = ["---"] * n_text + ["---:"] * (len(header) - n_text)
    return "\n".join([f"| {' | '.join(header)} |", f"| {' | '.join(rule)} |", *body])


def _beside(metrics: Sequence[CategoryMetrics | None], field: str, *, percent: bool = False) -> str:
    """Show one metric of each scorer, as `model / baseline`."""
    shown = []
    for found in metrics:
        value = float("nan") if found is None else getattr(found, field)
        number = value.value if isinstance(value, Estimate) else value
        shown.append(_percent(number) if percent else _number(number))
    return " / ".join(shown)


def _columns(report: Report) -> list[str]:
    return ["model", "baseline"][: len(report.scorers)]


def ranking_table(report: Report) -> str:
    """Give the table of AUC and average precision, a category a line and their mean last."""
    paired = len(report.scorers) > 1
    both = " / ".join(_columns(report))
    header = ["category", "positives / negatives", "sources", *(f"AUC, {name}" for name in _columns(report))]
    header += ["difference"] * paired + [f"pooled AUC, {both}", f"average precision, {both}"]
    rows = []
    for found in report.categories:
        row = [f"`{found.category}`", f"{found.n_positives:,} / {found.n_negatives:,}"]
        row.append(str(len(found.headline_sources)))
        row += [_interval(None if one is None else one.headline_auc) for one in found.scorers]
        row += [_interval(found.headline_difference, signed=True)] * paired
        row += [_beside(found.scorers, "pooled_auc"), _beside(found.scorers, "average_precision")]
        rows.append(row)
    if report.mean_categories:
        row = [f"**mean of {len(report.mean_categories)}**", "", ""]
        row += [f"**{_interval(scorer.mean_headline_auc)}**" for scorer in report.scorers]
        row += [f"**{_interval(report.mean_difference, signed=True)}**"] * paired + ["", ""]
        rows.append(row)
    return _table(header, rows)


def decision_table(report: Report) -> str:
    """Give the table of error rates at the policy's review thresholds, and of calibration."""
    recall = f"recall at {_percent(float(report.settings['max_fpr']), 0)} FPR"
    header = ["category", "threshold", "F1", "false positives", "missed", "precision", recall, "ECE"]
    note = "" if len(report.scorers) == 1 else "Each cell: model / baseline.\n\n"
    rows = []
    for found in report.categories:
        row = [f"`{found.category}`", _beside(found.scorers, "threshold"), _beside(found.scorers, "f1")]
        row += [_beside(found.scorers, field, percent=True) for field in ("fpr", "fnr", "precision")]
        row += [_beside(found.scorers, "recall_at_fpr", percent=True), _beside(found.scorers, "ece")]
        rows.append(row)
    table = _table(header, rows)
    return table and note + table


def ordinary_table(report: Report) -> str:
    """Give the table of what the policy flags in ordinary text."""
    header = ["source", "rows", *(f"flagged, {name}" for name in _columns(report))]
    rows = [
        [f"`{found.source}`", f"{found.n_rows:,}", *(_percent_interval(share) for share in found.flagged)]
        for found in report.ordinary
    ]
    return _table(header, rows)


def language_table(report: Report) -> str:
    """Give the table of AUC a language."""
    header = ["language", "category", "positives / negatives", *(f"AUC, {name}" for name in _columns(report))]
    rows = [
        [
            found.language,
            f"`{found.category}`",
            f"{found.n_positives:,} / {found.n_negatives:,}",
            *(_interval(auc) for auc in found.aucs),
        ]
        for found in report.languages
    ]
    return _table(header, rows, n_text=2)


def source_table(report: Report) -> str:
    """Give the table of AUC a category and source."""
    header = ["category", "source", "positives / negatives", *(f"AUC, {name}" for name in _columns(report))]
    rows = [
        [
            f"`{found.category}`",
            f"`{found.source}`",
            f"{found.n_positives:,} / {found.n_negatives:,}",
            *(_interval(auc) for auc in found.aucs),
        ]
        for found in report.sources
    ]
    return _table(header, rows, n_text=2)
