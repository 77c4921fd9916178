"""The n-gram head against its definition, one text at a time; in pieces and in company, to the bit."""

import importlib.util
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.codec import extension
from gooseguard.codec.ngram_head import NgramHead, ngram_shapes
from gooseguard.codec.ngram_tables import SLOTS
from gooseguard.codec.stored_tensor import StoredTensor, from_bf16, to_bf16
from gooseguard.core.errors import ArtefactError, EngineError

_path = Path(__file__).parents[1] / "contracts" / "ngram_definition.py"
_spec = importlib.util.spec_from_file_location("ngram_definition", _path)
definition = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(definition)

V, P, K = 60, 500, 4
# Weights are summed in steps of 2^-20.
TOLERANCE = 1e-4
TABLES = definition.make_tables(V, P, K, np.random.default_rng(0))


KINDS = [
    pytest.param(
        True, marks=pytest.mark.skipif(bool(extension.problem()), reason="no native extension"), id="native"
    ),
    pytest.param(False, id="python"),
]


@pytest.fixture(params=KINDS, scope="module")
def make_head(request):
    """Make a head of tables, by the extension and without."""
    return partial(_make_head, is_native=request.param)


@pytest.fixture(scope="module")
def head(make_head):
    return make_head(TABLES)


def _make_head(tables, dtype="F32", *, is_native):
    stored = {}
    for name, table in tables.items():
        is_rounded = dtype == "BF16" and table.ndim == 2
        stored[name] = StoredTensor(
            name, "BF16" if is_rounded else "F32", to_bf16(table) if is_rounded else table
        )
    return NgramHead(stored, is_native=is_native)


texts = st.lists(st.lists(st.integers(0, V - 1), max_size=30), min_size=1, max_size=6)


def offsets_of(ids):
    return np.concatenate([[0], np.cumsum([len(text) for text in ids])]).astype(np.int64)


def joined(ids):
    return np.array([token for text in ids for token in text], np.int32)


@settings(max_examples=100, deadline=None)
@given(texts)
def test_logits_are_those_of_the_definition(head, ids):
    found = head.logits(joined(ids), offsets_of(ids))
    assert found.dtype == np.float32
    expected = np.stack([definition.logits(TABLES, text) for text in ids])
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE)


@settings(max_examples=100, deadline=None)
@given(texts)
def test_pieces_and_company_change_no_bit(head, ids):
    whole = head.logits(joined(ids), offsets_of(ids))
    alone = np.stack([head.logits(joined([text]), offsets_of([text]))[0] for text in ids])
    assert whole.tobytes() == alone.tobytes()
    # The same tokens as one text, each list a piece of it.
    one = head.logits(joined(ids), np.array([0, len(joined(ids))]))[0]
    counts = head.start()
    for piece in ids:
        before = counts.pack()["ngrams.sums"].copy()
        after = head.add(counts, np.array(piece, np.int32))
        assert (counts.pack()["ngrams.sums"] == before).all()
        counts = head.unpack(after.pack())
    assert head.logits_of(counts).tobytes() == one.tobytes()


def test_the_sketch_of_a_long_text_is_near_its_norm(make_head):
    n_tokens = 30_000
    tables = definition.make_tables(n_tokens, 10, 1, np.random.default_rng(1))
    # Weights of one sign, so that the error of the whole is that of the norm.
    tables["ngrams.token_weight"] = np.abs(tables["ngrams.token_weight"])
    ids = np.random.default_rng(2).integers(0, n_tokens, 100_000)
    found = make_head(tables).logits(ids, np.array([0, len(ids)]))[0]
    expected = definition.logits(tables, ids, is_exact=True)
    assert abs(found / expected - 1) < 4 / np.sqrt(2 * SLOTS)


def test_bf16_weights_are_read_where_they_lie(head, make_head):
    rounded = {
        name: from_bf16(to_bf16(table)) if table.ndim == 2 else table for name, table in TABLES.items()
    }
    ids = np.arange(40)
    offsets = np.array([0, 13, 40])
    found = make_head(TABLES, "BF16").logits(ids, offsets)
    assert found.tobytes() == make_head(rounded).logits(ids, offsets).tobytes()
    assert found.tobytes() != head.logits(ids, offsets).tobytes()


def test_pairs_do_not_cross_texts(head):
    first, second = (int(TABLES[f"ngrams.pair_{name}"][0]) for name in ("first", "second"))
    apart = head.logits(np.array([first, second]), np.array([0, 1, 2])).sum(0)
    np.testing.assert_allclose(
        apart, definition.logits(TABLES, [first]) + definition.logits(TABLES, [second]), atol=TOLERANCE
    )


def test_no_texts_and_no_tokens(head):
    assert head.logits(np.empty(0, np.int32), np.zeros(1, np.int64)).shape == (0, K)
    assert (head.logits(np.empty(0, np.int32), np.zeros(3, np.int64)) == np.zeros((2, K))).all()
    assert (head.logits_of(head.start()) == 0).all()


def test_shapes_are_those_of_the_tables():
    assert ngram_shapes(V, P, K) == {name: table.shape for name, table in TABLES.items()}
    assert ngram_shapes(V, 0, K) == {}


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [("pair_first", 0, -1), ("pair_second", 3, V), ("pair_first", -1, 0), ("pair_first", 2, 55)],
)
def test_pairs_of_no_tokens_or_out_of_order_are_refused(make_head, name, place, value):
    tables = {key: table.copy() for key, table in TABLES.items()}
    tables[f"ngrams.{name}"][place] = value
    with pytest.raises(ArtefactError, match=f"no pairs of {V} tokens in order"):
        make_head(tables)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 1e9])
def test_sizes_that_are_none_are_refused(make_head, value):
    tables = {key: table.copy() for key, table in TABLES.items()}
    tables["ngrams.pair_size"][7] = value
    with pytest.raises(ArtefactError, match="no size; export it again"):
        make_head(tables)


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e30])
def test_a_damaged_weight_gives_no_logits(make_head, value):
    tables = {key: table.copy() for key, table in TABLES.items()}
    tables["ngrams.token_weight"][5, 1] = value
    damaged = make_head(tables)
    with pytest.raises(EngineError, match="the file is damaged"):
        damaged.logits(np.array([4, 5]), np.array([0, 2]))
    with pytest.raises(EngineError, match="the file is damaged"):
        damaged.add(damaged.start(), np.array([5]))
    damaged.logits(np.array([4, 6]), np.array([0, 2]))


@pytest.mark.parametrize(
    "change",
    [
        {"ngrams.previous": np.array([V], np.int64)},
        {"ngrams.previous": np.array([-2], np.int64)},
        {"ngrams.sums": np.zeros((2, K + 1), np.int64)},
        {"ngrams.sketches": np.zeros((2, SLOTS), np.float32)},
    ],
)
def test_counts_of_another_head_are_refused(head, change):
    with pytest.raises(EngineError, match="not of this model's n-gram head"):
        head.unpack(head.start().pack() | change)


def test_missing_counts_are_refused(head):
    with pytest.raises(EngineError, match="not of this model's n-gram head"):
        head.unpack({})
