"""Figures, opened and saved the same way everywhere. Knows nothing of what is drawn.

Without a display and without global state; the same numbers give the same bytes.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gooseguard.core.extras import import_extra
from gooseguard.core.files import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Distinct to colour-blind readers. Source: Okabe and Ito 2008, "Color universal design"."""

DASHES = ("solid", (0, (4, 1.6)), (0, (1.2, 1.2)), "dashdot")
"""Of lines, so that colour is not needed to tell them apart."""

MARKERS = "osD^vP"
"""Of points, for the same."""

GRID = {"color": "#d8dee4", "linewidth": 0.6}
"""What grids look like."""

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "gooseguard",
    "svg.fonttype": "path",
}
"""Of all figures."""


@contextmanager
def drawing(
    path: Path,
    size: tuple[float, float],
    *,
    dpi: int = 160,
    style: Mapping[str, object] | None = None,
) -> Iterator[Any]:
    """Give a figure of matplotlib to draw on; it is written when the block ends well.

    Args:
        path: `.png` or `.svg`, which picks the format; replaced, whole or not at all.
        size: width and height in inches.
        dpi: dots an inch of a PNG.
        style: further entries of matplotlib's `rcParams`.

    Raises:
        ConfigError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    with import_extra("matplotlib", "figures need").rc_context({**STYLE, **(style or {})}):
        # An opaque white card stays legible on a dark page.
        figure = import_extra("matplotlib.figure", "figures need").Figure(
            figsize=size, facecolor="white", layout="constrained"
        )
        yield figure
        kind = path.suffix.removeprefix(".")
        with replacing(path) as partial:
            figure.savefig(partial, format=kind, dpi=dpi, metadata={"Date": None} if kind == "svg" else None)
