"""Labels that were turned round are found, and the rest are left alone."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from gooseguard.data.audit_noise import estimate_noise
from gooseguard.data.plans import row_chance

_spec = importlib.util.spec_from_file_location("audit_parts", Path(__file__).with_name("test_audit.py"))
parts = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(parts)


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    kind, rude = (
        ["thanks", "lovely", "nice", "agreed", "welcome"],
        ["moron", "stupid", "idiot", "pathetic", "awful"],
    )
    rows = []
    for number in range(400):
        is_rude = number % 2
        words = [*generator.choice(rude if is_rude else kind, 6).tolist(), f"w{number}"]
        # 20 of 400 labels say the opposite.
        label = float(is_rude != (number % 20 == 0))
        rows.append(parts.record(f"a/{number}", " ".join(words), {"insult": label}, cluster=f"{number:x}"))
    rows += [parts.record("b/1", "few rows", {"spam": 1.0})]
    return parts.write_dataset(tmp_path / "set", rows)


def test_turned_labels_are_the_worst_rows(folder):
    steps = []
    found = estimate_noise(folder, progress=lambda *step: steps.append(step))
    assert steps == [("estimate label noise (insult)", 1, 1)]
    assert list(found) == ["insult"]
    worst = {row["id"] for row in found["insult"]["worst"]}
    assert worst == {f"a/{number}" for number in range(0, 400, 20)}
    # 20 of the 220 positives are turned, no negative is; of most of them the model is sure.
    assert 10 / 220 < found["insult"]["doubted_positives"] <= 20 / 220
    assert found["insult"]["doubted_negatives"] == 0.0


def test_of_many_rows_some_are_drawn_by_their_ids(folder):
    found = estimate_noise(folder, 200)["insult"]
    assert found["rows"] == 200
    by_chance = sorted((f"a/{number}" for number in range(400)), key=lambda row_id: row_chance(row_id, 0))
    drawn = set(by_chance[:200])
    turned = {f"a/{number}" for number in range(0, 400, 20)} & drawn
    assert {row["id"] for row in found["worst"]} <= drawn
    assert {row["id"] for row in found["worst"][: len(turned)]} == turned
