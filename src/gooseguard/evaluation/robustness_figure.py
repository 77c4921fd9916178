"""Robustness curves to a figure: a panel a kind of damage, a line a model, its interval as a band."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gooseguard.core.errors import ConfigError
from gooseguard.core.figure import COLOURS, DASHES, GRID, drawing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gooseguard.evaluation.robustness import Curve

NAMES = {"auc": "ROC AUC", "fpr": "share of negatives flagged", "fnr": "share of positives missed"}
"""Statistic to the axis."""

N_COLUMNS = 4

DPI = 110
"""Dots an inch of a PNG; 9 inches wide."""


def draw_robustness(curves: Sequence[Curve], statistic: str, path: Path) -> None:
    """Draw one statistic against the strength of each damage, and write the figure to `path`.

    Args:
        curves: at least one.
        statistic: `auc`, `fpr` or `fnr`.
        path: `.png` or `.svg`; replaced.

    Raises:
        ConfigError: matplotlib is not installed, or there is nothing to draw.
    """
    if not curves or statistic not in NAMES:
        raise ConfigError(
            f"robustness figure: {len(curves)} curves of {statistic!r}; expected {', '.join(NAMES)}"
        )
    panels = list(dict.fromkeys((curve.modality, curve.kind) for curve in curves))
    names = list(dict.fromkeys(curve.name for curve in curves))
    n_lines = -(-len(panels) // N_COLUMNS)
    with drawing(path, (9, 0.8 + 1.9 * n_lines), dpi=DPI) as figure:
        axes = figure.subplots(n_lines, N_COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
        for panel, key in zip(axes, panels, strict=False):
            panel.set_title(f"{key[0]}: {key[1]}", fontsize=9, fontweight="bold", loc="left")
            panel.grid(**GRID)
            panel.set_axisbelow(b=True)
            for curve in curves:
                if (curve.modality, curve.kind) != key:
                    continue
                place = names.index(curve.name)
                strengths = [point.strength for point in curve.points]
                found = [getattr(point.rates, statistic) for point in curve.points]
                colour = COLOURS[place % len(COLOURS)]
                panel.plot(
                    strengths,
                    [one.value for one in found],
                    color=colour,
                    linestyle=DASHES[place % len(DASHES)],
                    linewidth=1.6,
                    label=curve.name,
                )
                ends = ([one.low for one in found], [one.high for one in found])
                panel.fill_between(strengths, *ends, color=colour, alpha=0.15, linewidth=0)
            panel.set_xticks(sorted({point.strength for curve in curves for point in curve.points}))
        for panel in axes[len(panels) :]:
            panel.set_axis_off()
        figure.supxlabel("strength; 0 is undamaged", fontsize=10)
        figure.supylabel(NAMES[statistic], fontsize=10)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(names), frameon=False)
