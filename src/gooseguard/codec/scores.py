"""Logits and calibration to scores: the one place where a raw model output becomes a number people may use.

Each category has its own line, and the logistic function over it:
score = 1 / (1 + exp(-(scale * logit + bias))).

Knows no model and no threshold.

Source: Platt, "Probabilistic Outputs for Support Vector Machines" (1999), equation 1, with our signs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gooseguard.core.content import Modality
from gooseguard.core.errors import ArtefactError, EngineError
from gooseguard.core.scorer import Scores, Span
from gooseguard.core.taxonomy import load_taxonomy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

TEXT_ONLY = frozenset((Modality.TEXT,))
"""What a text model reads for every category."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A line for each category, from logit to log-odds."""

    categories: tuple[str, ...]
    """K categories, in the order of the model's heads."""
    scale: npt.NDArray[np.float64]
    """(K,), positive: a higher logit never gives a lower score."""
    bias: npt.NDArray[np.float64]
    """(K,)."""

    def __post_init__(self) -> None:
        findings = []
        for name in ("scale", "bias"):
            values = np.array(getattr(self, name), dtype=np.float64)
            values.flags.writeable = False
            object.__setattr__(self, name, values)
            if values.shape != (len(self.categories),):
                findings.append(f"{name} is of shape {values.shape}, expected {(len(self.categories),)}")
        if not findings:
            for category, scale, bias in zip(self.categories, self.scale, self.bias, strict=True):
                if not (math.isfinite(scale) and scale > 0):
                    findings.append(f"scale of {category!r} is {scale}, expected a finite number above 0")
                if not math.isfinite(bias):
                    findings.append(f"bias of {category!r} is {bias}, expected a finite number")
        if findings:
            raise ArtefactError(f"calibration: {'; '.join(findings)}; calibrate again")

    @classmethod
    def from_json(cls, table: object, categories: Sequence[str]) -> Calibration:
        """Read what `to_json` gives.

        Args:
            table: parsed JSON.
            categories: those of the model, in the order of its heads.

        Raises:
            ArtefactError: a category is missing or unknown, or an entry is no pair of numbers; lists all.
        """
        if not isinstance(table, dict):
            raise ArtefactError("calibration is no JSON object; expected {category: {scale, bias}}")
        findings = [f"{name!r} is missing" for name in categories if name not in table]
        findings += [f"{name!r} is no category of the model" for name in table if name not in categories]
        lines: list[tuple[float, float]] = []
        for name in categories:
            entry = table.get(name, {"scale": 1.0, "bias": 0.0})
            if not isinstance(entry, dict) or set(entry) != {"scale", "bias"}:
                findings.append(f"{name!r} must have scale and bias, and nothing else")
            elif not all(type(value) in (int, float) for value in entry.values()):
                findings.append(f"{name!r} has a scale or bias that is no number")
            else:
                lines.append((float(entry["scale"]), float(entry["bias"])))
        if findings:
            raise ArtefactError(f"calibration: {'; '.join(findings)}; calibrate again")
        columns = np.asarray(lines, dtype=np.float64).reshape(-1, 2)
        return cls(tuple(categories), columns[:, 0], columns[:, 1])

    def to_json(self) -> dict[str, dict[str, float]]:
        """Give {category: {"scale": …, "bias": …}}."""
        return {
            category: {"scale": float(scale), "bias": float(bias)}
            for category, scale, bias in zip(self.categories, self.scale, self.bias, strict=True)
        }

    def apply(self, logits: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
        """Give scores, float64 (…, K), 0..1, for logits, float (…, K); NaN stays NaN."""
        with np.errstate(over="ignore"):
            odds = self.scale * logits.astype(np.float64) + self.bias
            # exp of what is never positive cannot overflow.
            small = np.exp(-np.abs(odds))
        return np.asarray(np.where(odds >= 0, 1.0, small) / (1.0 + small))


def applied_modalities(
    categories: Iterable[str], found: AbstractSet[Modality]
) -> dict[str, frozenset[Modality]]:
    """Give for each category those modalities of a content that it applies to; an unknown one, to all."""
    if found == TEXT_ONLY:
        return dict.fromkeys(categories, TEXT_ONLY)
    taxonomy = load_taxonomy()
    known = {name: taxonomy[name].modalities if name in taxonomy else found for name in categories}
    return {name: frozenset(one for one in found if one in known[name]) for name in categories}


def to_scores(
    logits: npt.NDArray[np.floating[Any]],
    calibration: Calibration,
    model: str,
    spans: tuple[Span, ...] = (),
    found: AbstractSet[Modality] = TEXT_ONLY,
) -> Scores:
    """Make the scores of one content.

    Args:
        logits: float, (K,), one a category; not read where the category applies to nothing in the content.
        calibration: of the model that gave them.
        model: its name, "name@digest".
        spans: where, if that was asked.
        found: modalities that were read.

    Raises:
        EngineError: a logit is not finite.
    """
    applied = applied_modalities(calibration.categories, found)
    if not np.isfinite(logits).all():
        broken = [name for name, value in zip(applied, logits, strict=True) if not np.isfinite(value)]
        read = [name for name in broken if applied[name]]
        if read:
            raise _not_finite(model, read)
    values = zip(calibration.categories, calibration.apply(logits).tolist(), strict=True)
    return Scores(
        values={name: score if applied[name] else None for name, score in values},
        model=model,
        spans=spans,
        applied=applied,
    )


def to_text_scores(
    scores: npt.NDArray[np.float64], categories: Sequence[str], model: str
) -> list[Scores | EngineError]:
    """Name the scores of texts.

    Args:
        scores: (n, K), a row a text; NaN where a logit was not finite.
        categories: K, in the order of the columns.
        model: that gave them, "name@digest".

    Returns:
        The scores of each; the error of one that has a logit which was not finite.
    """
    applied = dict.fromkeys(categories, TEXT_ONLY)
    results: list[Scores | EngineError] = []
    for row in scores.tolist():
        # With a NaN among them, it is their sum.
        if math.isnan(sum(row)):
            broken = [name for name, score in zip(categories, row, strict=True) if math.isnan(score)]
            results.append(_not_finite(model, broken))
        else:
            results.append(Scores(dict(zip(categories, row, strict=True)), model, applied=applied))
    return results


def _not_finite(model: str, categories: Sequence[str]) -> EngineError:
    return EngineError(
        f"model {model} gave no finite logit for {', '.join(categories)}; "
        "is its file damaged? read it with verify=True"
    )
