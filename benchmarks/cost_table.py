"""Several outputs of `gooseguard bench --json` as one table in Markdown, and one figure of batch 1.

Usage: python benchmarks/cost_table.py 0.1B.json 0.4B.json … [--figure cost.svg]

Each file is from a run such as: gooseguard bench --random 0.4B --lengths 16,64,256 --batches 1,4 --json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from gooseguard.experiment.cost import Cell
from gooseguard.experiment.cost_figure import draw_cost

COLUMNS = (
    "model",
    "tokens",
    "batch",
    "calls",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "texts/s",
    "tokens/s",
    "MB",
    "a million",
)


def row(name: str, cell: Cell) -> str:
    """Write one cell as a line of the table."""
    cost = "-" if cell.cost_per_million is None else f"{cell.cost_per_million:,.2f}"
    memory = "-" if cell.memory_bytes is None else f"{cell.memory_bytes / 1e6:,.0f}"
    times = [f"{1000 * seconds:,.0f}" for seconds in (cell.p50_s, cell.p95_s, cell.p99_s)]
    figures = [f"{cell.texts_per_s:,.2f}", f"{cell.tokens_per_s:,.0f}", memory, cost]
    words = [name, f"{cell.n_token:.0f}", str(cell.batch), str(cell.n_call), *times, *figures]
    return f"| {' | '.join(words)} |"


def main() -> None:
    """Read, print and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    results = [json.loads(path.read_text("utf-8")) for path in arguments.files]
    machines = {f"{result['cpu']}, {result['threads']} threads" for result in results}
    if len(machines) > 1:
        raise SystemExit(f"error: measured on different machines: {'; '.join(sorted(machines))}")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    lines: dict[str, list[Cell]] = {}
    for result in results:
        name = result["model"].partition("@")[0].removeprefix("random-")
        for cell in (Cell(**cell) for cell in result["cells"]):
            print(row(name, cell))
            lines.setdefault(f"{name}, batch {cell.batch}", []).append(cell)
    if arguments.figure is not None:
        alone = {name: cells for name, cells in lines.items() if name.endswith("batch 1")}
        draw_cost(alone, arguments.figure, machines.pop())


if __name__ == "__main__":
    main()
