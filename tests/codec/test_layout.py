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


def test_finch_by_hand():
    # Written down from RWKV_Tmix_x060 and RWKV_CMix_x060 of RWKV-LM's RWKV-v5/src/model.py, layer 1.
    config = RwkvConfig(2, 8, 11, head_size=4, n_ffn=20, rank_w=3, rank_mix=2, version="x060")
    lerps = [f"att.time_maa_{name}" for name in "xwkvrg"] + ["ffn.time_maa_k", "ffn.time_maa_r"]
    matrices = [f"att.{name}.weight" for name in ("receptance", "key", "value", "output", "gate")]
    norms = [f"{norm}.{part}" for norm in ("ln1", "ln2", "att.ln_x") for part in ("weight", "bias")]
    expected = {
        **dict.fromkeys(lerps, (1, 1, 8)),
        "att.time_maa_w1": (8, 10),
        "att.time_maa_w2": (5, 2, 8),
        "att.time_decay": (1, 1, 8),
        "att.time_decay_w1": (8, 3),
        "att.time_decay_w2": (3, 8),
        "att.time_faaaa": (2, 4),
        **dict.fromkeys([*matrices, "ffn.receptance.weight"], (8, 8)),
        **dict.fromkeys(norms, (8,)),
        "ffn.key.weight": (20, 8),
        "ffn.value.weight": (8, 20),
    }
    shapes = tensor_shapes(config, has_head=True)
    found = {name: shape for name, shape in shapes.items() if name.startswith("blocks.1.")}
    assert found == {f"blocks.1.{name}": shape for name, shape in expected.items()}
    assert shapes["head.weight"] == (11, 8)
    assert infer_config(shapes) == config


def test_eagle_by_hand():
    # From RWKV_TimeMix_RWKV5 and RWKV_ChannelMix of the same file.
    config = RwkvConfig(2, 8, 11, head_size=4, n_ffn=20, version="x052")
    lerps = [f"att.time_mix_{name}" for name in "kvrg"] + ["ffn.time_mix_k", "ffn.time_mix_r"]
    matrices = [f"att.{name}.weight" for name in ("receptance", "key", "value", "output", "gate")]
    norms = [f"{norm}.{part}" for norm in ("ln1", "ln2", "att.ln_x") for part in ("weight", "bias")]
    expected = {
        **dict.fromkeys(lerps, (1, 1, 8)),
        "att.time_decay": (2, 4),
        "att.time_faaaa": (2, 4),
        **dict.fromkeys([*matrices, "ffn.receptance.weight"], (8, 8)),
        **dict.fromkeys(norms, (8,)),
        "ffn.key.weight": (20, 8),
        "ffn.value.weight": (8, 20),
    }
    shapes = tensor_shapes(config)
    found = {name: shape for name, shape in shapes.items() if name.startswith("blocks.1.")}
    assert found == {f"blocks.1.{name}": shape for name, shape in expected.items()}
    assert infer_config(shapes) == config


def test_defaults_of_each_version():
    # 3.5 * 2560 = 8960 is a multiple of 32 and the FFN width of RWKV-x060-World-3B; 3.5 * 130 = 455.
    finch = RwkvConfig(n_layer=1, n_embd=2560, vocab_size=5, version="x060")
    assert (finch.n_ffn, finch.rank_w, finch.rank_mix, finch.rank_a) == (8960, 64, 32, 0)
    eagle = RwkvConfig(n_layer=1, n_embd=130, vocab_size=5, head_size=65, version="x052")
    assert (eagle.n_ffn, eagle.rank_w, eagle.rank_mix) == (448, 0, 0)


def test_a_config_is_written_with_the_sizes_its_version_has():
    assert CONFIG.to_json() == {
        "n_layer": 2,
        "n_embd": 8,
        "vocab_size": 11,
        "head_size": 4,
        "n_ffn": 20,
        "rank_w": 1,
        "rank_a": 2,
        "rank_v": 3,
        "rank_g": 5,
        "version": "x070",
    }
    for version in ("x052", "x060", "x070"):
        config = RwkvConfig(2, 128, 11, version=version)
        assert RwkvConfig(**config.to_json()) == config
    assert "rank_a" not in RwkvConfig(2, 128, 11, version="x060").to_json()


@pytest.mark.parametrize(
    ("version", "head_size", "epsilon"),
    [("x052", 64, 64e-5), ("x052", 8, 1e-5), ("x060", 8, 64e-5), ("x070", 64, 64e-5)],
)
def test_epsilon_of_the_group_norm(version, head_size, epsilon):
    config = RwkvConfig(1, 64, 5, head_size=head_size, version=version)
    assert config.group_norm_epsilon == epsilon


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


@pytest.mark.parametrize("version", ["x052", "x060", "x070"])
def test_misshaped_and_missing_tensors_of_each_version_are_refused_with_their_names(version):
    whole = tensor_shapes(RwkvConfig(2, 128, 11, version=version))
    for name in whole:
        broken = {other: shape for other, shape in whole.items() if other != name}
        with pytest.raises(ArtefactError):
            infer_config(broken)
        with pytest.raises(ArtefactError):
            infer_config(whole | {name: (3, *whole[name])})
    for name in ("blocks.1.att.key.weight", "blocks.1.ln2.bias", "ln_out.weight"):
        with pytest.raises(ArtefactError, match=rf"{name} is missing$"):
            infer_config({other: shape for other, shape in whole.items() if other != name})
    with pytest.raises(ArtefactError, match=r"blocks\.1\.att\.time_state is unexpected$"):
        infer_config(whole | {"blocks.1.att.time_state": (2, 64, 64)})
    with pytest.raises(ArtefactError, match=r"head\.weight is \(12, 128\), expected \(11, 128\)$"):
        infer_config(whole | {"head.weight": (12, 128)})


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
        ({"version": "x040"}, "version is 'x040', expected 'x070'"),
        ({"version": "x060"}, "rank_a is 2, expected 0; x060 has no such LoRA"),
    ],
)
def test_configs_that_cannot_be(change, message):
    with pytest.raises(ArtefactError, match=message):
        replace(CONFIG, **change)
    with pytest.raises(ArtefactError):
        RwkvConfig(**asdict(CONFIG) | change)
