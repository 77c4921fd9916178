"""The stage dataset + scorer + policy -> report: score a split, fit the baseline, compare.

Knows a model by the `Scorer` protocol only. docs/eval.md says what is measured.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gooseguard.core.errors import ConfigError, DataError
from gooseguard.core.manifest import FILE_NAME, Manifest, canonical_json, digest_file, read_manifest
from gooseguard.core.taxonomy import load_taxonomy
from gooseguard.data.shards import FORMAT_VERSION, KIND, DatasetColumns, read_columns
from gooseguard.evaluation.baseline import BaselineConfig, HeldOut, fit_baseline
from gooseguard.evaluation.cache import ScoreKey, draw_order, read_arrays, score_split, write_arrays
from gooseguard.evaluation.compare import EvaluationConfig, evaluate
from gooseguard.evaluation.scored import LabelledRows, ScoredRows
from gooseguard.metrics.ranking import POSITIVE, known_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from gooseguard.core.policy import Policy
    from gooseguard.core.scorer import Scorer
    from gooseguard.evaluation.cache import Listener
    from gooseguard.evaluation.report import Report

REPORT_KIND = "report"
GATE_POSITIVES = 100
"""Positives from which a category below the baseline fails the gate."""
BASELINE = "tfidf-logistic"


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What to evaluate on, and beside what."""

    dataset: Path
    """A dataset folder."""
    output: Path
    """Folder of the report, and of the scores that are kept for a repeat."""
    split: str = "test"
    """`test` or `val`."""
    limit: int | None = None
    """Rows of the split to draw; all when left out."""
    baseline: BaselineConfig | None = field(default_factory=BaselineConfig)
    """Settings of the baseline; None for no baseline."""
    config: EvaluationConfig = field(default_factory=EvaluationConfig)
    """How to measure."""


@dataclass(frozen=True, slots=True, eq=False)
class Evaluated:
    """A report and what it was made from."""

    report: Report
    """The numbers."""
    rows: LabelledRows
    """The rows that were measured."""
    scorers: tuple[ScoredRows, ...]
    """Scores of the model, then of the baseline, with the thresholds used."""
    policy: Policy
    """Whose review thresholds were measured."""
    dataset: Manifest
    """What the dataset says of itself."""
    dataset_digest: str
    """SHA-256 (hex) of the dataset's manifest."""
    is_own_data: bool | None
    """Whether the model was trained on this dataset; None when its card does not say."""
    warnings: tuple[str, ...]
    """What a reader must know before the numbers."""


def run_evaluation(
    scorer: Scorer,
    policy: Policy,
    card: Mapping[str, Any],
    request: EvaluationRequest,
    listener: Listener,
) -> Evaluated:
    """Score a split of a dataset with a model, and with the baseline, and measure both.

    Args:
        scorer: the model.
        policy: whose review thresholds count; fits the scorer.
        card: facts of the model's card; empty when it has none.
        request: what to evaluate on.
        listener: told where it stands.

    Raises:
        ArtefactError: the dataset, or a file of kept scores, is damaged.
        ConfigError: the output folder holds something else, or a needed extra is not installed.
        DataError: the split holds no row, or the scorer knows no category of ours.
    """
    categories = tuple(name for name in load_taxonomy() if name in scorer.categories)
    if not categories:
        raise DataError(f"model {scorer.name}: scores no category of the taxonomy; expected at least one")
    if not request.dataset.is_dir():
        found = "is a file" if request.dataset.exists() else "there is no such folder"
        raise DataError(
            f"dataset {request.dataset}: {found}; expected a folder that `gooseguard train` built"
        )
    listener.say("read dataset")
    dataset = read_manifest(request.dataset, KIND, FORMAT_VERSION, verify=True)
    digest = digest_file(request.dataset / FILE_NAME)
    columns = read_columns(request.dataset, request.split, categories)
    if not columns.texts:
        raise DataError(
            f"dataset {request.dataset}: split {request.split} holds no row; choose another split"
        )
    _prepare_output(request.output)
    order = draw_order(len(columns.texts))[: request.limit]
    rows = LabelledRows(
        categories,
        columns.labels[order],
        np.array(columns.sources)[order],
        np.array([language or "und" for language in columns.languages])[order],
        f"{request.dataset.resolve().name}@{digest[:12]}",
        request.split,
    )
    key = ScoreKey(scorer.name, digest, request.split, categories)
    listener.say(f"score {request.split} with {scorer.name}")
    model = replace(
        score_split(scorer, columns, key, request.output, listener, request.limit),
        thresholds={name: threshold.review for name, threshold in policy.thresholds.items()},
    )
    baseline = None
    if request.baseline is not None:
        baseline = _score_baseline(scorer, model, columns, key, request, listener)
    is_own = is_same_data(card, dataset, digest)
    listener.say(f"measure on {request.config.n_resamples:,} resamples")
    return Evaluated(
        report=evaluate(rows, model, baseline, request.config),
        rows=rows,
        scorers=(model,) if baseline is None else (model, baseline),
        policy=policy,
        dataset=dataset,
        dataset_digest=digest,
        is_own_data=is_own,
        warnings=tuple(_warnings(card, is_own, request, len(columns.texts))),
    )


def _prepare_output(output: Path) -> None:
    """Make the folder; refuse one that is another artefact's."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"--output {output}: no folder can be made there ({error.strerror}); name another"
        ) from None
    path = output / FILE_NAME
    try:
        held = json.loads(path.read_text("utf-8")).get("kind") if path.is_file() else REPORT_KIND
    except (OSError, ValueError, AttributeError):
        held = "something else"
    if held != REPORT_KIND:
        raise ConfigError(f"--output {output}: holds a {held}, which would be damaged; name another folder")


def _score_baseline(
    scorer: Scorer,
    model: ScoredRows,
    columns: DatasetColumns,
    key: ScoreKey,
    request: EvaluationRequest,
    listener: Listener,
) -> ScoredRows:
    """Fit the baseline, or read its kept scores; give those of the rows of `model`, with thresholds.

    A category's threshold is the one that flags, of the validation negatives, at most as many as the model's
    review threshold flags there: so both are compared at the same price in false positives.
    """
    val = columns if request.split == "val" else read_columns(request.dataset, "val", key.categories)
    model_val = model
    if request.split != "val":
        listener.say(f"score val with {scorer.name}, for the baseline's thresholds")
        val_key = replace(key, split="val")
        model_val = score_split(scorer, val, val_key, request.output, listener, request.limit)
    scores = _baseline_scores(val, key, request, listener)
    val_order = draw_order(len(val.texts))[: request.limit]
    baseline_val = scores["val"][val_order]
    order = draw_order(len(columns.texts))[: request.limit]
    thresholds = matching_thresholds(
        val.labels[val_order], model_val.scores, baseline_val, key.categories, model.thresholds
    )
    return ScoredRows(str(scores["name"]), scores[request.split][order], thresholds)


def _baseline_scores(
    val: DatasetColumns, key: ScoreKey, request: EvaluationRequest, listener: Listener
) -> dict[str, NDArray[Any]]:
    """Give the baseline's scores of the whole of `val` and `test`, float32, (n, K), and its `name`."""
    assert request.baseline is not None
    settings = canonical_json(asdict(request.baseline))
    key = ScoreKey(BASELINE, key.dataset, "val and test", key.categories, settings)
    path = request.output / key.file_name("baseline")
    kept = read_arrays(path, key)
    if kept is not None:
        return kept
    train = read_columns(request.dataset, "train", key.categories)
    listener.say(
        f"fit the TF-IDF baseline on {len(train.texts):,} rows: minutes on one core, once a dataset; "
        "it cannot be resumed"
    )
    held_out = HeldOut(val.texts, val.labels, np.array(val.sources, dtype=np.str_))
    baseline = fit_baseline(train.texts, train.labels, key.categories, held_out, request.baseline)
    arrays: dict[str, NDArray[Any]] = {"name": np.array(baseline.name)}
    for split in ("val", "test"):
        texts = val.texts if split == "val" else read_columns(request.dataset, split, ()).texts
        listener.say(f"score {split} with the baseline")
        scores = np.full((len(texts), len(key.categories)), np.nan, np.float32)
        scores[:, [key.categories.index(name) for name in baseline.ordered]] = baseline.predict(texts)
        arrays[split] = scores
    write_arrays(path, key, arrays)
    return arrays


def matching_thresholds(
    labels: NDArray[np.floating[Any]],
    model: NDArray[np.floating[Any]],
    baseline: NDArray[np.float32],
    categories: Sequence[str],
    thresholds: Mapping[str, float],
) -> dict[str, float]:
    """Give the smallest baseline thresholds that flag no more negatives than the model's thresholds do.

    Args:
        labels: float, (n, K), NaN = not annotated.
        model: float, (n, K), scores of the model.
        baseline: float32, (n, K), scores of the baseline.
        categories: names of the K columns.
        thresholds: category to the model's review threshold; a category without one gets none.
    """
    matched = {}
    for k, category in enumerate(categories):
        known = known_rows(labels[:, k], model[:, k], baseline[:, k]) & (labels[:, k] < POSITIVE)
        if category not in thresholds or not known.any():
            continue
        allowed = int((model[known, k] >= thresholds[category]).sum())
        negatives = np.sort(baseline[known, k])[::-1]
        # Thresholds are inclusive: it lies just above the first negative that may not be flagged.
        beyond = negatives[allowed] if allowed < negatives.size else np.float32(-1)
        matched[category] = max(0.0, float(np.nextafter(beyond, np.float32(2))))
    return matched


def is_same_data(card: Mapping[str, Any], dataset: Manifest, digest: str) -> bool | None:
    """Tell whether a model was trained on this very dataset; None when its card does not say.

    A card that holds no digest is compared by its counts a category, split, source and language.
    """
    data = card.get("data")
    if not isinstance(data, dict):
        return None
    if isinstance(data.get("dataset"), str):
        return bool(data["dataset"] == digest)
    counts = dataset.facts.get("counts")
    if not isinstance(counts, dict) or not isinstance(data.get("categories"), dict):
        return None
    train = counts.get("train", {})
    of_categories = {
        name: {split: counts[split].get("categories", {}).get(name) for split in counts}
        for name in data["categories"]
    }
    of_sets = {name: entry.get("rows", 0) for name, entry in data.get("sets", {}).items()}
    return bool(
        of_categories == data["categories"]
        and data.get("languages") == train.get("languages")
        and of_sets == {name: train.get("sources", {}).get(name, 0) for name in dataset.facts.get("sets", {})}
    )


def _warnings(
    card: Mapping[str, Any], is_own: bool | None, request: EvaluationRequest, n_rows: int
) -> list[str]:
    found = []
    if not is_own:
        why = (
            "The model's card does not say what it was trained on"
            if is_own is None
            else "The model was trained on another build of the data"
        )
        found.append(f"{why}: rows measured here may be among its training rows.")
    if request.split == "val":
        beside = "" if request.baseline is None else ", as is the strength of the baseline"
        found.append(
            f"Calibration and thresholds are chosen on validation rows{beside}: these numbers flatter."
        )
    if request.limit is not None and request.limit < n_rows:
        found.append(f"Only {request.limit:,} of {n_rows:,} rows were drawn: a quick look.")
    if request.baseline is not None:
        found += [f"{fact}: the two are not independent." for fact in kinship(card)]
    return found


def kinship(card: Mapping[str, Any]) -> list[str]:
    """Say what a model shares with the baseline, in sentences without their end."""
    recipe = card.get("recipe")
    recipe = recipe if isinstance(recipe, dict) else {}
    weight, ngrams = recipe.get("teacher_weight", 0), recipe.get("ngrams", {})
    shared = []
    if isinstance(ngrams, dict) and ngrams.get("pairs", 0):
        shared.append(
            "A part of the model, its n-gram head, is a logistic regression of the TF-IDF baseline's kind"
        )
    if isinstance(weight, int | float) and weight > 0:
        shared.append(
            "The model was partly distilled from logistic regressions of the TF-IDF baseline's kind "
            f"(weight {weight:g}, where nobody annotated)"
        )
    return shared


def gate_findings(report: Report, min_positives: int = GATE_POSITIVES) -> list[str]:
    """List why a report fails the gate; nothing when it passes.

    The mean headline AUC must be above the baseline's with an interval that excludes 0, and no category with
    `min_positives` may be significantly below it: in headline AUC, or, where no source is large enough for
    one, in average precision.
    """
    mean = report.mean_difference
    found = []
    # A NaN fails the comparison.
    if mean is None or not mean.low > 0:
        shown = (
            "not measured" if mean is None or np.isnan(mean.low) else f"{mean.low:+.4f} to {mean.high:+.4f}"
        )
        found.append(f"mean headline AUC minus the baseline's: {shown}; expected an interval above 0")
    for category in report.categories:
        headline = category.headline_difference
        name, difference = "headline AUC", headline
        if headline is None or np.isnan(headline.value):
            name, difference = "average precision", category.average_precision_difference
        if category.n_positives >= min_positives and difference is not None and difference.high < 0:
            found.append(
                f"{category.category}: {name} minus the baseline's is {difference.low:+.4f} to "
                f"{difference.high:+.4f}; expected no interval below 0"
            )
    return found
