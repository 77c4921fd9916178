"""Measured cells to a figure: latency and throughput against the length of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gooseguard.core.extras import import_extra
from gooseguard.core.figure import COLOURS, GRID, MARKERS, drawing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gooseguard.experiment.cost import Cell


def draw_cost(lines: Mapping[str, Sequence[Cell]], path: Path, title: str) -> None:
    """Draw median latency with its 95th percentile, and tokens a second, both against tokens of a text.

    Args:
        lines: what was measured; name of a line to its cells, the shortest text first.
        path: `.png` or `.svg`; replaced.
        title: on what it was measured.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    with drawing(path, (9, 3.6)) as figure:
        latency, throughput = figure.subplots(1, 2)
        for place, (name, cells) in enumerate(lines.items()):
            look = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
            lengths = [cell.n_token for cell in cells]
            medians = [1000 * cell.p50_s for cell in cells]
            above = [1000 * max(cell.p95_s - cell.p50_s, 0) for cell in cells]
            latency.errorbar(lengths, medians, yerr=([0] * len(cells), above), capsize=3, **look)
            throughput.plot(lengths, [cell.tokens_per_s for cell in cells], label=name, **look)
        latency.set_ylabel("ms a batch: median, to 95th percentile")
        throughput.set_ylabel("tokens a second")
        shown = sorted({round(cell.n_token) for cells in lines.values() for cell in cells})
        for axes in (latency, throughput):
            axes.set(xscale="log", yscale="log", xlabel="tokens of a text")
            axes.set_xticks(shown, [f"{length:,}" for length in shown])
            axes.set_xticks([], minor=True)
            axes.yaxis.set_major_formatter(
                import_extra("matplotlib.ticker", "figures need").StrMethodFormatter("{x:,.10g}")
            )
            axes.grid(which="both", **GRID)
            axes.set_axisbelow(b=True)
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
        figure.suptitle(title, fontsize=10)
