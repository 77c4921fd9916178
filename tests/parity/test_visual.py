"""Mod-VisualRWKV against `visual_reference.py`: every version, pooling, place; whole and in pieces."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from gooseguard.codec.prompt import render  # noqa: E402
from gooseguard.codec.visual_prompt import ImageSlot, encode_prompt, place_images  # noqa: E402
from gooseguard.models.mod_visual_rwkv import VisualLanguageModel, load_visual  # noqa: E402

HERE = Path(__file__).parent


def load_module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = load_module(HERE / "visual_reference.py")
visual_files = load_module(HERE.parent / "contracts" / "visual_files.py")
official_files = load_module(HERE.parent / "contracts" / "official_files.py")

VOCABULARY = official_files.byte_vocabulary("hello", "\n\n")
# 3 by 3 patches are an odd span, 4 by 4 an even one.
CASES = [
    (version, grid, place, is_reversed)
    for version in official_files.VERSIONS
    for grid in (-1, 0, 1, 2)
    for place, is_reversed in (("first", True), ("middle", True), ("last", True), ("first", False))
]
TOLERANCE = 2e-4
"""Of logits in float32, whose standard deviation is about 4."""


def random_tensors(version, side, **options):
    # A third layer reads forward again, with the values of layer 0.
    config = replace(official_files.make_config(version, VOCABULARY.vocab_size), n_layer=3)
    rwkv = official_files.random_model.random_tensors(config, np.random.default_rng(5))
    rwkv["head.weight"] = 4 * rwkv["head.weight"]
    return visual_files.visual_tensors(rwkv, config.n_embd, 7, side, **options)


def load(folder, version, side=3, *, is_gated=False, **settings):
    tensors = random_tensors(version, side, is_gated=is_gated)
    visual_files.write_visual(folder, tensors, **settings)
    visual, preparation, path = load_visual(folder)
    return tensors, VisualLanguageModel(visual, VOCABULARY, preparation, path)


def prompt(place):
    """Give the runs of a prompt with one image, by the package's own layout."""
    head, *body, tail = render("hello there", "who is it?")
    return encode_prompt([*place_images(head, body, 1, place), tail], VOCABULARY)


def expected(tensors, runs, pixels, *, grid, is_reversed):
    runs = [pixels[run.number] if isinstance(run, ImageSlot) else list(run.ids) for run in runs]
    return reference.logits(tensors, runs, grid=grid, is_reversed=is_reversed, n_head=4, H=2)


def images(side, n_image=1):
    return np.random.default_rng(3).normal(0, 1, (n_image, 3, 4 * side, 4 * side)).astype(np.float32)


@torch.inference_mode()
def found(model, runs, pixels):
    """Give the logits of one call with the whole prompt."""
    visual = model.visual
    rows = visual.project(visual.pool(visual.vit(torch.from_numpy(pixels))))
    sequence = [rows[run.number] if isinstance(run, ImageSlot) else torch.tensor(run.ids) for run in runs]
    hidden, lengths = visual([sequence])
    assert lengths.tolist() == [hidden.shape[1]]
    return visual.rwkv.logits(hidden)[0].numpy(), rows


@pytest.mark.parametrize(("version", "grid", "place", "is_reversed"), CASES)
def test_logits_equal_the_slow_implementation(tmp_path, version, grid, place, is_reversed):
    tensors, model = load(tmp_path, version, image_place=place, grid=grid, is_reversed=is_reversed)
    runs, pixels = prompt(place), images(3)
    wanted = expected(tensors, runs, pixels, grid=grid, is_reversed=is_reversed)
    whole, rows = found(model, runs, pixels)
    assert whole.shape == wanted.shape
    assert wanted.std() > 1
    assert np.abs(whole - wanted).max() < TOLERANCE
    prefix = None
    for run in runs:
        # Text token by token, the image in one piece.
        if isinstance(run, ImageSlot):
            prefix = model.look(rows[run.number], prefix)
        else:
            for token in run.ids:
                prefix = model.read([token], prefix)
    assert prefix.n_token == len(wanted)
    assert np.abs(prefix.logits.numpy() - wanted[-1]).max() < TOLERANCE


@pytest.mark.parametrize("version", official_files.VERSIONS)
def test_the_gated_projector_an_even_span_and_two_images(tmp_path, version):
    tensors, model = load(tmp_path, version, 4, is_gated=True, is_reversed=True)
    head, *body, tail = render("hello there", "who is it?")
    runs = encode_prompt([*place_images(head, body, 2, "first"), tail], VOCABULARY)
    pixels = images(4, 2)
    wanted = expected(tensors, runs, pixels, grid=-1, is_reversed=True)
    assert np.abs(found(model, runs, pixels)[0] - wanted).max() < TOLERANCE


@torch.inference_mode()
def test_a_batch_of_different_lengths_equals_each_alone(tmp_path):
    _, model = load(tmp_path, "x070", is_reversed=True)
    visual = model.visual
    rows = visual.project(visual.pool(visual.vit(torch.from_numpy(images(3)))))[0]
    ids = torch.tensor(VOCABULARY.encode("some words to read"))
    sequences = [[ids[:3], rows, ids], [ids], [rows, ids[:2]], [ids[:9], rows, ids, rows]]
    together, lengths = visual(sequences)
    for i, sequence in enumerate(sequences):
        alone, (n_row,) = visual([sequence])
        assert n_row == lengths[i]
        assert torch.allclose(together[i, :n_row], alone[0], atol=1e-5)


def test_a_grid_that_does_not_divide_the_side_leaves_out_the_rest(tmp_path):
    # 5 by 5 patches in cells of 2 by 2: the fifth row and column are left out, as upstream.
    tensors, model = load(tmp_path, "x060", 5, grid=2)
    runs, pixels = prompt("first"), images(5)
    wanted = expected(tensors, runs, pixels, grid=2, is_reversed=True)
    assert model.visual.config.n_patch == 4
    assert np.abs(found(model, runs, pixels)[0] - wanted).max() < TOLERANCE
