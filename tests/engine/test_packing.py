import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.engine.packing import CHUNK, MAX_SEQUENCES, Layout, cut_units

lengths = st.lists(st.integers(1, 40), min_size=1, max_size=12).map(lambda found: sorted(found, reverse=True))


def test_cut_units_by_hand():
    assert cut_units([3, 0, 9, 5, 2, 8], unit_tokens=8) == [[2], [5], [3, 0], [4]]
    assert cut_units([], 8) == []
    assert cut_units([0, 0], 8) == []


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 60), max_size=150), st.integers(1, 100))
def test_cut_units_covers_each_sequence_once(sizes, unit_tokens):
    units = cut_units(sizes, unit_tokens)
    assert sorted(i for unit in units for i in unit) == [i for i, size in enumerate(sizes) if size]
    for unit in units:
        own = [sizes[i] for i in unit]
        assert own == sorted(own, reverse=True)
        assert len(unit) == 1 or sum(own) <= unit_tokens
        assert len(unit) <= MAX_SEQUENCES


def test_layout_by_hand():
    layout = Layout.of([18, 3])
    assert (layout.n_tokens, layout.n_sequences, layout.chunk, layout.n_chunks) == (21, 2, 16, 3)
    assert layout.steps == (2, 1)
    assert layout.bounds() == [(0, 18), (18, 21)]
    # First chunks of both sequences, then the second of the first.
    assert layout.rows.tolist() == [*range(16), 32, 33, 16, 17, 18]
    assert layout.pair_rows.tolist() == [*range(16), 64, 65, 32, 33, 34]
    assert layout.gaps.tolist() == [*range(19, 32), *range(34, 48)]


def test_layout_of_short_sequences_has_short_chunks():
    assert Layout.of([3, 1]).chunk == 3
    assert Layout.of([1]).rows.tolist() == [0]


@settings(deadline=None, max_examples=50)
@given(lengths)
def test_layout_holds_every_token_once(sizes):
    layout = Layout.of(sizes)
    assert layout.chunk == min(CHUNK, sizes[0])
    assert sum(layout.steps) == layout.n_chunks
    everything = np.concatenate([layout.rows, layout.gaps])
    assert sorted(everything.tolist()) == list(range(layout.n_chunks * layout.chunk))
    halves = np.concatenate([layout.pair_rows, layout.pair_gaps])
    halves = np.concatenate([halves, halves + layout.chunk])
    assert sorted(halves.tolist()) == list(range(2 * layout.n_chunks * layout.chunk))
