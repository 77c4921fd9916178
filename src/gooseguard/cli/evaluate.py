"""The verb `eval`: a dataset and a model to a report beside the TF-IDF baseline, and to a model card."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.progress import TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from gooseguard.cli import options  # noqa: TC001  (typer reads the annotations)
from gooseguard.cli.display import open_bar
from gooseguard.cli.output import open_output
from gooseguard.cli.render import to_text
from gooseguard.core.errors import ConfigError
from gooseguard.core.policy import load_policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console
    from rich.progress import Progress

    from gooseguard.cli.score import LoadScorer
    from gooseguard.evaluation.report import CategoryMetrics, CategoryReport, Report
    from gooseguard.evaluation.run import Evaluated
    from gooseguard.metrics.resampling import Estimate

HELP = """Measure a model on a dataset, beside TF-IDF with logistic regression fitted on the same rows.

Exit status: 0 done; 1 with --gate, when the model is not better than the baseline; 2 wrong use or input."""

EPILOG = """[bold]Examples[/bold]

[cyan]gooseguard eval runs/starter-text/dataset[/cyan]

[cyan]gooseguard eval runs/mine/dataset --model runs/mine/mine.safetensors --card card.md --gate[/cyan]

[cyan]gooseguard eval runs/mine/dataset --split val --limit 2000 --no-baseline[/cyan]"""

LINE_EVERY_S = 30.0
"""Seconds between lines where stderr is no terminal."""

FOLDER = Path("runs") / "eval"
"""Where reports and kept scores go, unless the user says otherwise."""

EXIT_GATE = 1
"""A check did not pass."""


class Split(StrEnum):
    """Which rows."""

    TEST = "test"
    VAL = "val"


_Dataset = Annotated[Path, typer.Argument(metavar="DATASET", help="Folder of a dataset.")]
_Split = Annotated[Split, typer.Option("--split", help="Which rows; val is what thresholds were chosen on.")]
_Baseline = Annotated[
    bool, typer.Option("--baseline/--no-baseline", help="Compare with TF-IDF, which takes minutes to fit.")
]
_Output = Annotated[
    Path, typer.Option("--output", metavar="FOLDER", help="Folder of the report, and of kept scores.")
]
_Card = Annotated[
    Path | None, typer.Option("--card", metavar="FILE", help="Also write a model card, in Markdown.")
]
_Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="Only N rows, for a quick look.")
]
_Gate = Annotated[bool, typer.Option("--gate", help="Exit 1 unless the model beats the baseline.")]


def register(app: typer.Typer, load: LoadScorer) -> None:
    """Add the verb."""

    @app.command("eval", help=HELP, epilog=EPILOG)
    def eval_verb(  # noqa: PLR0913  (one parameter an option)
        dataset: _Dataset,
        model: options.Model = None,
        policy: options.Policy = "default",
        split: _Split = Split.TEST,
        baseline: _Baseline = True,
        output: _Output = FOLDER,
        card: _Card = None,
        limit: _Limit = None,
        gate: _Gate = False,
        threads: options.Threads = None,
        json: options.Json = False,
    ) -> None:
        from gooseguard.evaluation.baseline import BaselineConfig  # noqa: PLC0415  (only this verb needs them)
        from gooseguard.evaluation.report_folder import report_document  # noqa: PLC0415
        from gooseguard.evaluation.run import EvaluationRequest, gate_findings  # noqa: PLC0415

        _check_use(card, is_gate=gate, has_baseline=baseline)
        rules = load_policy(policy)
        scorer = load(model, threads=threads, spans=False)
        rules.check(scorer.categories, scorer.name)
        facts: Mapping[str, Any] = dict(getattr(scorer, "card", {}))
        request = EvaluationRequest(
            dataset, output, split.value, limit, BaselineConfig() if baseline else None
        )
        with _display() as display:
            evaluated, written = _evaluate(scorer, rules, facts, request, card, display)
        failed = gate_findings(evaluated.report) if baseline else []
        with open_output(None) as results:
            if json:
                document = report_document(evaluated) | {
                    "gate": failed if baseline else None,
                    "files": {name: str(path) for name, path in written.items()},
                }
                results.write_json(document)
            else:
                results.write(to_text(_page(evaluated, written), is_terminal=results.is_terminal))
        if gate and failed:
            for finding in failed:
                display.tell(f"gate: {finding}")
            raise typer.Exit(EXIT_GATE)


def _check_use(card: Path | None, *, is_gate: bool, has_baseline: bool) -> None:
    if is_gate and not has_baseline:
        raise ConfigError("--gate compares with the baseline; leave out --no-baseline")
    if card is not None and (card.is_dir() or not card.absolute().parent.is_dir()):
        raise ConfigError(f"--card {card}: expected a file name in a folder that is there")


def _evaluate(
    scorer: Any,  # noqa: ANN401  (a Scorer)
    policy: Any,  # noqa: ANN401  (a Policy)
    facts: Mapping[str, Any],
    request: Any,  # noqa: ANN401  (an EvaluationRequest)
    card: Path | None,
    display: Display,
) -> tuple[Evaluated, dict[str, Path]]:
    """Run the stage and write everything; give what was found and written."""
    from gooseguard.evaluation.card import model_card  # noqa: PLC0415  (only this verb needs them)
    from gooseguard.evaluation.report_folder import write_report  # noqa: PLC0415
    from gooseguard.evaluation.run import run_evaluation  # noqa: PLC0415

    evaluated = run_evaluation(scorer, policy, facts, request, display)
    display.say("write report")
    text = model_card(evaluated, facts, read_cpu_name()) if card is not None else ""
    written = write_report(evaluated, request.output)
    if card is not None:
        with open_output(card) as file:
            file.write(text)
        written["card"] = card
    for warning in evaluated.warnings:
        display.tell(f"warning: {warning}")
    return evaluated, written


def read_cpu_name(path: Path = Path("/proc/cpuinfo")) -> str:
    """Give what the processor calls itself; "an unnamed processor" where the system does not say."""
    try:
        lines = path.read_text("ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    return "an unnamed processor"


def _page(evaluated: Evaluated, written: Mapping[str, Path]) -> Group:
    """Show the report in two tables that fit 80 columns, and where the rest is."""
    report = evaluated.report
    against = "" if len(report.scorers) < 2 else f" against {report.scorers[1].name}"
    title = f"{report.scorers[0].name}{against}: {report.n_rows:,} rows of {report.dataset}, {report.split}"
    beside = ", model / baseline" if against else ""
    parts: list[RenderableType] = [
        Text(title, style="bold"),
        _ranking(report),
        Text(f"At the review thresholds of policy {evaluated.policy.name}{beside}"),
    ]
    parts.append(_decisions(report))
    for ordinary in report.ordinary:
        shares = " / ".join(f"{_number(share, 100, 1)} %" for share in ordinary.flagged)
        parts.append(Text(f"Flagged of {ordinary.n_rows:,} ordinary texts, {ordinary.source}: {shares}"))
    parts += [Text(f"{name}: {path}", style="dim") for name, path in written.items()]
    return Group(*parts)


def _ranking(report: Report) -> Table:
    is_paired = len(report.scorers) > 1
    table = _table("AUC within sources", *(("baseline", "difference") if is_paired else ()))
    for found in report.categories:
        model, *others = (None if one is None else one.headline_auc for one in found.scorers)
        beside = [_number(others[0]), _interval(found.headline_difference, sign="+")] if is_paired else []
        table.add_row(found.category, _interval(model), *beside)
    if report.mean_categories:
        means = [scorer.mean_headline_auc for scorer in report.scorers]
        beside = [_number(means[1]), _interval(report.mean_difference, sign="+")] if is_paired else []
        table.add_row(f"mean of {len(report.mean_categories)}", _interval(means[0]), *beside, style="bold")
    return table


def _decisions(report: Report) -> Table:
    table = _table("pos.", "avg. precision", "F1", "FPR %", "missed %")
    for found in report.categories:
        shares = [_beside(found, name, is_share=True) for name in ("fpr", "fnr")]
        numbers = [_beside(found, name) for name in ("average_precision", "f1")]
        table.add_row(found.category, f"{found.n_positives:,}", *numbers, *shares)
    return table


def _table(*names: str) -> Table:
    """Make a table of categories and numbers, which breaks cells rather than cut numbers off."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("category", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right")
    return table


def _beside(found: CategoryReport, name: str, *, is_share: bool = False) -> str:
    """Show one number of each scorer, as `model / baseline`; a share in percent."""
    scale, digits = (100, 1) if is_share else (1, 3)
    return " / ".join(_number(_of(metrics, name), scale, digits) for metrics in found.scorers)


def _of(metrics: CategoryMetrics | None, name: str) -> Estimate | None:
    return None if metrics is None else getattr(metrics, name)


def _number(found: Estimate | None, scale: int = 1, digits: int = 3) -> str:
    return "-" if found is None or math.isnan(found.value) else f"{scale * found.value:.{digits}f}"


def _interval(found: Estimate | None, sign: str = "") -> str:
    if found is None or math.isnan(found.value):
        return "-"
    to = " to " if sign else "-"
    return f"{found.value:{sign}.3f} ({found.low:{sign}.3f}{to}{found.high:{sign}.3f})"


class Display:
    """Where an evaluation stands, on stderr: a bar in a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console, bar: Progress | None) -> None:
        """Take where to show it; no bar where nobody watches."""
        self._console, self._bar = console, bar
        self._phase, self._last_line = "", time.monotonic()
        self._task = None if bar is None else bar.add_task("", total=None)

    def tell(self, line: str) -> None:
        """Show a line that stays."""
        self._console.print(line, highlight=False, markup=False)

    def say(self, phase: str) -> None:
        """Begin a phase."""
        self._phase, self._last_line = phase, time.monotonic()
        self.tell(phase)
        if self._bar is not None and self._task is not None:
            self._bar.reset(self._task, total=None, description="")

    def count(self, done: int, total: int) -> None:
        """Say how far the phase is."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total, description="rows")
        elif time.monotonic() - self._last_line > LINE_EVERY_S:
            self._last_line = time.monotonic()
            self.tell(f"{self._phase}: {done:,} of {total:,} rows")


@contextmanager
def _display() -> Iterator[Display]:
    columns = (TextColumn("{task.completed:.0f}/{task.total}"), TimeRemainingColumn())
    with open_bar(*columns, is_kept=False) as (console, bar):
        yield Display(console, bar)
