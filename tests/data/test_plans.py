"""Plans draw what they say, and a source that is added changes nothing in another's."""

import numpy as np
import pytest

from gooseguard.core.errors import ArtefactError, ConfigError
from gooseguard.data.plans import TrainingRows, draw, read_plan, row_chance, write_plan
from gooseguard.data.recipe import PlanConfig


def rows_of(sizes, positive=()):
    """Rows of sources a, b, … of these sizes; `positive` are (row, category) with categories hate, threat."""
    source = np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)
    matrix = np.zeros((source.size, 2), bool)
    for row, category in positive:
        matrix[row, category] = True
    names = tuple("abcdef"[: len(sizes)])
    within = np.concatenate([np.arange(size) for size in sizes])
    chance = np.array([row_chance(f"{names[s]}/{i}", 0) for s, i in zip(source, within, strict=True)])
    return TrainingRows(source, names, matrix, ("hate", "threat"), chance)


def test_a_cap_takes_the_same_rows_whatever_stands_beside():
    drawn, facts = draw(PlanConfig("p", cap=10), rows_of([100, 4]))
    assert facts["sources"] == {"a": 10, "b": 4}
    assert facts["rows"] == facts["distinct_rows"] == 14
    alone, _ = draw(PlanConfig("p", cap=10), rows_of([100]))
    assert drawn[drawn < 100].tolist() == alone.tolist()


def test_a_temperature_evens_out_sizes_and_keeps_the_total():
    # Sizes 400 and 100 to the power of 0.5 are 20 and 10: two thirds and one third of 500.
    _, facts = draw(PlanConfig("p", temperature=0.5), rows_of([400, 100]))
    assert facts["sources"] == {"a": 333, "b": 167}
    # A small source is repeated most_repeats times at most.
    _, facts = draw(PlanConfig("p", temperature=0.0, most_repeats=2), rows_of([990, 10]))
    assert facts["sources"] == {"a": 500, "b": 20}


def test_epochs_repeat_a_source():
    drawn, facts = draw(PlanConfig("p", epochs={"a": 2.5, "b": 0.0}), rows_of([10, 10]))
    assert facts["sources"] == {"a": 25, "b": 0}
    counts = np.bincount(drawn, minlength=20)
    assert sorted(counts[:10].tolist()) == [2] * 5 + [3] * 5
    with pytest.raises(ConfigError, match="epochs names 'c'"):
        draw(PlanConfig("p", epochs={"c": 1.0}), rows_of([1, 1]))


def test_negatives_are_limited_and_positives_stay():
    positive = [(row, 0) for row in range(5)]
    drawn, facts = draw(PlanConfig("p", negatives=2.0), rows_of([50], positive))
    assert facts["rows"] == 15
    assert set(range(5)) <= set(drawn.tolist())


def test_floors_repeat_positives_and_say_what_is_missing():
    rows = rows_of([20], [(0, 1), (1, 1), (2, 0)])
    drawn, facts = draw(PlanConfig("p", floors={"threat": 5, "hate": 9}, most_repeats=4), rows)
    counts = np.bincount(drawn, minlength=20)
    assert sorted(counts[:2].tolist()) == [2, 3]
    assert counts[2] == 4
    assert facts["positive"] == {"hate": 4, "threat": 5}
    assert facts["floors_not_reached"] == {"hate": 5}
    _, facts = draw(PlanConfig("p", floors={"spam": 3}), rows)
    assert facts["floors_not_reached"] == {"spam": 3}


def test_a_plan_is_read_as_it_was_written(tmp_path):
    drawn = np.array([0, 0, 3, 7])
    path = write_plan(tmp_path, "balanced", drawn)
    files = {path.relative_to(tmp_path).as_posix(): ""}
    assert read_plan(tmp_path, "balanced", files).tolist() == [0, 0, 3, 7]
    assert read_plan(tmp_path, "original", files) is None
    with pytest.raises(ArtefactError, match=r"no plan 'balance'.*original, balanced.*did you mean"):
        read_plan(tmp_path, "balance", files)
