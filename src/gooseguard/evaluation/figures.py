"""Labels and scores to figures: precision-recall and reliability curves, a panel a category.

The model stands beside the baseline. Drawn without a display and without global state; the file's ending
picks the format (`.png`, `.svg`). Knows nothing of models or datasets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gooseguard.core.extras import import_extra
from gooseguard.core.figure import COLOURS, DASHES, GRID, drawing
from gooseguard.metrics.calibration import N_BINS, expected_calibration_error, reliability_curve
from gooseguard.metrics.ranking import POSITIVE, average_precision, known_rows, precision_recall_curve

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gooseguard.evaluation.scored import LabelledRows, ScoredRows

N_SCORERS = 2
"""Model and baseline."""

INK = "#24292f"
FAINT = "#8c959f"
N_COLUMNS = 3
N_STEPS = 400
"""Points drawn along recall; more would not show, and weigh down an SVG."""

DPI = 200
"""Dots an inch of a PNG; 9 inches wide are twice the width of a README."""

Draw = Callable[[Any, int], None]
"""Axes and category number to nothing: draws one panel."""


def _panels(
    rows: LabelledRows, draw: Draw, axis_names: tuple[str, str], names: Sequence[str], path: Path
) -> None:
    """Draw one panel a category that holds both classes, with one legend, and save."""
    shown = [
        k
        for k in range(len(rows.categories))
        if (rows.labels[:, k] >= POSITIVE).any() and (rows.labels[:, k] < POSITIVE).any()
    ]
    n_lines = max(1, -(-len(shown) // N_COLUMNS))
    style = {
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": FAINT,
        "xtick.color": INK,
        "ytick.color": INK,
    }
    with drawing(path, (9, 0.7 + 2.35 * n_lines), dpi=DPI, style=style) as figure:
        axes = figure.subplots(n_lines, N_COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
        for panel, k in zip(axes, shown, strict=False):
            panel.set_title(rows.categories[k], fontsize=10, fontweight="bold", loc="left")
            panel.set(xlim=(0, 1), ylim=(0, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
            panel.set(xticklabels=("0", "0.5", "1"), yticklabels=("0", "0.5", "1"))
            panel.grid(**GRID)
            panel.set_axisbelow(b=True)
            draw(panel, k)
        for panel in axes[len(shown) :]:
            panel.set_axis_off()
        for place, panel in enumerate(axes[: len(shown)]):
            # The lowest panel of each column carries the ticks, though the last line may be short.
            panel.tick_params(labelbottom=place + N_COLUMNS >= len(shown))
        figure.supxlabel(axis_names[0], fontsize=10)
        figure.supylabel(axis_names[1], fontsize=10)
        lines = [
            import_extra("matplotlib.lines", "figures need").Line2D(
                [], [], color=colour, linestyle=dash, linewidth=2
            )
            for colour, dash, _ in zip(COLOURS, DASHES, names, strict=False)
        ]
        figure.legend(lines, names, loc="outside upper center", ncols=len(names), frameon=False, fontsize=10)


def _note(panel: Any, place: int, text: str, *, at_top: bool) -> None:  # noqa: ANN401 - matplotlib axes
    """Write a scorer's number into the left corner of its panel, the model's above the baseline's."""
    panel.text(
        0.03,
        0.96 - 0.12 * place if at_top else 0.17 - 0.12 * place,
        text,
        transform=panel.transAxes,
        color=COLOURS[place],
        va="top" if at_top else "bottom",
        fontsize=9,
        fontweight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
    )


def _names(scorers: Sequence[ScoredRows], names: Sequence[str] | None) -> Sequence[str]:
    return (names if names is not None else [scored.name for scored in scorers])[:N_SCORERS]


def draw_precision_recall(
    rows: LabelledRows, scorers: Sequence[ScoredRows], path: Path, names: Sequence[str] | None = None
) -> None:
    """Draw precision against recall, and write the figure to `path`.

    Dotted: the share of positives, which is chance.

    Args:
        rows: labels of the K categories.
        scorers: the model, and the baseline if there is one; two at most are drawn.
        path: `.png` or `.svg`; replaced.
        names: what the legend calls the scorers; their own names when left out.

    Raises:
        ConfigError: matplotlib is not installed.
    """

    def draw(panel: Any, k: int) -> None:  # noqa: ANN401 - matplotlib axes
        labels = rows.labels[:, k]
        share = float((labels[known_rows(labels)] >= POSITIVE).mean())
        panel.axhline(share, color=FAINT, linestyle=":", linewidth=1.2)
        for place in reversed(range(min(len(scorers), 2))):
            scores = scorers[place].scores[:, k]
            precision, recall, _ = precision_recall_curve(labels, scores)
            if not recall.size:
                continue
            cells = np.floor(recall * N_STEPS)
            # The first point of equal recall has the best precision; the later ones only add false positives.
            kept = np.flatnonzero(np.append(True, cells[1:] != cells[:-1]))
            panel.step(
                np.append(0, recall[kept]),
                np.append(precision[kept[0]], precision[kept]),
                where="pre",
                color=COLOURS[place],
                linestyle=DASHES[place],
                linewidth=1.8,
            )
            _note(panel, place, f"AP {average_precision(labels, scores):.2f}", at_top=False)

    _panels(rows, draw, ("recall", "precision"), _names(scorers, names), path)


def draw_reliability(
    rows: LabelledRows,
    scorers: Sequence[ScoredRows],
    path: Path,
    names: Sequence[str] | None = None,
    n_bins: int = N_BINS,
) -> None:
    """Draw the share of positives against the score, in equal-mass bins, and write the figure to `path`.

    Dotted: what calibrated scores would show.

    Args:
        rows: labels of the K categories.
        scorers: the model, and the baseline if there is one; two at most are drawn.
        path: `.png` or `.svg`; replaced.
        names: what the legend calls the scorers; their own names when left out.
        n_bins: most bins.

    Raises:
        ConfigError: matplotlib is not installed.
    """

    def draw(panel: Any, k: int) -> None:  # noqa: ANN401 - matplotlib axes
        panel.plot((0, 1), (0, 1), color=FAINT, linestyle=":", linewidth=1.2)
        for place in reversed(range(min(len(scorers), 2))):
            labels, scores = rows.labels[:, k], scorers[place].scores[:, k]
            curve = reliability_curve(labels, scores, n_bins)
            if not curve.counts.size:
                continue
            panel.plot(
                curve.scores,
                curve.labels,
                color=COLOURS[place],
                linestyle=DASHES[place],
                linewidth=1.6,
                marker=("o", "s")[place],
                markersize=3.5,
            )
            error = expected_calibration_error(labels, scores, n_bins)
            _note(panel, place, f"ECE {error:.3f}", at_top=True)

    _panels(rows, draw, ("score", "share of positives"), _names(scorers, names), path)
