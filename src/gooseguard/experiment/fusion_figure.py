"""The fusion experiment's figures: AUC by where the harm lies, a panel a condition; and some of its items."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from gooseguard.codec.image import read_frames
from gooseguard.core.figure import COLOURS, GRID, MARKERS, drawing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gooseguard.experiment.scenes import Item

N_SHOWN = 5
"""Items of each case that are shown."""

STEP = 0.12
"""Between the marks of one case."""


def draw_fusion(document: Mapping[str, Any], path: Path) -> None:
    """Draw AUC with intervals: full marks for balanced training, hollow ones for imbalanced.

    Args:
        document: what `fusion_report.tabulate` gives.
        path: `.png` or `.svg`; replaced.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    rows = [row for row in document["table"] if row["auc"]["value"] is not None]
    conditions, cases, kinds, trainings = (
        list(dict.fromkeys(row[name] for row in document["table"]))
        for name in ("condition", "case", "fusion", "training")
    )
    with drawing(path, (9, 5.4)) as figure:
        axes = figure.subplots(2, -(-len(conditions) // 2), sharey=True, squeeze=False).ravel()
        for panel, condition in zip(axes, conditions, strict=False):
            panel.axhline(0.5, color="#8c959f", linestyle=":", linewidth=1.2)
            for place, (training, kind) in enumerate((t, k) for k in kinds for t in trainings):
                own = {
                    row["case"]: row["auc"]
                    for row in rows
                    if (row["condition"], row["fusion"], row["training"]) == (condition, kind, training)
                }
                offset = (place - (len(kinds) * len(trainings) - 1) / 2) * STEP
                look = kinds.index(kind)
                panel.errorbar(
                    [cases.index(case) + offset for case in own],
                    [found["value"] for found in own.values()],
                    yerr=(
                        [found["value"] - found["low"] for found in own.values()],
                        [found["high"] - found["value"] for found in own.values()],
                    ),
                    color=COLOURS[look],
                    marker=MARKERS[look],
                    markerfacecolor=COLOURS[look] if training == trainings[0] else "white",
                    linestyle="none",
                    capsize=2,
                    markersize=4.5,
                    linewidth=1.2,
                    label=f"{kind}, {training}",
                )
            panel.set_title(condition, fontsize=10, fontweight="bold", loc="left")
            panel.set_xticks(range(len(cases)), cases)
            panel.grid(axis="y", **GRID)
            panel.set_axisbelow(b=True)
            panel.tick_params(axis="x", labelsize=8)
        figure.supxlabel("where the harm lies", fontsize=10)
        figure.supylabel("ROC AUC", fontsize=10)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(kinds), frameon=False)


def draw_examples(items: Sequence[Item], path: Path) -> None:
    """Draw the first items of each case, picture over caption, a line a case.

    Args:
        items: of all cases; best not of the test split.
        path: `.png` or `.svg`; replaced.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    shown: dict[str, list[Item]] = {}
    for item in items:
        own = shown.setdefault(item.case.value, [])
        if len(own) < N_SHOWN:
            own.append(item)
    with drawing(path, (9, 2.1 * len(shown)), style={"font.size": 7}) as figure:
        axes = figure.subplots(len(shown), N_SHOWN, squeeze=False)
        for line, case in zip(axes, sorted(shown), strict=True):
            line[0].set_title(f"harm in: {case}", fontsize=9, fontweight="bold", loc="left")
            for panel in line:
                panel.set(xticks=(), yticks=())
                panel.spines[:].set_visible(False)
            for panel, item in zip(line, shown[case], strict=False):
                text, image = item.content.parts
                panel.imshow(next(iter(read_frames(image.data))))
                panel.set_xlabel(textwrap.fill(text.text, 30), fontsize=7)
