"""Pairs found by bands and read from disk are those that comparing everything with everything finds."""

import itertools

import numpy as np
import pytest

from gooseguard.core.content import Content
from gooseguard.core.example import Example
from gooseguard.data.batches import raw_path, write_table
from gooseguard.data.cleaning import CleanConfig
from gooseguard.data.dedup import dedup_form
from gooseguard.data.neighbours import first_equal, near_pairs, older_neighbours, read_index
from gooseguard.data.prepare import PrepareTask, prepare
from gooseguard.data.sources.source import SourceRow
from gooseguard.data.tables import to_record, to_table


def five_grams(text):
    form = dedup_form(text)
    return {form[at : at + 5] for at in range(len(form) - 4)}


def similar_pairs(texts, least):
    """Every pair by the definition: the texts' own substrings, each with each."""
    grams = [five_grams(text) for text in texts]
    return {
        (a, b)
        for a, b in itertools.combinations(range(len(texts)), 2)
        if len(grams[a] & grams[b]) >= least * len(grams[a] | grams[b])
    }


def write_batches(work, texts, rows=50):
    """Prepare texts in batches; give how many batches there are."""
    (work / "raw").mkdir(parents=True)
    numbers = range(0, len(texts), rows)
    for batch, begin in enumerate(numbers):
        records = [
            to_record(SourceRow(Example(f"x/{i}", Content.from_text(text), {}, (), "x"), {}, ""), None)
            for i, text in enumerate(texts[begin : begin + rows], start=begin)
        ]
        write_table(raw_path(work, batch), to_table(records))
        prepare(PrepareTask(str(work), batch, 0, CleanConfig(language=False)))
    return len(numbers)


@pytest.fixture(scope="module")
def texts():
    """150 texts of random words, half of them copies with one to eight words replaced."""
    generator = np.random.default_rng(5)
    words = ["".join(chr(97 + code) for code in row) for row in generator.integers(0, 26, (400, 6))]
    made = [[words[i] for i in generator.integers(0, 400, size)] for size in generator.integers(4, 60, 75)]
    for original in made[:75]:
        copy = list(original)
        for place in generator.integers(0, len(copy), int(generator.integers(1, 9))):
            copy[place] = words[int(generator.integers(0, 400))]
        made.append(copy)
    return [" ".join(words) for words in made]


def pairs_of(work, texts, least, report=lambda done, total: None):
    index = read_index(work, write_batches(work, texts))
    return near_pairs(index, np.arange(len(texts)), work, least, 6, report)


def test_finds_the_pairs_that_exist(tmp_path, texts):
    steps = []
    found = pairs_of(tmp_path, texts, 0.8, lambda done, total: steps.append((done, total)))
    expected = similar_pairs(texts, 0.8)
    assert 10 < len(expected) < 75
    assert set(map(tuple, found.T.tolist())) == expected
    assert found.shape[1] == len(expected)
    assert steps[-1] == (20, 20)


def test_a_younger_row_changes_nothing_between_older_ones(tmp_path, texts):
    of_all = pairs_of(tmp_path / "a", texts, 0.7)
    of_older = pairs_of(tmp_path / "b", texts[:110], 0.7)
    kept = of_all[:, of_all[1] < 110]
    assert sorted(map(tuple, kept.T.tolist())) == sorted(map(tuple, of_older.T.tolist()))


def test_some_rows_in_another_order_are_compared_with_each_other_only(tmp_path, texts):
    rows = np.random.default_rng(1).permutation(len(texts))[:120]
    index = read_index(tmp_path, write_batches(tmp_path, texts))
    found = near_pairs(index, rows, tmp_path, 0.8, 6)
    assert set(map(tuple, found.T.tolist())) == similar_pairs([texts[row] for row in rows], 0.8)


def test_first_equal_rows():
    left, right = np.array([3, 1, 3, 3, 1]), np.array([0, 5, 0, 1, 5])
    assert first_equal(left, right).tolist() == [0, 1, 0, 3, 1]
    assert first_equal(np.zeros(0, np.int64)).tolist() == []


def test_older_neighbours_are_grouped_by_the_younger_row():
    pairs = np.array([[2, 0, 1, 0], [5, 3, 5, 5]])
    assert list(older_neighbours(pairs)) == [(3, [0]), (5, [0, 1, 2])]
    assert list(older_neighbours(np.zeros((2, 0), np.int64))) == []
