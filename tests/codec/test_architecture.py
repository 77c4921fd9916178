"""What a checkpoint looks like, by names that the projects themselves publish."""

import pytest

from gooseguard.codec.architecture import UNKNOWN, describe
from gooseguard.codec.layout import RwkvConfig, tensor_shapes


@pytest.mark.parametrize("version", ["x052", "x060", "x070"])
def test_what_we_run(version):
    assert describe(tensor_shapes(RwkvConfig(2, 128, 10, version=version))) == version


EAGLE = tensor_shapes(RwkvConfig(1, 128, 10, version="x052"))


def changed(shapes, **replaced):
    """Give `shapes` with tensors of layer 0's time mix set, or left out where None."""
    names = {f"blocks.0.att.{name.replace('__', '.')}": shape for name, shape in replaced.items()}
    kept = {name: shape for name, shape in shapes.items() if names.get(name, ()) is not None}
    return kept | {name: shape for name, shape in names.items() if shape is not None}


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ({}, UNKNOWN),
        ({"conv1.weight": (64, 3, 7, 7)}, UNKNOWN),
        ({"emb.weight": (10, 8)}, UNKNOWN),
        # One decay a head, with and without a gate; then one a channel and no norm of the heads.
        (changed(EAGLE, time_decay=(2, 1)), "RWKV-5.1"),
        (changed(EAGLE, time_decay=(2,), gate__weight=None), "RWKV-5.0"),
        (
            changed(EAGLE, time_decay=(128,), gate__weight=None, ln_x__weight=None, ln_x__bias=None),
            "RWKV-4",
        ),
        (
            tensor_shapes(RwkvConfig(1, 128, 10)) | {"blocks.0.ffn.s_emb.weight": (10, 1024)},
            "RWKV-7 with deep embeddings (x070a or later)",
        ),
        ({"model.layers.0.self_attn.q_proj.weight": (8, 8)}, "a Llama-like transformer"),
        ({"bert.encoder.layer.0.attention.self.query.weight": (8, 8)}, "a BERT-like encoder"),
        ({"transformer.h.0.attn.c_attn.weight": (8, 24)}, "a GPT-2-like transformer"),
        ({"rwkv.blocks.0.attention.time_decay": (8,)}, "RWKV under the names of transformers"),
        (
            {"model.layers.0.attn.r_proj.weight": (8, 8)},
            "RWKV-7 under the names of flash-linear-attention",
        ),
        ({"backbone.layers.0.mixer.A_log": (8, 16)}, "a Mamba model"),
        ({"base_model.model.blocks.0.att.key.lora_A.weight": (4, 8)}, "a LoRA adapter"),
        ({"backbone.emb.weight": (10, 8), "categories.bias": (3,)}, "a Gooseguard model"),
    ],
)
def test_what_we_do_not(shapes, expected):
    assert describe(shapes) == expected
