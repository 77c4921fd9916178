"""Facts of a model and an evaluation to a model card in Markdown: fixed sentences, every number from the run.

A fact that is not there is shown as "not stated". Knows no file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gooseguard.core.taxonomy import load_taxonomy
from gooseguard.evaluation.report import decision_table, language_table, ordinary_table, ranking_table
from gooseguard.evaluation.run import kinship
from gooseguard.metrics.ranking import POSITIVE, rates_at_threshold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gooseguard.evaluation.run import Evaluated

UNKNOWN = "not stated"
"""Shown for a fact that is not there."""

MAJORITY = 0.5
"""Share of a category's positives above which a weakness of their sources is a limit of the model."""

FEW_ROWS = 1000
"""Training rows below which a language is named as a limit."""

N_SOURCES = 3
"""Sources named a category, largest first."""

PRIVATE = frozenset({"root", "held_out"})
"""Recipe keys that are paths of one machine."""

INTENDED = (
    (
        "It orders and flags short texts written by people (comments, posts, chat messages, prompts) so that "
        "a moderation team sees the worst first, under thresholds that the team chose and checked on texts "
        "of its own."
    ),
    (
        "It is not meant to be the only ground for a sanction against a person, for decisions of law, "
        "employment or credit, for finding people in danger in time to help them, for texts in languages "
        "that are not listed below, or for pictures, sound and video. A score is no proof: quoting, "
        "reporting, reclaiming and joking look like the thing itself."
    ),
)
"""Two paragraphs that hold for every model made this way."""

GENERAL_LIMITS = (
    "It reads one text. What the text replies to, who writes it and to whom is not seen.",
    (
        "Labels are opinions of few people, of the culture and the years of the sets below. Dialects and "
        "words that a group uses of itself are known to be over-flagged in several of them."
    ),
    "Irony, allusion, new code words and deliberate misspelling beyond simple look-alikes are missed.",
    (
        "Most labelled negatives were chosen for looking harmful. Rates on a site's own texts differ: "
        "measure there before acting on a threshold."
    ),
)
"""True of every model made this way."""


@dataclass(frozen=True, slots=True)
class PositiveSources:
    """Where the positives of one category come from, in the rows that were measured."""

    n_positives: int
    """Annotated positives."""
    shares: Mapping[str, float]
    """Set to its share of the positives, 0..1, largest first."""
    weak: frozenset[str]
    """Sets whose labels nobody gave by reading."""
    one_sided: frozenset[str]
    """Sets without a negative of the category."""

    def share_of(self, sets: frozenset[str]) -> float:
        """Give the share of the positives that comes from these sets, 0..1; NaN without positives."""
        return sum(self.shares.get(name, 0.0) for name in sets) if self.n_positives else float("nan")

    def largest(self, sets: frozenset[str] | None = None) -> list[tuple[str, float]]:
        """Give the largest sets, or the largest of `sets`, and their shares of the positives."""
        return [entry for entry in self.shares.items() if sets is None or entry[0] in sets][:N_SOURCES]


def model_card(evaluated: Evaluated, card: Mapping[str, Any], cpu: str) -> str:
    """Write a model card.

    Args:
        evaluated: the report and what it was made from.
        card: facts that training stored in the model; any of them may be missing.
        cpu: name of the processor that the evaluation ran on.
    """
    data = _table_of(card, "data")
    found = positive_sources(evaluated, data)
    sections: list[tuple[str, Sequence[str]]] = [
        ("Intended use", INTENDED),
        ("Categories", [_category_table(evaluated, data, found)]),
        ("Not scored", _not_scored(data, card)),
        ("Results", _results(evaluated, card, cpu)),
        ("Thresholds", _thresholds(evaluated)),
        ("Limits", ["\n".join(f"- {limit}" for limit in _limits(evaluated, data, found))]),
        ("Training", [_training_table(evaluated, card)]),
        ("Data", _data_tables(data)),
    ]
    title = f"# Model card: `{evaluated.scorers[0].name}`"
    lead = (
        f"Scores text in {len(evaluated.rows.categories)} categories of harm, each from 0 to 1, calibrated. "
        "Every number on this page was written by `gooseguard eval` from the model file and one report."
    )
    parts = [title, lead]
    for heading, paragraphs in sections:
        shown = [paragraph for paragraph in paragraphs if paragraph]
        parts += [f"## {heading}", *shown] if shown else []
    return "\n\n".join(parts) + "\n"


def positive_sources(evaluated: Evaluated, data: Mapping[str, Any]) -> dict[str, PositiveSources]:
    """Tell for each category which sets its measured positives come from.

    Args:
        evaluated: holds the measured rows.
        data: the card's `data`, whose `sets` say which are weak; else the dataset's own.
    """
    sets = _table_of(data, "sets") or _table_of(evaluated.dataset.facts, "sets")
    rows = evaluated.rows
    found = {}
    for k, category in enumerate(rows.categories):
        labels = rows.labels[:, k]
        names, counts = np.unique(rows.sources[labels >= POSITIVE], return_counts=True)
        total = int(counts.sum())
        shares = {str(name): int(count) / total for name, count in zip(names, counts, strict=True)}
        found[category] = PositiveSources(
            total,
            dict(sorted(shares.items(), key=lambda entry: -entry[1])),
            frozenset(name for name in shares if _table_of(sets, name).get("weak")),
            frozenset(shares) - set(rows.sources[labels < POSITIVE].tolist()),
        )
    return found


def _table_of(table: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Give a table within a table; empty where it is missing or no table."""
    value = table.get(key)
    return value if isinstance(value, dict) else {}


def _cell(value: object) -> str:
    """Show any fact in a cell of a table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value)) or "none"
    return UNKNOWN if value is None or value == "" else str(value).replace("|", "\\|").replace("\n", " ")


def _percent(share: float, digits: int = 0) -> str:
    return "–" if np.isnan(share) else f"{100 * share:.{digits}f} %"


def _markdown(header: Sequence[str], rows: Iterable[Sequence[object]], n_text: int = 1) -> str:
    """Lay out a table, all but the first `n_text` columns right-aligned; empty without rows."""
    body = [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    rule = ["---"] * n_text + ["---:"] * (len(header) - n_text)
    return "\n".join([f"| {' | '.join(header)} |", f"| {' | '.join(rule)} |", *body]) if body else ""


def _count(data: Mapping[str, Any], group: str, category: str, split: str, what: str) -> int | None:
    """Give a number of rows of the card; 0 where the card says that there are none."""
    splits = _table_of(data, group).get(category)
    if not isinstance(splits, dict) or split not in splits:
        return None
    entry = splits[split]
    return int(entry.get(what, 0)) if isinstance(entry, dict) else 0


def _category_table(
    evaluated: Evaluated, data: Mapping[str, Any], found: Mapping[str, PositiveSources]
) -> str:
    taxonomy = load_taxonomy()
    header = ["category", "what counts", "largest sets of its measured positives"]
    header += ["positives / rows, training", "weakly labelled", "in sets without negatives"]
    rows = []
    for category in evaluated.rows.categories:
        of = found[category]
        counts = [_count(data, "categories", category, "train", what) for what in ("positive", "annotated")]
        rows.append(
            [
                f"`{category}`",
                taxonomy[category].definition,
                ", ".join(f"{name} {_percent(share)}" for name, share in of.largest()) or "–",
                UNKNOWN if None in counts else " / ".join(map(_cell, counts)),
                _percent(of.share_of(of.weak)),
                _percent(of.share_of(of.one_sided)),
            ]
        )
    return _markdown(header, rows, n_text=3)


def _not_scored(data: Mapping[str, Any], card: Mapping[str, Any]) -> list[str]:
    """Name the categories that the model leaves out, and why."""
    left_out = _table_of(data, "not_scored")
    if not left_out:
        return []
    least = _table_of(card, "recipe").get("least_positives")
    few = "too few" if least is None else f"fewer than {_cell(least)}"
    reason = (
        f"The data hold {few} positive validation rows for these categories, so that neither a threshold nor "
        "an error rate could be trusted. The model gives them no score, which is not a score of 0."
    )
    rows = [
        [
            f"`{category}`",
            _count(data, "not_scored", category, "val", "positive"),
            _count(data, "not_scored", category, "train", "positive"),
            _count(data, "not_scored", category, "train", "annotated"),
        ]
        for category in left_out
    ]
    header = ["category", "positives, validation", "positives, training", "annotated rows, training"]
    return [reason, _markdown(header, rows)]


def _results(evaluated: Evaluated, card: Mapping[str, Any], cpu: str) -> list[str]:
    report = evaluated.report
    paragraphs = [f"> **Note:** {warning}" for warning in evaluated.warnings]
    said = f"Measured on {report.n_rows:,} rows of `{report.dataset}`, split `{report.split}`, on {cpu}."
    said += f" Intervals are at {_percent(float(report.settings['level']))}."
    if evaluated.is_own_data:
        said += " It is the dataset that the model was trained on, and this split was kept out of training."
    if len(evaluated.scorers) > 1:
        said += (
            f" The baseline, `{evaluated.scorers[1].name}`, is TF-IDF with a logistic regression a category, "
            "fitted on the same training rows; differences are paired."
        )
    said += "".join(f" **{fact}.**" for fact in kinship(card))
    paragraphs += [said, ranking_table(report)]
    paragraphs.append(
        "AUC is the mean of the ROC AUCs within the sets that hold enough of both classes: it does not "
        "reward recognising where a text was posted, as the pooled AUC beside it does."
    )
    for heading, table in (
        (f"At the review thresholds of policy `{evaluated.policy.name}`", decision_table(report)),
        ("Ordinary text, which nobody chose for its harm", ordinary_table(report)),
        ("Languages", language_table(report)),
    ):
        paragraphs += [f"### {heading}", table] if table else []
    return paragraphs


def _thresholds(evaluated: Evaluated) -> list[str]:
    """Show the model's rates at both thresholds of the policy, on the measured rows."""
    rows = []
    for k, category in enumerate(evaluated.rows.categories):
        threshold = evaluated.policy.thresholds.get(category)
        if threshold is None:
            continue
        row: list[object] = [f"`{category}`"]
        for value in (threshold.review, threshold.block):
            scores = evaluated.scorers[0].scores[:, k]
            rates = rates_at_threshold(evaluated.rows.labels[:, k], scores, value)
            row += [value, _percent(rates.fpr, 2), _percent(1 - rates.fnr, 1)]
        rows.append(row)
    header = ["category", "review", "false positives", "found", "block", "false positives", "found"]
    said = (
        f"Policy `{evaluated.policy.name}`, on the rows measured above: the share of negatives that is "
        "flagged in error, and the share of positives that is found."
    )
    return [said, _markdown(header, rows)]


def _limits(
    evaluated: Evaluated, data: Mapping[str, Any], found: Mapping[str, PositiveSources]
) -> Iterator[str]:
    sets = _table_of(evaluated.dataset.facts, "sets")
    for category, of in found.items():
        weak, one_sided = of.share_of(of.weak), of.share_of(of.one_sided)
        if weak > MAJORITY:
            yield (
                f"`{category}` is weakly labelled: {_percent(weak)} of its measured positives are labelled "
                "by where they were posted, and nobody read them. Its scores tell partly the "
                f"place and its subjects, not the harm. {_described(of, of.weak, sets)}"
            )
        if one_sided > MAJORITY:
            yield (
                f"`{category}`: {_percent(one_sided)} of its measured positives come from sets that "
                "hold no negative. Text that resembles those sets scores high, whatever it says. "
                f"{_described(of, of.one_sided, sets)}"
            )
    pooled = [one.category for one in evaluated.report.categories if not one.headline_sources]
    if pooled:
        yield (
            f"No set is large enough to measure {_quoted(pooled)} within one set: high pooled figures may be "
            "those of a detector of sets."
        )
    for one in evaluated.report.categories:
        if len(one.headline_sources) == 1:
            yield f"`{one.category}` is measured within one set only: `{one.headline_sources[0]}`."
    languages = _table_of(data, "languages")
    few = [f"{name or 'und'} ({_cell(n)})" for name, n in languages.items() if n < FEW_ROWS]
    if few:
        yield f"Languages with fewer than {FEW_ROWS:,} training rows: {', '.join(few)}."
    for ordinary in evaluated.report.ordinary:
        share = ordinary.flagged[0]
        yield (
            f"Of {ordinary.n_rows:,} ordinary texts of `{ordinary.source}`, the policy flags "
            f"{_percent(share.value, 1)} ({_percent(share.low, 1)} to {_percent(share.high, 1)}). Nobody "
            "annotated them; some may deserve it."
        )
    yield from GENERAL_LIMITS


def _described(of: PositiveSources, names: frozenset[str], sets: Mapping[str, Any]) -> str:
    """Name the largest of some sets, and what a 1 says in each."""
    shown = []
    for name, share in of.largest(names):
        meaning = _table_of(sets, name).get("meaning")
        shown.append(f"`{name}` {_percent(share)}" + (f' (a 1 says "{meaning}")' if meaning else ""))
    return f"Largest: {', '.join(shown)}."


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Give the recipe's values under dotted keys, paths left out."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif key not in PRIVATE:
            yield f"{prefix}{key}", value


def _training_table(evaluated: Evaluated, card: Mapping[str, Any]) -> str:
    training = _table_of(card, "training")
    rows: list[list[object]] = [
        ["parameters", card.get("parameters")],
        ["hours", training["seconds"] / 3600 if isinstance(training.get("seconds"), int | float) else None],
        *[[key, value] for key, value in training.items() if key not in {"seconds", "losses"}],
        ["dataset evaluated on, SHA-256 of its manifest", f"`{evaluated.dataset_digest}`"],
        *[[f"recipe: `{key}`", value] for key, value in _flat(_table_of(card, "recipe"))],
    ]
    return _markdown(["fact", "value"], rows, n_text=2)


def _data_tables(data: Mapping[str, Any]) -> list[str]:
    sets = {name: entry for name, entry in _table_of(data, "sets").items() if isinstance(entry, dict)}
    if not sets:
        return ["The model file does not say what it was trained on."]
    keys = ("licence", "citation", "language", "weak", "rows")
    by_set = [[f"`{name}`", *(entry.get(key) for key in keys)] for name, entry in sets.items()]
    header = ["set", "licence, as published", "published in", "language", "weakly labelled", "training rows"]
    languages = [[name or "unknown", n] for name, n in _table_of(data, "languages").items()]
    return [
        "Sets keep their own licences; weakly labelled means by where a text was posted, not by reading it.",
        _markdown(header, by_set, n_text=5),
        "Training rows a language:",
        _markdown(["language", "rows"], languages),
    ]
