"""Texts and labels -> an estimate of how many labels are wrong, and which rows are the worst.

Each category is cut into folds by cluster, so that no near duplicate teaches what it is asked; a logistic
regression on hashed words and characters is fitted on the others, and a label is doubted where the model is
sure of the opposite.

Source: Northcutt, Jiang and Chuang, "Confident Learning", JAIR 70, 2021; here with one fixed confidence in
    place of a threshold of each class, which rare categories make unsteady.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from gooseguard.core.content import Modality
from gooseguard.core.extras import import_extra
from gooseguard.data.audit import POSITIVE, read_rows
from gooseguard.data.executor import SerialExecutor
from gooseguard.data.plans import row_chance

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gooseguard.data.executor import Executor

    Progress = Callable[[str, int, int], None]
    """Told the step, and how much of how much of it is done."""

WANTED = "the estimate of label noise (which --no-noise leaves out) needs"

FOLDS = 3
SURE = 0.9
"""Probability from which the model is sure."""
LEAST = 60
"""Rows of each class below which a category is not looked at."""
LISTED = 20
"""Worst rows listed for each category."""


_Drawn = tuple[float, str, str, str, float]
"""The number by which a row is drawn, the greatest first; its id, cluster, text and label."""


def need_packages() -> None:
    """Say what is missing before anything is done that takes long.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    import_extra("sklearn.linear_model", WANTED)


def estimate_noise(
    folder: Path,
    most_rows: int = 20_000,
    executor: Executor | None = None,
    progress: Progress = lambda step, done, total: None,
) -> dict[str, Any]:
    """Give, for each category, the share of doubted labels among positives and negatives, and the worst rows.

    Args:
        folder: the dataset.
        most_rows: rows of a category that are looked at, drawn by the hash of their ids.
        executor: where the categories run; `None` for this process.
        progress: told the category that was done, and how many of how many are.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    need_packages()
    drawn = _draw(folder, most_rows)
    if not drawn:
        return {}
    names = sorted(drawn)
    tasks = (sorted(drawn.pop(name), reverse=True) for name in names)
    found = {}
    for name, result in zip(names, (executor or SerialExecutor()).map(_of_category, tasks), strict=True):
        found[name] = result
        progress(f"estimate label noise ({name})", len(found), len(names))
    return found


def _draw(folder: Path, most_rows: int) -> dict[str, list[_Drawn]]:
    """Give rows of each category that has enough of either class."""
    drawn: dict[str, list[_Drawn]] = defaultdict(list)
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in read_rows(folder, ["id", "parts", "labels", "cluster"]):
        texts = [part["text"] for part in row["parts"] if part["modality"] == Modality.TEXT]
        if not texts:
            continue
        chance, text = row_chance(row["id"], 0), "\n".join(texts)
        for category, label in row["labels"]:
            counts[category][label >= POSITIVE] += 1
            entry = (-chance, row["id"], row["cluster"], text, label)
            heap = drawn[category]
            # The smallest so far: memory does not grow with the dataset.
            if len(heap) < most_rows:
                heapq.heappush(heap, entry)
            elif entry > heap[0]:
                heapq.heapreplace(heap, entry)
    return {category: heap for category, heap in drawn.items() if min(counts[category]) >= LEAST}


def _of_category(members: list[_Drawn]) -> dict[str, Any]:
    truth = np.array([entry[4] >= POSITIVE for entry in members])
    folds = np.array([int(row_chance(entry[2], 1) * FOLDS) for entry in members])
    chances = np.full(truth.size, np.nan)
    features = _features([entry[3] for entry in members])
    for fold in range(FOLDS):
        held = folds == fold
        if held.any() and len(set(truth[~held].tolist())) == 2:
            model = import_extra("sklearn.linear_model", WANTED).LogisticRegression(
                C=4.0, max_iter=200, class_weight="balanced", solver="liblinear", random_state=0
            )
            chances[held] = model.fit(features[~held], truth[~held]).predict_proba(features[held])[:, 1]
    doubt = np.where(truth, 1 - chances, chances)
    is_doubted = doubt >= SURE
    worst = np.argsort(-np.nan_to_num(doubt), kind="stable")[:LISTED]
    return {
        "rows": int(truth.size),
        "doubted_positives": round(float(is_doubted[truth].mean()), 4) if truth.any() else None,
        "doubted_negatives": round(float(is_doubted[~truth].mean()), 4) if not truth.all() else None,
        "worst": [
            {"id": members[at][1], "label": members[at][4], "model": round(float(chances[at]), 3)}
            for at in worst.tolist()
        ],
    }


def _features(texts: list[str]) -> Any:  # noqa: ANN401  (a SciPy matrix)
    text = import_extra("sklearn.feature_extraction.text", WANTED)
    words = text.HashingVectorizer(n_features=1 << 18, ngram_range=(1, 2), alternate_sign=False)
    characters = text.HashingVectorizer(
        n_features=1 << 18, analyzer="char_wb", ngram_range=(3, 4), alternate_sign=False
    )
    return import_extra("scipy.sparse", WANTED).hstack(
        [words.transform(texts), characters.transform(texts)], format="csr"
    )
