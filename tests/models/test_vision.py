"""The tower against transformers itself, on folders in the published layout; and what is kept of images."""

import importlib.util
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig, CLIPVisionModel

from gooseguard.codec.image import Preprocessing, preprocess
from gooseguard.core.errors import ArtefactError, ContentError
from gooseguard.models.vision import FeatureCache, load_tower, see

_spec = importlib.util.spec_from_file_location(
    "visual_files", Path(__file__).parents[1] / "contracts" / "visual_files.py"
)
visual_files = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(visual_files)

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 12,
    "patch_size": 4,
}


def png(seed=0, size=(20, 30)):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_preprocessor(folder, crop=12):
    table = {"size": {"shortest_edge": crop}, "crop_size": {"height": crop, "width": crop}}
    (folder / "preprocessor_config.json").write_text(json.dumps(table))


@pytest.fixture(params=["tower", "whole CLIP", "gelu"])
def published(request, tmp_path):
    """A folder that transformers wrote, of a random model, and what transformers loads from it."""
    torch.manual_seed(3)  # noqa: TID251  (transformers draws from the global generator)
    if request.param == "whole CLIP":
        config = CLIPConfig(vision_config=SIZES, text_config={"num_hidden_layers": 1, "vocab_size": 99})
        CLIPModel(config).save_pretrained(tmp_path)
    else:
        activation = "gelu" if request.param == "gelu" else "quick_gelu"
        CLIPVisionModel(CLIPVisionConfig(**SIZES, hidden_act=activation)).save_pretrained(tmp_path)
    write_preprocessor(tmp_path)
    return tmp_path, CLIPVisionModel.from_pretrained(tmp_path, attn_implementation="sdpa").eval()


@torch.inference_mode()
def test_features_equal_transformers_exactly(published):
    folder, theirs = published
    tower, preparation = load_tower(folder)
    assert preparation == Preprocessing(12, 12)
    pixels = torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    expected = theirs(pixel_values=pixels).last_hidden_state
    assert torch.equal(tower(pixels), expected)
    data = png()
    expected = theirs(pixel_values=torch.from_numpy(preprocess(data, preparation))).last_hidden_state
    assert torch.equal(see(tower, data, preparation), expected)


def test_older_folders_are_read_too(tmp_path):
    """`pytorch_model.bin` with the numbers of the positions, as openai published them."""
    tensors = visual_files.tower_tensors(np.random.default_rng(0))
    folder = visual_files.write_tower(tmp_path, tensors)
    expected, _ = load_tower(folder)
    (folder / "model.safetensors").unlink()
    old = {name: torch.from_numpy(value) for name, value in tensors.items()}
    old["vision_model.embeddings.position_ids"] = torch.arange(10).unsqueeze(0)
    old["text_model.final_layer_norm.weight"] = torch.zeros(3)
    torch.save(old, folder / "pytorch_model.bin")
    tower, _ = load_tower(folder)
    assert all(map(torch.equal, tower.state_dict().values(), expected.state_dict().values()))
    assert not any(parameter.requires_grad for parameter in tower.parameters())
    # The names that were published.
    assert set(tower.state_dict()) == set(tensors)


def test_what_is_no_tower_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match=r"has no model\.safetensors or pytorch_model\.bin"):
        load_tower(tmp_path)
    tensors = visual_files.tower_tensors(np.random.default_rng(0))
    folder = visual_files.write_tower(tmp_path, tensors)
    write_preprocessor(folder, 8)
    with pytest.raises(ArtefactError, match="cut to 8 pixels, the tower takes 12"):
        load_tower(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(ArtefactError, match="is no config of a CLIP model"):
        load_tower(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ArtefactError, match=r"config\.json: cannot be read"):
        load_tower(folder)
    del tensors["vision_model.pre_layrnorm.bias"]
    visual_files.write_tower(tmp_path, tensors)
    with pytest.raises(ArtefactError, match=r"pre_layrnorm\.bias is missing"):
        load_tower(folder)


def test_a_bad_image_is_a_content_error(tmp_path):
    tower, preparation = load_tower(
        visual_files.write_tower(tmp_path, visual_files.tower_tensors(np.random.default_rng(0)))
    )
    with pytest.raises(ContentError, match="damaged"):
        see(tower, png()[:-40], preparation)


def test_an_image_is_seen_once_and_the_least_recently_used_goes():
    seen = []

    def make(data):
        seen.append(data)
        return torch.full((2, 5), float(len(data)))

    # Each takes 40 bytes.
    cache = FeatureCache(100)
    for data in (b"a", b"bb", b"a", b"ccc", b"a", b"bb"):
        assert torch.equal(cache.get(data, make), torch.full((2, 5), float(len(data))))
    assert seen == [b"a", b"bb", b"ccc", b"bb"]
    none = FeatureCache(0)
    none.get(b"a", make)
    none.get(b"a", make)
    assert seen[4:] == [b"a", b"a"]


def test_an_image_that_could_not_be_seen_is_not_kept():
    cache = FeatureCache()

    def fail(data):
        raise ContentError("damaged")

    with pytest.raises(ContentError):
        cache.get(b"a", fail)
    assert torch.equal(cache.get(b"a", lambda data: torch.ones(1)), torch.ones(1))
