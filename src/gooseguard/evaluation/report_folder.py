"""An evaluation to a folder: report.json, report.md, figures and a manifest, whole or as it was before."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

from gooseguard.core.errors import ConfigError
from gooseguard.core.manifest import FILE_NAME, Manifest, digest_file, write_manifest
from gooseguard.evaluation.figures import draw_precision_recall, draw_reliability
from gooseguard.evaluation.report import FORMAT
from gooseguard.evaluation.run import REPORT_KIND

if TYPE_CHECKING:
    from pathlib import Path

    from gooseguard.evaluation.run import Evaluated

FIGURES = {"Precision and recall": "precision-recall.png", "Reliability": "reliability.png"}
"""Caption to file."""


def report_document(evaluated: Evaluated) -> dict[str, Any]:
    """Give a report as a JSON-ready object: its numbers, and policy, thresholds, inputs and warnings."""
    document: dict[str, Any] = json.loads(evaluated.report.to_json())
    return document | {
        "format": FORMAT,
        "policy": evaluated.policy.name,
        "thresholds": {scored.name: dict(scored.thresholds) for scored in evaluated.scorers},
        "inputs": _inputs(evaluated),
        "warnings": list(evaluated.warnings),
    }


def _inputs(evaluated: Evaluated) -> dict[str, str]:
    return {"dataset": evaluated.dataset_digest, "model": evaluated.scorers[0].name}


def report_markdown(evaluated: Evaluated) -> str:
    """Give a report as a page, with links to the figures beside it."""
    title = f"# Evaluation of `{evaluated.scorers[0].name}`"
    notes = [f"> **Note:** {warning}" for warning in evaluated.warnings]
    policy = (
        f"Error rates are at the review thresholds of policy `{evaluated.policy.name}`. "
        "Intervals are at 95 %. What each number means: docs/eval.md of Gooseguard."
    )
    if len(evaluated.scorers) > 1:
        policy += (
            " The baseline's thresholds flag, on validation negatives, no more than the model's do there."
        )
    shown = [f"![{caption}]({name})" for caption, name in FIGURES.items()]
    return "\n\n".join([title, *notes, policy, evaluated.report.to_markdown().strip(), *shown]) + "\n"


def write_report(evaluated: Evaluated, output: Path) -> dict[str, Path]:
    """Write report.json, report.md and the figures, and a manifest last; give what was written.

    Everything is made beside, so that a failure leaves the report of an earlier run as it was.

    Raises:
        ConfigError: matplotlib is not installed, or nothing can be written there.
    """
    partial = output / f".report.{os.getpid()}.partial"
    names = ["model", "TF-IDF + logistic regression"][: len(evaluated.scorers)]
    try:
        partial.mkdir()
        draw_precision_recall(
            evaluated.rows, evaluated.scorers, partial / FIGURES["Precision and recall"], names
        )
        draw_reliability(evaluated.rows, evaluated.scorers, partial / FIGURES["Reliability"], names)
        document = json.dumps(report_document(evaluated), indent=2, ensure_ascii=False, allow_nan=False)
        (partial / "report.json").write_text(document + "\n", "utf-8")
        (partial / "report.md").write_text(report_markdown(evaluated), "utf-8")
        files = sorted(path.name for path in partial.iterdir())
        manifest = Manifest(
            kind=REPORT_KIND,
            format_version=FORMAT,
            config={**evaluated.report.settings, "policy": evaluated.policy.name},
            inputs=_inputs(evaluated),
            files={name: digest_file(partial / name) for name in files},
            facts={"warnings": list(evaluated.warnings)},
        )
        (output / FILE_NAME).unlink(missing_ok=True)
        for name in files:
            (partial / name).replace(output / name)
        write_manifest(output, manifest)
    except OSError as error:
        raise ConfigError(f"--output {output}: the report cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return {name: output / name for name in files}
