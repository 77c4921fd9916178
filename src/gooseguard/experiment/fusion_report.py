"""What the fusion experiment scored to its tables, findings and files. Counts; scores and fits nothing."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from gooseguard.core.manifest import Manifest, digest_file, open_artefact, write_manifest
from gooseguard.evaluation.report import without_nan
from gooseguard.evaluation.robustness_figure import draw_robustness
from gooseguard.evaluation.runs import draw_runs
from gooseguard.experiment.fusion import CONDITIONS, TRAININGS, describe, draw_split
from gooseguard.experiment.fusion_figure import draw_examples, draw_fusion
from gooseguard.experiment.scenes import HARMFUL, Case
from gooseguard.models.fusion import FusionKind
from gooseguard.training.card import environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gooseguard.evaluation.runs import RunDraws
    from gooseguard.experiment.fusion import Found

KIND, FORMAT = "fusion-report", 1
"""Of the folder's manifest."""

ANY = "any"
"""All harmful cases together."""

CASES = (*(case.value for case in HARMFUL), ANY)
"""Rows of the tables."""

NOTE = (
    "A controlled benchmark, drawn and written by code: invented words, badges and pairs stand for harm. "
    "It tells how heads join modalities, and nothing about real contents."
)
"""What every form of the result begins with."""


def tabulate(found: Found) -> dict[str, Any]:
    """Count everything, JSON-ready.

    AUC and missed share are of the items of one harmful case against all harmless ones; "any" is all cases.
    Intervals cover other test items and other seeds of the heads, not other towers.
    """
    draws = {
        (training, kind, case, condition): _draw(found, training, kind, case, condition)
        for training in TRAININGS
        for kind in FusionKind
        for case in CASES
        for condition in CONDITIONS
    }
    table = [
        {
            "training": training,
            "fusion": kind.value,
            "case": case,
            "condition": condition,
            **asdict(drawn.rates()),
        }
        for (training, kind, case, condition), drawn in draws.items()
    ]
    differences = [
        {
            "training": training,
            "against": other.value,
            "case": case,
            "condition": condition,
            "auc": asdict(
                draws[training, FusionKind.ASYMMETRIC, case, condition].minus(
                    draws[training, other, case, condition]
                )
            ),
        }
        for training in TRAININGS
        for other in (FusionKind.EARLY, FusionKind.LATE)
        for case in CASES
        for condition in CONDITIONS
    ]
    document = {
        "kind": KIND,
        "format": FORMAT,
        "note": NOTE,
        "recipe": describe(found.config),
        "heads": _describe_heads(found),
        "table": table,
        "differences": differences,
        "findings": find_winners(differences),
        "drivers": _count_drivers(found),
        "curves": [curve.to_json() for curve in found.curves],
    }
    counted: dict[str, Any] = without_nan(document)
    return counted


def _draw(found: Found, training: str, kind: FusionKind, case: str, condition: str) -> RunDraws:
    is_harmless = found.cases == Case.NONE.value
    is_positive = ~is_harmless if case == ANY else found.cases == case
    labels = np.where(is_positive, 1.0, np.where(is_harmless, 0.0, np.nan))
    thresholds = np.array([run.threshold for run in found.heads[training, kind]])
    scores = found.scores[training, kind, condition]
    return draw_runs(labels, scores, thresholds, found.config.seed, found.config.n_resamples)


def _describe_heads(found: Found) -> list[dict[str, Any]]:
    return [
        {
            "training": training,
            "fusion": kind.value,
            "width": found.facts["widths"][kind.value],
            "parameters": runs[0].facts["parameters"],
            "steps": runs[0].facts["steps"],
            "seconds": [run.facts["seconds"] for run in runs],
            "thresholds": [run.threshold for run in runs],
        }
        for (training, kind), runs in found.heads.items()
    ]


def find_winners(differences: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say in words where asymmetric fusion is above or below another: where the interval excludes 0."""
    sentences = []
    for training in TRAININGS:
        for other in (FusionKind.EARLY.value, FusionKind.LATE.value):
            rows = [row for row in differences if row["training"] == training and row["against"] == other]
            # NaN is neither.
            above = [_name(row) for row in rows if row["auc"]["low"] > 0]
            below = [_name(row) for row in rows if row["auc"]["high"] < 0]
            n_even = len(rows) - len(above) - len(below)
            sentences.append(
                f"{training} training, asymmetric against {other}: above in {_list(above)}; "
                f"below in {_list(below)}; not told apart in {n_even} of {len(rows)}"
            )
    return sentences


def _name(row: Mapping[str, Any]) -> str:
    where = "any harm" if row["case"] == ANY else f"harm in {row['case']}"
    return f"{where}, {row['condition']} ({row['auc']['value']:+.3f})"


def _list(places: Sequence[str]) -> str:
    return ", ".join(places) if places else "none"


def _count_drivers(found: Found) -> list[dict[str, Any]]:
    """Give, of the complete test items that a run flags, the share whose score each modality drove."""
    rows = []
    for kind, drivers in found.drivers.items():
        scores = found.scores["balanced", kind, "complete"]
        thresholds = np.array([run.threshold for run in found.heads["balanced", kind]])
        is_flagged = scores >= thresholds[:, None]
        for case in HARMFUL:
            chosen = drivers[is_flagged & (found.cases == case.value)]
            n = len(chosen)
            text, image = (chosen[:, 0], chosen[:, 1]) if n else (np.empty(0, bool),) * 2
            shares = {
                "text": float((text & ~image).sum() / n) if n else float("nan"),
                "image": float((image & ~text).sum() / n) if n else float("nan"),
                "both": float((text & image).sum() / n) if n else float("nan"),
            }
            rows.append({"fusion": kind.value, "case": case.value, "n_flagged": n, **shares})
    return rows


def to_markdown(document: Mapping[str, Any]) -> str:
    """Give the tables and the findings as a page."""
    sizes = {row["fusion"]: row for row in document["heads"]}
    budget = ", ".join(
        f"{kind} {row['parameters']:,} parameters (width {row['width']})" for kind, row in sizes.items()
    )
    sections = [
        f"> {document['note']}",
        (
            f"Heads: {budget}; {next(iter(sizes.values()))['steps']:,} steps each, "
            f"{len(document['recipe']['seeds'])} seeds. "
            "Intervals at 95 %, over test items and seeds of the heads."
        ),
    ]
    for training in TRAININGS:
        for name, words in (
            ("auc", "ROC AUC"),
            ("fnr", "share missed at the threshold"),
            ("fpr", "share of harmless items flagged at the threshold"),
        ):
            sections.append(f"### {training.capitalize()} training: {words}")
            sections.append(_table(document, training, name))
    sections += [
        "### Asymmetric against the others, AUC",
        "\n".join(f"- {line}" for line in document["findings"]),
    ]
    sections += ["### Which modality drove the score of flagged items", _drivers_table(document)]
    return "\n\n".join(sections) + "\n"


def _table(document: Mapping[str, Any], training: str, name: str) -> str:
    found = {
        (row["fusion"], row["case"], row["condition"]): row[name]
        for row in document["table"]
        if row["training"] == training
    }
    # Harmless items are the same in every case.
    cases = (ANY,) if name == "fpr" else CASES
    lines = [f"| fusion | harm in | {' | '.join(CONDITIONS)} |", f"|---|---|{'---:|' * len(CONDITIONS)}"]
    for kind in FusionKind:
        for case in cases:
            cells = [_cell(found[kind.value, case, condition]) for condition in CONDITIONS]
            lines.append(f"| {kind} | {'–' if name == 'fpr' else case} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(found: Mapping[str, float | None]) -> str:
    if found["value"] is None:
        return "–"
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def _drivers_table(document: Mapping[str, Any]) -> str:
    lines = ["| fusion | harm in | flagged | text | image | both |", "|---|---|---:|---:|---:|---:|"]
    for row in document["drivers"]:
        shares = ["–" if row[name] is None else f"{row[name]:.1%}" for name in ("text", "image", "both")]
        lines.append(f"| {row['fusion']} | {row['case']} | {row['n_flagged']:,} | {' | '.join(shares)} |")
    return "\n".join(lines)


def write_fusion_report(found: Found, document: Mapping[str, Any], output: Path) -> dict[str, Path]:
    """Write results.json, report.md and the figures into a folder, whole or not at all; give their paths.

    Raises:
        ArtefactError: `output` is something else, or nothing can be written there.
        ConfigError: matplotlib is not installed.
    """
    with open_artefact(output, KIND) as partial:
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
        (partial / "results.json").write_text(text + "\n", "utf-8")
        names = ["fusion.png", "examples.png"]
        draw_fusion(document, partial / names[0])
        draw_examples(draw_split(found.config, "balanced", "val"), partial / names[1])
        for statistic in ("auc", "fpr", "fnr") if found.curves else ():
            names.append(f"robustness-{statistic}.png")
            draw_robustness(found.curves, statistic, partial / names[-1])
        page = [
            f"# {found.config.name}",
            to_markdown(document).strip(),
            *(f"![{name}]({name})" for name in names),
        ]
        (partial / "report.md").write_text("\n\n".join(page) + "\n", "utf-8")
        files = sorted(path.name for path in partial.iterdir())
        manifest = Manifest(
            KIND,
            FORMAT,
            describe(found.config),
            files={name: digest_file(partial / name) for name in files},
            facts={"note": NOTE, **environment()},
        )
        write_manifest(partial, manifest)
    return {name: output / name for name in files}
