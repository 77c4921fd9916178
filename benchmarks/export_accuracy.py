"""What int8 and bf16 cost: ROC AUC of each export of a checkpoint, against f32, on splits of its dataset.

    python benchmarks/export_accuracy.py runs/starter-text/checkpoint runs/starter-text/dataset

Both the AUC within sources (the headline of reports) and the pooled one; ends with 1 where a category misses
the target, 0.002 for int8 and 0.0005 for bf16. Both `val` and `test`, unless --splits says otherwise.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from gooseguard import Content, load
from gooseguard.core.scorer import Scores
from gooseguard.data.shards import read_columns
from gooseguard.engine.export import export
from gooseguard.metrics.ranking import grouped_auc

TARGETS = {"bf16": 0.0005, "int8": 0.002}
"""The largest change of a category's AUC."""


def score(path: Path, contents: list[Content], categories: list[str]) -> tuple[np.ndarray, str]:
    """Score contents with an engine file: float, (n, K), NaN where refused; and its name and backend."""
    scorer = load(path)
    results = scorer.score(contents)
    table = [
        [result.values[category] for category in categories]
        if isinstance(result, Scores)
        else [np.nan] * len(categories)
        for result in results
    ]
    return np.array(table), f"{scorer.name}, {scorer.backend}"


def compare(files: dict[str, Path], dataset: Path, split: str) -> bool:
    """Print the table of one split; give whether every category is within the targets."""
    categories = sorted(load(files["f32"]).categories)
    rows = read_columns(dataset, split, categories)
    contents = [Content.from_text(text) for text in rows.texts]
    sources = np.array(rows.sources)
    aucs = {}
    for dtype, path in files.items():
        table, name = score(path, contents, categories)
        print(f"{dtype}: {path.stat().st_size / 1e6:.1f} MB, {name}")
        known = [~np.isnan(rows.labels[:, k]) & ~np.isnan(table[:, k]) for k in range(len(categories))]
        aucs[dtype] = [
            grouped_auc(rows.labels[at, k], table[at, k], sources[at]) for k, at in enumerate(known)
        ]
    print(f"{len(contents):,} rows, split {split}; AUC within sources / pooled, difference from f32")
    for k, category in enumerate(categories):
        exact = aucs["f32"][k]
        cells = [f"{category:24} {exact.headline:.4f} / {exact.pooled:.4f}"]
        for dtype in TARGETS:
            found = aucs[dtype][k]
            cells.append(
                f"{dtype} {found.headline - exact.headline:+.5f} / {found.pooled - exact.pooled:+.5f}"
            )
        print("   ".join(cells))
    is_met = True
    for dtype, target in TARGETS.items():
        pairs = list(zip(aucs[dtype], aucs["f32"], strict=True))
        within = max(abs(a.headline - b.headline) for a, b in pairs)
        pooled = max(abs(a.pooled - b.pooled) for a, b in pairs)
        is_met &= max(within, pooled) <= target
        print(f"largest of {dtype}: {within:.5f} within sources, {pooled:.5f} pooled; target {target}")
    return is_met


def main() -> None:
    """Print a table for each split."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--splits", nargs="+", default=["val", "test"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = {dtype: Path(folder) / f"{dtype}.safetensors" for dtype in ("f32", *TARGETS)}
        for dtype, path in files.items():
            export(options.checkpoint, path, dtype)
        results = [compare(files, options.dataset, split) for split in options.splits]
    raise SystemExit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
