import pytest

from gooseguard.codec.layout import RwkvConfig, check_shapes, infer_config, tensor_shapes
from gooseguard.core.errors import ArtefactError

CONFIG = RwkvConfig(2, 128, 300, rank_w=8, rank_a=12, rank_v=16, rank_g=20)


def test_the_config_is_read_off_the_shapes():
    assert infer_config(tensor_shapes(CONFIG)) == CONFIG
    assert (CONFIG.n_head, CONFIG.n_ffn) == (2, 512)


def test_official_extras_are_accepted():
    shapes = tensor_shapes(CONFIG)
    extras = {"head.weight": (300, 128), "blocks.0.att.v0": (1, 1, 128), "blocks.0.att.v1": (128, 16)}
    assert infer_config({**shapes, **extras}) == CONFIG


def test_everything_wrong_is_listed_at_once():
    shapes = tensor_shapes(CONFIG)
    del shapes["ln_out.bias"]
    shapes["blocks.1.ffn.key.weight"] = (4, 4)
    shapes["blocks.0.att.q.weight"] = (1, 1)
    with pytest.raises(ArtefactError) as caught:
        check_shapes(shapes, CONFIG)
    for finding in (
        "ln_out.bias is missing",
        "blocks.0.att.q.weight is unexpected",
        "blocks.1.ffn.key.weight is (4, 4), expected (512, 128)",
    ):
        assert finding in str(caught.value)


def test_another_architecture_is_refused():
    with pytest.raises(ArtefactError, match=r"expected RWKV-7"):
        infer_config({"emb.weight": (300, 128), "blocks.0.att.time_decay": (128,)})


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"n_layer": 0}, "n_layer is 0"),
        ({"n_embd": 100}, "no multiple of head_size"),
        ({"version": "x060"}, "version is 'x060'"),
    ],
)
def test_impossible_sizes_are_refused(change, finding):
    with pytest.raises(ArtefactError, match=finding):
        RwkvConfig(**{"n_layer": 1, "n_embd": 64, "vocab_size": 300} | change)
