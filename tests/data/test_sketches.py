"""Near copies of held-out texts, found by their sketches alone."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from gooseguard.core.errors import ConfigError
from gooseguard.data.neighbours import read_index
from gooseguard.data.sketches import Sketches, least_bands, near_sketches, read_sketches, write_sketches

_path = Path(__file__).with_name("test_neighbours.py")
_spec = importlib.util.spec_from_file_location("neighbour_parts", _path)
parts = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(parts)


def test_how_many_bands_must_agree():
    # Of 20 bands of probability 0.8^5 = 0.32768, at least 3 agree with probability 0.980, 4 with 0.933.
    assert least_bands(0.8) == 3
    assert least_bands(1.0) == 20
    # One band alone agrees with probability 0.47 only, at 0.5; nothing less is asked for.
    assert least_bands(0.5) == 1


def test_near_copies_are_found_and_others_are_not(tmp_path):
    generator = np.random.default_rng(2)
    words = ["".join(chr(97 + code) for code in row) for row in generator.integers(0, 26, (400, 6))]
    originals = [[words[i] for i in generator.integers(0, 400, 40)] for _ in range(150)]
    copies = []
    for original in originals:
        copy = list(original)
        for place in generator.permutation(40)[: int(generator.integers(0, 12))]:
            copy[place] = words[int(generator.integers(0, 400))]
        copies.append(copy)
    texts = [" ".join(text) for text in originals + copies]
    bands = read_index(tmp_path, parts.write_batches(tmp_path, texts)).bands
    found = near_sketches(bands[:, 150:], bands[:, :150], 0.8)
    grams = [parts.five_grams(text) for text in texts]
    likeness = np.array([len(a & b) / len(a | b) for a, b in zip(grams[:150], grams[150:], strict=True)])
    is_near, is_far = likeness >= 0.8, likeness < 0.5
    assert min(is_near.sum(), is_far.sum()) > 15
    assert found[is_near].mean() > 0.95
    assert found[is_far].mean() < 0.05
    assert not near_sketches(bands[:, 150:], bands[:, :0], 0.8).any()


def test_a_file_gives_back_what_was_written_in_the_order_of_keys(tmp_path):
    bands = np.arange(60, dtype=np.uint32).reshape(20, 3)
    write_sketches(tmp_path / "a.npz", Sketches(np.array([7, 9, 8], np.uint64), bands))
    write_sketches(tmp_path / "b.npz", Sketches(np.array([8, 7, 9], np.uint64), bands[:, [2, 0, 1]]))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    found = read_sketches(tmp_path / "a.npz")
    assert found.keys.tolist() == [7, 8, 9]
    assert np.array_equal(found.bands, bands[:, [0, 2, 1]])


@pytest.mark.parametrize("damage", ["missing", "cut", "text", "other"])
def test_what_is_no_file_of_sketches_is_refused(tmp_path, damage):
    path = tmp_path / "held.npz"
    write_sketches(path, Sketches(np.zeros(2, np.uint64), np.zeros((20, 2), np.uint32)))
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:300])
    elif damage == "text":
        path.write_text("0123456789abcdef\n")
    else:
        np.savez(path, keys=np.zeros(2, np.uint64), bands=np.zeros((3, 2), np.uint32))
    with pytest.raises(ConfigError, match=r"held_out held\.npz: "):
        read_sketches(path)
