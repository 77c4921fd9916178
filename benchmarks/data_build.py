"""What a build costs a row, in time and memory, and which near duplicates it finds, beside datasketch.

    python benchmarks/data_build.py --root ../data/text --rows 100000 2000000 --folder /tmp/bench

Rows are synthetic from real: words of the open sets, in the order of their texts, cut to the lengths of the
Civil Comments texts among them; one row in ten copies an earlier one, with 1, 2, 5, 10 or 20 % of its words
replaced, one in fifty an exact copy. Needs `pip install 'gooseguard[data]' datasketch scipy`.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
from datasketch import MinHash, MinHashLSH
from scipy import sparse

from gooseguard.data.batches import spill
from gooseguard.data.cleaning import CleanConfig
from gooseguard.data.cleaning_quality import QualityConfig
from gooseguard.data.dedup import Shingles, dedup_form, shingle_sets
from gooseguard.data.executor import LocalExecutor
from gooseguard.data.neighbours import Index, near_pairs, read_index
from gooseguard.data.pipeline import build_dataset, open_inputs
from gooseguard.data.prepare import PrepareTask, prepare
from gooseguard.data.recipe import DataRecipe
from gooseguard.data.shards import read_dataset_manifest
from gooseguard.data.sources.source import SourceConfig

EDITS = (0.01, 0.02, 0.05, 0.10, 0.20)
MAPPING = """
name = "synthetic"
title = "Synthetic from real"
licence = "see the sets"
citation = "none"
meaning = "none"
[[labels]]
field = "y"
category = "toxicity"
values = { 1 = 1, 0 = 0 }
"""


Pool = tuple[list[str], np.ndarray]
Pairs = set[tuple[int, int]]


def read_pool(root: Path) -> Pool:
    """Give the words of every open text, one after the other, and the lengths of the Civil Comments texts."""
    words, lengths = [], []
    for path in sorted((root / "open").glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                text = json.loads(line)["text"]
                words += text.split()
                if path.name.startswith("civil_"):
                    lengths.append(len(text))
    return words, np.array(lengths)


def make_texts(n: int, pool: Pool, seed: int) -> tuple[list[str], list[tuple[int, int, float]]]:
    """Give n texts, and for each planted copy (row, copied row, share of words replaced)."""
    words, lengths = pool
    generator = np.random.default_rng(seed)
    texts, planted = [], []
    kinds = generator.random(n)
    for row in range(n):
        if row > 100 and kinds[row] < 0.12:
            source = int(generator.integers(0, row))
            share = 0.0 if kinds[row] < 0.02 else float(generator.choice(EDITS))
            copy = texts[source].split()
            n_edits = min(len(copy), round(share * len(copy)) or (1 if share else 0))
            for place in generator.choice(len(copy), n_edits, replace=False).tolist():
                copy[place] = words[int(generator.integers(0, len(words)))]
            texts.append(" ".join(copy))
            planted.append((source, row, share))
            continue
        at = int(generator.integers(0, len(words) - 400))
        wanted = int(generator.choice(lengths))
        text = " ".join(words[at : at + 400])
        texts.append(text[:wanted].rsplit(" ", 1)[0] or text[:wanted])
    return texts, planted


def write_source(folder: Path, texts: list[str]) -> SourceConfig:
    """Write texts as JSON Lines with a mapping; give the source of a recipe."""
    folder.mkdir(parents=True)
    (folder / "synthetic.toml").write_text(MAPPING, "utf-8")
    path = folder / "synthetic.jsonl"
    with path.open("w", encoding="utf-8") as lines:
        for row, text in enumerate(texts):
            lines.write(json.dumps({"text": text, "y": row % 2}, ensure_ascii=False) + "\n")
    return SourceConfig("json_lines", str(path), mapping=str(folder / "synthetic.toml"))


class Memory(threading.Thread):
    """Samples the resident memory of a process and all below it, in bytes."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process = process
        self.most, self.parts, self.at_s = 0, [], 0.0
        self.is_over = threading.Event()

    def run(self) -> None:
        """Sample until it is over."""
        page, begin = os.sysconf("SC_PAGE_SIZE"), time.perf_counter()
        while not self.is_over.wait(0.2):
            parents, resident = {}, {}
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    try:
                        fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                        parents[int(entry.name)] = int(fields[1])
                        resident[int(entry.name)] = int(fields[21]) * page
                    except OSError:
                        continue
            ours = {self.process}
            while grown := {pid for pid, parent in parents.items() if parent in ours} - ours:
                ours |= grown
            found = sorted((resident.get(pid, 0) for pid in ours), reverse=True)
            if sum(found) > self.most:
                self.most, self.parts, self.at_s = sum(found), found, time.perf_counter() - begin


def measure_build(n: int, pool: Pool, folder: Path, workers: int) -> None:
    """Build n rows in a process of its own; print seconds, cost of a row and memory."""
    shutil.rmtree(folder, ignore_errors=True)
    texts, _ = make_texts(n, pool, 1)
    mean = sum(map(len, texts)) / n
    write_source(folder / "in", texts)
    del texts
    begin = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, __file__, "--build", str(folder), "--workers", str(workers)], stdout=subprocess.PIPE
    )
    memory = Memory(child.pid)
    memory.start()
    steps = child.communicate()[0].decode()
    memory.is_over.set()
    seconds = time.perf_counter() - begin
    if child.returncode:
        raise SystemExit(child.returncode)
    facts = read_dataset_manifest(folder / "set").facts
    print(
        f"build {n:,} rows of {mean:.0f} characters, {workers} workers: {seconds:.0f} s, "
        f"{seconds / n * 1e6:.0f} us a row; most memory over all processes {memory.most / 1e6:.0f} MB "
        f"({' + '.join(f'{part / 1e6:.0f}' for part in memory.parts)}, after {memory.at_s:.0f} s); "
        f"{facts['near_duplicate_pairs']:,} near pairs, dropped {facts['dropped']}"
    )
    print(f"  done after: {steps.strip()}; load beside: {os.getloadavg()[0]:.1f}", flush=True)


def build(folder: Path, workers: int) -> None:
    """Build what lies in a folder; print when each step was done."""
    source = SourceConfig(
        "json_lines", str(folder / "in" / "synthetic.jsonl"), mapping=str(folder / "in" / "synthetic.toml")
    )
    begin, steps = time.perf_counter(), {}

    def report(step: str, _done: int, _total: int) -> None:
        steps[step.partition(" (")[0]] = time.perf_counter() - begin

    build_dataset(DataRecipe("synthetic", (source,)), folder / "set", LocalExecutor(workers), report)
    print(", ".join(f"{step} {at:.0f} s" for step, at in steps.items()))


def true_pairs(shingles: Shingles, least: float) -> Pairs:
    """Give every pair of similarity at least `least`, by a product of the sets with themselves."""
    _, columns = np.unique(shingles.hashes, return_inverse=True)
    shape = (shingles.offsets.size - 1, int(columns.max()) + 1)
    sets = sparse.csr_matrix((np.ones(columns.size, np.int32), columns, shingles.offsets), shape)
    sizes = np.diff(shingles.offsets)
    found: Pairs = set()
    for begin in range(0, shape[0], 500):
        shared = (sets[begin : begin + 500] @ sets.T).tocoo()
        rows = shared.row + begin
        likeness = shared.data / (sizes[rows] + sizes[shared.col] - shared.data)
        is_pair = (likeness >= least) & (rows < shared.col)
        found |= set(zip(rows[is_pair].tolist(), shared.col[is_pair].tolist(), strict=True))
    return found


def find_with_datasketch(shingles: Shingles, least: float) -> tuple[Pairs, float]:
    """Give what datasketch finds, and the seconds it took."""
    index, found = MinHashLSH(threshold=least, num_perm=100), set()
    begin = time.perf_counter()
    for row, (start, end) in enumerate(itertools.pairwise(shingles.offsets.tolist())):
        sketch = MinHash(num_perm=100)
        sketch.update_batch([value.tobytes() for value in shingles.hashes[start:end]])
        found |= {(other, row) for other in index.query(sketch)}
        index.insert(row, sketch)
    return found, time.perf_counter() - begin


def measure_accuracy(n: int, pool: Pool, folder: Path) -> None:
    """Compare what is found with what is there, beside datasketch on the same shingles."""
    shutil.rmtree(folder, ignore_errors=True)
    texts, planted = make_texts(n, pool, 2)
    forms = [dedup_form(text) for text in texts]
    shingles = shingle_sets(forms)
    truth = true_pairs(shingles, 0.8)
    recipe = DataRecipe("accuracy", (write_source(folder / "in", texts),))
    index, seconds = _index(recipe, folder / "work")
    begin = time.perf_counter()
    found = set(map(tuple, near_pairs(index, np.arange(n), folder / "work", 0.8, 6).T.tolist()))
    seconds += time.perf_counter() - begin
    theirs, their_seconds = find_with_datasketch(shingles, 0.8)
    for name, pairs, spent in (("ours", found, seconds), ("datasketch", theirs, their_seconds)):
        print(
            f"{name}: {len(pairs & truth)} of {len(truth)} true pairs of {n:,} texts, "
            f"recall {len(pairs & truth) / len(truth):.4f}, "
            f"precision {len(pairs & truth) / max(len(pairs), 1):.4f}, {spent / n * 1e6:.0f} us a text"
        )
    print("  (ours includes language, tables and files; datasketch is its MinHash and index alone)")
    met, there = Counter(), Counter()
    for source, row, share in planted:
        if share:
            there[share] += 1
            met[share] += (source, row) in found
    print(
        "planted copies found at 0.8: " + ", ".join(f"{s:.0%} edited {met[s] / there[s]:.2f}" for s in EDITS)
    )


def _index(recipe: DataRecipe, work: Path) -> tuple[Index, float]:
    """Prepare a source without cleaning that changes texts; give the index and the seconds it took."""
    keep = QualityConfig(shortest=0, letters=False, links=False, most_repeated=1.0, not_text=False)
    cleaning = CleanConfig(encoding=False, html=False, boilerplate=False, personal_data=False, quality=keep)
    work.mkdir(parents=True)
    begin, n_batches = time.perf_counter(), 0
    for batch, _ in spill(open_inputs(recipe).readings, work, lambda _: False):
        prepare(PrepareTask(str(work), batch, 0, cleaning))
        n_batches += 1
    return read_index(work, n_batches), time.perf_counter() - begin


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, help="folder with open/")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("data-build-bench"),
        help="where to work; what is there is removed",
    )
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000])
    parser.add_argument("--accuracy", type=int, default=10_000, help="texts to compare pairs of; 0 for none")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.build:
        build(arguments.build, arguments.workers)
        return
    if arguments.root is None:
        parser.error("--root is missing; expected the folder with open/")
    pool = read_pool(arguments.root)
    if arguments.accuracy:
        measure_accuracy(arguments.accuracy, pool, arguments.folder / "accuracy")
    for n in arguments.rows:
        measure_build(n, pool, arguments.folder / f"build-{n}", arguments.workers)
        shutil.rmtree(arguments.folder / f"build-{n}")


if __name__ == "__main__":
    main()
