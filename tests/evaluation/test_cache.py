import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gooseguard.core.errors import ArtefactError, ConfigError
from gooseguard.data.shards import read_columns
from gooseguard.evaluation.cache import ScoreKey, draw_order, read_arrays, score_split, write_arrays

_path = Path(__file__).parents[1] / "contracts" / "tiny_dataset.py"
_spec = importlib.util.spec_from_file_location("tiny_dataset", _path)
tiny_dataset = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny_dataset)

KEY = ScoreKey("oracle@0123456789ab", "ab" * 32, "test", tiny_dataset.CATEGORIES)


@pytest.fixture(scope="module")
def columns(tmp_path_factory):
    folder = tiny_dataset.write_dataset(tmp_path_factory.mktemp("made") / "set", 1, 1, 90)
    return read_columns(folder, "test", tiny_dataset.CATEGORIES)


@pytest.mark.parametrize(
    "change",
    [
        {"scorer": "oracle@ffffffffffff"},
        {"dataset": "cd" * 32},
        {"split": "val"},
        {"categories": ("insult", "toxicity")},
        {"settings": "{}"},
    ],
)
def test_anything_that_matters_gives_another_file(change):
    assert replace(KEY, **change).file_name("scores") != KEY.file_name("scores")
    assert replace(KEY).file_name("scores") == KEY.file_name("scores")


def test_file_names_are_plain():
    key = replace(KEY, split="val and test")
    assert key.file_name("baseline").startswith("baseline-val-and-test-")


def test_arrays_come_back(tmp_path):
    path = tmp_path / "kept.npz"
    assert read_arrays(path, KEY) is None
    scores = np.array([[0.5, np.nan]], np.float32)
    write_arrays(path, KEY, {"scores": scores, "name": np.array("b@1")})
    found = read_arrays(path, KEY)
    assert sorted(found) == ["name", "scores"]
    np.testing.assert_array_equal(found["scores"], scores)
    assert [file.name for file in tmp_path.iterdir()] == ["kept.npz"]
    with pytest.raises(ArtefactError, match="another model or dataset"):
        read_arrays(path, replace(KEY, split="val"))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 cut", b"no zip file", b"\x80\x04N."])
def test_a_damaged_file_is_an_error(tmp_path, data):
    path = tmp_path / "kept.npz"
    path.write_bytes(data)
    with pytest.raises(ArtefactError, match="remove it to score again"):
        read_arrays(path, KEY)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="cannot be kept there"):
        write_arrays(tmp_path / "none" / "kept.npz", KEY, {})


def test_the_order_is_one_shuffle():
    order = draw_order(1000)
    assert sorted(order) == list(range(1000))
    np.testing.assert_array_equal(order, draw_order(1000))
    # The first tenth is drawn from everywhere: about 50 of the first half, within 4 standard deviations.
    assert abs(int((order[:100] < 500).sum()) - 50) < 20


def test_a_larger_limit_adds_to_what_is_there(columns, tmp_path):
    listener = tiny_dataset.SilentListener()
    few, more, less = (tiny_dataset.OracleScorer() for _ in range(3))
    score_split(few, columns, KEY, tmp_path, listener, 20)
    found = score_split(more, columns, KEY, tmp_path, listener)
    again = score_split(less, columns, KEY, tmp_path, listener, 30)
    assert (few.n_scored, more.n_scored, less.n_scored) == (20, 70, 0)
    assert listener.counts == [(0, 20), (20, 20), (20, 90), (90, 90), (30, 30)]
    order = draw_order(90)
    expected = [
        [0.75 if tiny_dataset.has(name, columns.texts[row]) else 0.25 for name in tiny_dataset.CATEGORIES]
        for row in order
    ]
    np.testing.assert_array_equal(found.scores, np.array(expected, np.float32))
    np.testing.assert_array_equal(again.scores, found.scores[:30])
    assert (found.name, found.n_errors) == (KEY.scorer, 0)


def test_scores_of_other_columns_are_refused(columns, tmp_path):
    write_arrays(tmp_path / KEY.file_name("scores"), KEY, {"scores": np.zeros((3, 5), np.float32)})
    with pytest.raises(ArtefactError, match="holds no scores of 2 categories"):
        score_split(tiny_dataset.OracleScorer(), columns, KEY, tmp_path, tiny_dataset.SilentListener())
