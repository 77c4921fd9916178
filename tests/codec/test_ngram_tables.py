"""The tables of the n-gram head in C++ give what those in Python give, which define them; and copy none."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.codec import extension
from gooseguard.codec.ngram_tables import SLOTS, PythonTables
from gooseguard.codec.stored_tensor import StoredTensor, bytes_of, to_bf16
from gooseguard.core.errors import ArtefactError, EngineError

if extension.problem():
    pytest.skip(f"native extension {extension.problem()}", allow_module_level=True)

from gooseguard import _native

_path = Path(__file__).parents[1] / "contracts" / "ngram_definition.py"
_spec = importlib.util.spec_from_file_location("ngram_definition", _path)
definition = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(definition)

V, P, K = 300, 20_000, 3
TABLES = definition.make_tables(V, P, K, np.random.default_rng(5))


def make_native(tables, n_categories=K):
    return _native.NgramTables(
        {
            name: ("BF16" if table.dtype == np.uint16 else "F32", bytes_of(table))
            for name, table in tables.items()
        },
        n_categories,
    )


def make_python(tables):
    return PythonTables(
        {
            name: StoredTensor(name, "BF16" if table.dtype == np.uint16 else "F32", table)
            for name, table in tables.items()
        }
    )


ROUNDED = {name: to_bf16(table) if table.ndim == 2 else table for name, table in TABLES.items()}
TWINS = [(make_native(tables), make_python(tables)) for tables in (TABLES, ROUNDED)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, V - 1), max_size=40), min_size=1, max_size=5), st.sampled_from(TWINS))
def test_twins_agree_to_the_bit(texts, twins):
    native, python = twins
    ids = np.array([token for text in texts for token in text], np.int32)
    offsets = np.cumsum([0, *map(len, texts)])
    assert native.logits(ids, offsets).tobytes() == python.logits(ids, offsets).tobytes()
    counted = []
    for tables in twins:
        sums, sketches = np.zeros((2, K), np.int64), np.zeros((2, SLOTS), np.int64)
        previous = -1
        for text in texts:
            tables.add(np.array(text, np.int32), previous, sums, sketches)
            previous = text[-1] if text else previous
        counted.append((sums.tobytes(), sketches.tobytes(), tables.logits_of(sums, sketches).tobytes()))
    assert counted[0] == counted[1]


def test_tables_may_lie_at_any_place():
    odd = {}
    for name, table in ROUNDED.items():
        memory = np.zeros(table.nbytes + 1, np.uint8)
        memory[1:] = bytes_of(table)
        odd[name] = ("BF16" if table.dtype == np.uint16 else "F32", memory[1:])
    ids, offsets = np.arange(V, dtype=np.int32), np.array([0, V])
    expected = make_native(ROUNDED).logits(ids, offsets)
    assert _native.NgramTables(odd, K).logits(ids, offsets).tobytes() == expected.tobytes()


@pytest.mark.parametrize("ids", [[3, V], [-1], [2**31 - 1]])
def test_ids_outside_the_vocabulary_are_refused(ids):
    native, _ = TWINS[0]
    with pytest.raises(EngineError, match=f"expected 0 to {V - 1}"):
        native.logits(np.array(ids, np.int32), np.array([0, len(ids)]))


@pytest.mark.parametrize("offsets", [[0, 3], [2, 1], [-1, 2]])
def test_offsets_that_are_none_are_refused(offsets):
    with pytest.raises(EngineError, match="offsets do not rise"):
        TWINS[0][0].logits(np.array([1, 2], np.int32), np.array(offsets))


@pytest.mark.parametrize("name", sorted(TABLES))
def test_tables_that_do_not_fit_each_other_are_refused(name):
    for changed in ({name: TABLES[name][:-1]}, {}):
        tables = {key: table for key, table in TABLES.items() if key != name} | changed
        with pytest.raises(ArtefactError):
            make_native(tables)


def test_counts_of_another_size_are_refused():
    ids = np.array([1], np.int32)
    for sums, sketches in (((2, K + 1), (2, SLOTS)), ((2, K), (2, 3))):
        with pytest.raises(EngineError, match="of another model"):
            TWINS[0][0].add(ids, -1, np.zeros(sums, np.int64), np.zeros(sketches, np.int64))
    # Converted, it would be a copy that is written to and lost.
    with pytest.raises(TypeError):
        TWINS[0][0].add(ids, -1, np.zeros((2, K), np.int32), np.zeros((2, SLOTS), np.int64))


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="only Linux tells")
def test_it_copies_no_table():
    """Memory of the process's own grows by less than a tenth of the tables: processes share the rest."""
    program = """
import re, sys
from pathlib import Path
import numpy as np
from gooseguard import _native

def own():
    return 1024 * int(re.search(r"Anonymous: *(\\d+)", Path("/proc/self/smaps_rollup").read_text())[1])

V, P, K = 2000, 400_000, 9
keys = np.arange(P) * 10
tables = {"token_weight": np.ones((V, K)), "token_size": np.ones(V), "pair_first": keys // V,
          "pair_second": keys % V, "pair_weight": np.ones((P, K)), "pair_size": np.ones(P)}
stored = {f"ngrams.{name}": ("F32", table.astype("f4").reshape(-1).view("u1"))
          for name, table in tables.items()}
before = own()
native = _native.NgramTables(stored, K)
print(own() - before, sum(data.nbytes for _, data in stored.values()))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    grown, size = map(int, re.findall(r"-?\d+", done.stdout))
    assert grown < size / 10
