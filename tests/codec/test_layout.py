"""Official names and shapes, and configs read off them."""

from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.codec.layout import RwkvConfig, check_shapes, infer_config, tensor_shapes
from gooseguard.core.errors import ArtefactError

CONFIG = RwkvConfig(
    n_layer=2, n_embd=8, vocab_size=11, head_size=4, n_ffn=20, rank_w=1, rank_a=2, rank_v=3, rank_g=5
)


def test_names_and_shapes_by_hand():
    # Written down from the module definitions of RWKV-LM's rwkv_v7_demo.py, with C = 8, H = 2, N = 4.
    first = {
        "ln0.weight": (8,),
        "ln0.bias": (8,),
        "ln1.weight": (8,),
        "ln1.bias": (8,),
        "ln2.weight": (8,),
        "ln2.bias": (8,),
        "att.x_r": (1, 1, 8),
        "att.x_w": (1, 1, 8),
        "att.x_k": (1, 1, 8),
        "att.x_v": (1, 1, 8),
        "att.x_a": (1, 1, 8),
        "att.x_g": (1, 1, 8),
        "att.w0": (1, 1, 8),
        "att.w1": (8, 1),
        "att.w2": (1, 8),
        "att.a0": (1, 1, 8),
        "att.a1": (8, 2),
        "att.a2": (2, 8),
        "att.g1": (8, 5),
        "att.g2": (5, 8),
        "att.k_k": (1, 1, 8),
        "att.k_a": (1, 1, 8),
        "att.r_k": (2, 4),
        "att.receptance.weight": (8, 8),
        "att.key.weight": (8, 8),
        "att.value.weight": (8, 8),
        "att.output.weight": (8, 8),
        "att.ln_x.weight": (8,),
        "att.ln_x.bias": (8,),
        "ffn.x_k": (1, 1, 8),
        "ffn.key.weight": (20, 8),
        "ffn.value.weight": (8, 20),
    }
    value_residual = {"att.v0": (1, 1, 8), "att.v1": (8, 3), "att.v2": (3, 8)}
    second = {name: shape for name, shape in first.items() if not name.startswith("ln0.")} | value_residual
    assert tensor_shapes(CONFIG) == {
        "emb.weight": (11, 8),
        **{f"blocks.0.{name}": shape for name, shape in first.items()},
        **{f"blocks.1.{name}": shape for name, shape in second.items()},
        "ln_out.weight": (8,),
        "ln_out.bias": (8,),
    }


def test_defaults():
    config = RwkvConfig(n_layer=1, n_embd=128, vocab_size=5)
    assert (config.n_ffn, config.head_size, config.n_head, config.version) == (512, 64, 2, "x070")


SIZES = st.integers(1, 6)


@settings(deadline=None, max_examples=50)
@given(SIZES, SIZES, SIZES, SIZES, st.tuples(SIZES, SIZES, SIZES, SIZES), SIZES)
def test_a_config_is_read_off_its_shapes(n_layer, n_head, head_size, vocab_size, ranks, n_ffn):
    w, a, v, g = ranks
    config = RwkvConfig(
        n_layer=n_layer,
        n_embd=n_head * head_size,
        vocab_size=vocab_size,
        head_size=head_size,
        n_ffn=n_ffn,
        rank_w=w,
        rank_a=a,
        # A model of one layer has no value residual to read the rank off.
        rank_v=v if n_layer > 1 else 32,
        rank_g=g,
    )
    assert infer_config(tensor_shapes(config)) == config


def test_what_layer_0_never_reads_and_the_language_head_are_optional():
    shapes = tensor_shapes(CONFIG) | {
        "head.weight": (11, 8),
        "blocks.0.att.v0": (1, 1, 8),
        "blocks.0.att.v1": (8, 3),
        "blocks.0.att.v2": (3, 8),
    }
    check_shapes(shapes, CONFIG)
    assert infer_config(shapes) == CONFIG


def test_everything_that_is_wrong_is_listed():
    shapes = tensor_shapes(CONFIG) | {"blocks.1.ln0.weight": (8,), "ln_out.bias": (9,)}
    del shapes["blocks.1.att.v1"]
    with pytest.raises(ArtefactError) as caught:
        check_shapes(shapes, CONFIG)
    assert str(caught.value) == (
        "checkpoint does not hold an RWKV-7 model of its own config: blocks.1.att.v1 is missing; "
        "blocks.1.ln0.weight is unexpected; ln_out.bias is (9,), expected (8,)"
    )


def test_a_long_list_is_cut():
    with pytest.raises(ArtefactError, match=r"; and 56 more$"):
        check_shapes({}, CONFIG)
    assert len(tensor_shapes(CONFIG)) == 68


def test_other_architectures_are_refused():
    # Eagle and Finch have no learnt decay LoRA of this name, and other files no RWKV at all.
    for shapes in ({}, {"emb.weight": (11, 8), "blocks.0.att.time_decay": (2, 4)}):
        with pytest.raises(ArtefactError, match=r"expected RWKV-7 \(x070\)"):
            infer_config(shapes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_layer": 0}, "n_layer is 0, expected at least 1"),
        ({"rank_g": -1}, "rank_g is -1, expected at least 1"),
        ({"n_embd": 10}, "n_embd 10 is no multiple of head_size 4"),
        ({"version": "x060"}, "version is 'x060', expected 'x070'"),
    ],
)
def test_configs_that_cannot_be(change, message):
    with pytest.raises(ArtefactError, match=message):
        replace(CONFIG, **change)
    with pytest.raises(ArtefactError):
        RwkvConfig(**asdict(CONFIG) | change)
