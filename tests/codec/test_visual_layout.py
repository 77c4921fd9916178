import json

import pytest

from gooseguard.codec.layout import RwkvConfig, tensor_shapes
from gooseguard.codec.visual_layout import (
    TowerConfig,
    VisualSettings,
    infer_tower,
    infer_visual,
    projector_shapes,
    read_settings,
    settings_from_json,
    tower_names,
    tower_shapes_of,
)
from gooseguard.core.errors import ArtefactError

# ViT-L/14 at 336 pixels, as openai/clip-vit-large-patch14-336 says in its config.json.
LARGE = TowerConfig(1024, 4096, 24, 16, 336, 14)
RWKV = RwkvConfig(3, 128, 100, version="x060")


def shapes_of(rwkv=RWKV, tower=LARGE, *, is_gated=False):
    tables = {
        "rwkv.": tensor_shapes(rwkv, has_head=True),
        "vit.": tower_shapes_of(tower),
        "proj.": projector_shapes(tower.hidden_size, rwkv.n_embd, is_gated=is_gated),
    }
    return {f"{prefix}{name}": shape for prefix, table in tables.items() for name, shape in table.items()}


def refused(shapes, *found, settings=None):
    with pytest.raises(ArtefactError) as caught:
        infer_visual(shapes, settings)
    for words in found:
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("tower", "n_head"),
    [
        (LARGE, 0),
        (TowerConfig(1024, 4096, 24, 16, 224, 14), 0),
        (TowerConfig(768, 3072, 12, 12, 224, 32), 0),
        (TowerConfig(48, 100, 2, 4, 20, 5), 4),
    ],
)
def test_sizes_are_read_off_the_shapes(tower, n_head):
    assert infer_tower(tower_shapes_of(tower), n_head) == tower
    config = infer_visual(shapes_of(tower=tower), VisualSettings(n_head=n_head))
    assert (config.rwkv, config.tower, config.is_gated) == (RWKV, tower, False)
    assert infer_visual(shapes_of(tower=tower, is_gated=True), VisualSettings(n_head=n_head)).is_gated


def test_the_tower_is_transformers_own():
    from dataclasses import asdict

    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModel

    tower = TowerConfig(32, 48, 2, 4, 12, 4)
    with torch.device("meta"):
        theirs = CLIPVisionModel(CLIPVisionConfig(**asdict(tower))).state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in theirs.items()}
    assert tower_shapes_of(tower) == tower_names(shapes)


@pytest.mark.parametrize(("version", "is_reversed"), [("x052", False), ("x060", True), ("x070", False)])
def test_without_settings_each_version_is_as_it_was_published(version, is_reversed):
    config = infer_visual(shapes_of(RwkvConfig(2, 64, 9, version=version)))
    assert config.settings == VisualSettings("first", -1, is_reversed)


def test_rows_an_image_becomes():
    def n_patch(grid):
        return infer_visual(shapes_of(), VisualSettings(grid=grid)).n_patch

    # 24 by 24 patches; a grid of 5 has cells of 4 by 4, of which 6 by 6 fit, as upstream.
    assert [n_patch(grid) for grid in (-1, 0, 1, 2, 5, 8, 24)] == [576, 0, 1, 4, 36, 64, 576]


def test_positions_of_older_files_are_passed_over():
    shapes = shapes_of() | {"vit.vision_model.embeddings.position_ids": (1, 577)}
    assert infer_visual(shapes).tower == LARGE


def test_what_does_not_fit_is_named():
    whole = shapes_of()
    refused({"emb.weight": (3, 4)}, "rwkv.* is missing", "vit.* is missing", "emb.weight is unexpected")
    refused({name: shape for name, shape in whole.items() if name[0] != "p"}, "proj.* is missing")
    refused(whole | {"proj.weight": (128, 768)}, "proj.weight is (128, 768), expected (128, 1024)")
    refused(whole | {"proj.bias": (128,)}, "proj.bias is unexpected")
    gone = dict(whole)
    del gone["vit.vision_model.encoder.layers.7.mlp.fc1.bias"]
    refused(gone, "vit.vision_model.encoder.layers.7.mlp.fc1.bias is missing")
    del gone["rwkv.blocks.1.att.key.weight"]
    refused(gone, "blocks.1.att.key.weight is missing")
    headless = dict(whole)
    del headless["rwkv.head.weight"]
    refused(headless, "rwkv.head.weight is missing")
    others = {name: shape for name, shape in whole.items() if not name.startswith("vit.")}
    others |= {"vit.dino_featurizer.blocks.0.attn.qkv.weight": (9, 9), "vit.sam.pos_embed": (1, 2)}
    refused(others, "vit is no CLIP tower: it has dino_featurizer; sam")
    refused(whole, "grid is 25, expected at most 24", settings=VisualSettings(grid=25))
    refused(whole, "width 1024 is no multiple of its 7 heads", settings=VisualSettings(n_head=7))


def test_settings_are_read_back(tmp_path):
    assert read_settings(tmp_path) is None
    settings = VisualSettings("middle", 8, is_reversed=False, n_head=4, activation="gelu")
    (tmp_path / "visual.json").write_text(json.dumps(settings.to_json()))
    assert read_settings(tmp_path) == settings
    (tmp_path / "visual.json").write_text("{")
    with pytest.raises(ArtefactError, match=r"visual\.json: cannot be read"):
        read_settings(tmp_path)


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ([], "is no JSON object"),
        ({"image_plac": "first"}, "'image_plac' is unknown; did you mean 'image_place'"),
        ({"grid": True}, "'grid' is True, expected int"),
        ({"image_place": "frist"}, "image_place is 'frist', expected one of first, middle, last"),
        ({"grid": -2}, "grid is -2"),
        ({"n_head": -1}, "n_head is -1"),
        ({"activation": "relu"}, "activation is 'relu'"),
    ],
)
def test_wrong_settings(table, found):
    with pytest.raises(ArtefactError, match=f"here: .*{found}"):
        settings_from_json(table, "here")
