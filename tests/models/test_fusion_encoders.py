"""Encoders against what they are made of: a backbone's hidden states, a tower's patches pooled by hand."""

import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gooseguard.codec.image import preprocess
from gooseguard.codec.layout import RwkvConfig
from gooseguard.codec.tokenizer import Tokenizer
from gooseguard.core.content import Modality, Part
from gooseguard.core.errors import ContentError
from gooseguard.models.fusion_encoders import make_image_encoder, make_text_encoder
from gooseguard.models.rwkv import Rwkv
from gooseguard.models.vision import FeatureCache, load_tower

_spec = importlib.util.spec_from_file_location(
    "visual_files", Path(__file__).parents[1] / "contracts" / "visual_files.py"
)
visual_files = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(visual_files)


def png(frames=1):
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)) for _ in range(frames)]
    buffer = io.BytesIO()
    pictures[0].save(buffer, "GIF" if frames > 1 else "PNG", save_all=frames > 1, append_images=pictures[1:])
    return buffer.getvalue()


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tower")
    tensors = visual_files.tower_tensors(np.random.default_rng(0), side=4)
    return load_tower(visual_files.write_tower(folder, tensors, side=4))


@pytest.mark.parametrize(("grid", "n_row"), [(-1, 17), (0, 1), (1, 2), (2, 5), (3, 17)])
def test_an_image_is_its_patches_pooled_and_the_class_token(tower, grid, n_row):
    vision, preparation = tower
    encoder = make_image_encoder(vision, preparation, grid, FeatureCache())
    found = encoder.encode(Part(Modality.IMAGE, png(), "image/png"))
    with torch.no_grad():
        rows = vision(torch.from_numpy(preprocess(png(), preparation)))[0].numpy()
    square = rows[1:].reshape(4, 4, -1)
    size = 4 // grid if grid > 1 else 1
    pooled = [
        square[y : y + size, x : x + size].mean((0, 1)) for y in range(0, 4, size) for x in range(0, 4, size)
    ]
    expected = {0: [], 1: [rows[1:].mean(0)]}.get(grid, pooled)
    assert found.numpy() == pytest.approx(np.stack([*expected, rows[0]]), abs=1e-6)
    assert found.shape == (n_row, encoder.width)


def test_frames_follow_each_other(tower):
    encoder = make_image_encoder(*tower, 0, FeatureCache())
    assert len(encoder.encode(Part(Modality.IMAGE, png(3), "image/gif"))) == 3
    with pytest.raises(ContentError):
        encoder.encode(Part(Modality.IMAGE, b"no image", "image/png"))


def test_a_text_is_the_hidden_states_of_its_tokens():
    backbone = Rwkv(RwkvConfig(2, 32, 257, head_size=16), seed=1)
    encoder = make_text_encoder(backbone, Tokenizer([]), 6, FeatureCache())
    found = encoder.encode(Part.from_text("  a text that is cut "))
    with torch.no_grad():
        tokens = torch.tensor([[1 + byte for byte in b"a text"]])
        expected, _ = backbone(tokens)
    assert torch.equal(found, expected[0])
    assert encoder.encode(Part.from_text(" \n")).shape == (0, 32)
    with pytest.raises(ContentError, match="UTF-8"):
        encoder.encode(Part(Modality.TEXT, b"\xff"))


def test_what_was_encoded_is_kept():
    cache = FeatureCache()
    encoder = make_text_encoder(Rwkv(RwkvConfig(1, 32, 257, head_size=16)), Tokenizer([]), 9, cache)
    first = encoder.encode(Part.from_text("once"))
    assert encoder.encode(Part.from_text("once")) is first
