"""Ray gives what one process gives, in the same order; a build on it has the same bytes."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("ray")
pytest.importorskip("pyarrow")

from gooseguard.data.executor import SerialExecutor
from gooseguard.data.pipeline import build_dataset

_path = Path(__file__).parents[1] / "data" / "test_pipeline.py"
_spec = importlib.util.spec_from_file_location("pipeline_parts", _path)
parts = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(parts)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def executor():
    import ray

    from gooseguard.batch.ray import RayExecutor

    yield RayExecutor(2)
    ray.shutdown()


def test_results_are_in_the_order_of_the_items(executor):
    items = list(range(-30, 30))
    assert list(executor.map(abs, items)) == [abs(item) for item in items]
    assert list(executor.map(abs, [])) == []


def test_a_build_has_the_same_bytes(executor, tmp_path, monkeypatch):
    monkeypatch.setattr(parts.batches, "BATCH_ROWS", 40)
    rows = [(text, number % 2) for number, text in enumerate(parts.make_texts(200))]
    rows += [(text + " x", 1) for text, _ in rows[:30]]
    source = parts.write_source(tmp_path / "in", "first", rows)
    recipe = parts.DataRecipe("mine", (source,), plans=(parts.PlanConfig("few", cap=20),), shard_rows=50)
    one = build_dataset(recipe, tmp_path / "one", SerialExecutor())
    other = build_dataset(recipe, tmp_path / "other", executor)
    assert parts.bytes_of(one) == parts.bytes_of(other)
