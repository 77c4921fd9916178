"""What tensors are rounded to, and that a file's layout loses nothing."""

import numpy as np
import pytest

from gooseguard.engine.stored import (
    WidenedTensors,
    expected_tensors,
    is_tiled,
    lay_out_all,
    stored_dtype,
)

SHAPES = {
    "emb.weight": (5, 4),
    "blocks.0.ln0.weight": (4,),
    "blocks.1.att.w1": (4, 3),
    "blocks.1.att.w2": (3, 4),
    "blocks.1.att.r_k": (2, 2),
    "blocks.1.att.x_k": (1, 1, 4),
    "blocks.1.att.ln_x.weight": (4,),
    "blocks.0.ffn.key.weight": (7, 4),
    "blocks.0.att.output.weight": (4, 4),
    "categories.weight": (3, 12),
    "blocks.0.att.gate.weight": (4, 4),
    "blocks.0.att.time_faaaa": (2, 2),
    "blocks.0.att.time_decay": (2, 2),
    "blocks.1.att.time_decay": (1, 1, 4),
    "blocks.1.att.time_decay_w1": (4, 3),
    "blocks.1.att.time_decay_w2": (3, 4),
    "blocks.1.att.time_maa_w": (1, 1, 4),
    "blocks.1.att.time_maa_w1": (4, 10),
    "blocks.1.att.time_maa_w2": (5, 2, 4),
}
FACTORS = {
    "blocks.1.att.w1",
    "blocks.1.att.w2",
    "blocks.1.att.time_decay_w1",
    "blocks.1.att.time_decay_w2",
    "blocks.1.att.time_maa_w1",
    "blocks.1.att.time_maa_w2",
}
LARGE = {"blocks.0.ffn.key.weight", "blocks.0.att.output.weight", "blocks.0.att.gate.weight"}
TILED = FACTORS | LARGE
VECTORS = {
    "blocks.0.ln0.weight",
    "blocks.1.att.x_k",
    "blocks.1.att.ln_x.weight",
    "blocks.1.att.time_decay",
    "blocks.1.att.time_maa_w",
    # Vectors too, written a head a row.
    "blocks.0.att.time_decay",
    "blocks.0.att.time_faaaa",
}


def test_which_tensors_lie_in_tiles():
    assert {name for name in SHAPES if is_tiled(name)} == TILED
    assert all(is_tiled(f"backbone.{name}") for name in TILED)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("f32", {"F32": set(SHAPES)}),
        (
            "bf16",
            {"F32": VECTORS, "BF16": {"emb.weight", "blocks.1.att.r_k", "categories.weight"} | TILED},
        ),
        (
            "int8",
            {
                "F32": VECTORS,
                "BF16": {"emb.weight", "blocks.1.att.r_k", "categories.weight"} | FACTORS,
                "I8": LARGE,
            },
        ),
    ],
)
def test_stored_dtypes(dtype, expected):
    for stored, names in expected.items():
        assert {name for name, shape in SHAPES.items() if stored_dtype(name, shape, dtype) == stored} == names


@pytest.mark.parametrize("dtype", ["f32", "bf16", "int8"])
def test_what_is_laid_out_is_as_expected_and_comes_back(dtype):
    rng = np.random.default_rng(1)
    tensors = {name: rng.normal(0, 1, shape).astype(np.float32) for name, shape in SHAPES.items()}
    stored = lay_out_all(tensors, dtype)
    assert {name: (tensor.dtype, tensor.data.shape) for name, tensor in stored.items()} == expected_tensors(
        SHAPES, dtype
    )
    widened = WidenedTensors(stored, SHAPES)
    assert list(widened) == list(SHAPES)
    # bfloat16 keeps 8 bits, int8 7 bits of the largest of a channel; both round.
    bound = {"f32": 0.0, "bf16": 2.0**-8, "int8": 4.0 / 127 / 2}[dtype]
    for name, tensor in tensors.items():
        assert widened[name].dtype == np.float32
        assert np.abs(widened[name] - tensor).max() <= bound * 4, name
