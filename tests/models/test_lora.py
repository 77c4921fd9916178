"""LoRA: the delta by its definition, where it goes, and that it begins as nothing."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gooseguard.core.errors import ConfigError  # noqa: E402
from gooseguard.models.layers import Linear  # noqa: E402
from gooseguard.models.lora import (  # noqa: E402
    LoraConfig,
    LoraLinear,
    attach_lora,
    attach_tower_lora,
    lora_layers,
    merged,
)


def load_module(name):
    path = Path(__file__).parents[1] / "contracts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tiny = load_module("tiny_base")

VERSIONS = ("x052", "x060", "x070")
TOKENS = torch.tensor([[3, 9, 27, 81, 243, 1, 5, 25], [7, 7, 0, 200, 4, 4, 2, 9]])


def test_the_layer_is_its_definition():
    rng = np.random.default_rng(0)
    weight, a, b, x = (
        rng.normal(size=shape).astype(np.float32) for shape in ((5, 7), (2, 7), (5, 2), (3, 7))
    )
    base = Linear(7, 5)
    base.weight = torch.nn.Parameter(torch.from_numpy(weight), requires_grad=False)
    layer = LoraLinear(base, 2, 1.5)
    with torch.no_grad():
        layer.lora_a.copy_(torch.from_numpy(a))
        layer.lora_b.copy_(torch.from_numpy(b))
        found = layer(torch.from_numpy(x)).numpy()
    expected = x.astype(np.float64) @ (weight + 1.5 * b.astype(np.float64) @ a).T
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        torch.from_numpy(x) @ merged(base.weight, layer.lora_a, layer.lora_b, 1.5).detach().T,
        expected,
        rtol=0,
        atol=1e-5,
    )


def test_a_merged_matrix_is_rounded_once():
    weight = torch.full((1, 1), 1.0, dtype=torch.bfloat16)
    # 1 + 2^-9 + 2^-9: each alone would vanish beside 1, whose bfloat16 neighbour is 1 + 2^-7.
    a, b = torch.full((2, 1), 2.0**-9), torch.ones(1, 2)
    assert merged(weight, a, b, 2.0).item() == 1 + 2**-7
    assert merged(weight, a, b, 2.0).dtype == torch.bfloat16


@pytest.mark.parametrize("version", VERSIONS)
def test_places_of_each_version(version):
    model = attach_lora(tiny.make_base(version), LoraConfig(rank=4))
    attention = {"att.receptance", "att.key", "att.value", "att.output", "ffn.key", "ffn.value"}
    expected = attention | (set() if version == "x070" else {"ffn.receptance"})
    assert {name for name, _ in lora_layers(model)} == {
        f"blocks.{i}.{place}" for i in range(2) for place in expected
    }
    learnt = {name for name, p in model.named_parameters() if p.requires_grad}
    assert learnt == {f"{name}.{factor}" for name, _ in lora_layers(model) for factor in ("lora_a", "lora_b")}


@pytest.mark.parametrize("version", VERSIONS)
def test_it_begins_as_the_base_and_keeps_its_names(version):
    base = tiny.make_base(version)
    names = set(base.state_dict())
    before = base.logits(base(TOKENS)[0])
    model = attach_lora(base, LoraConfig(rank=4))
    assert torch.equal(model.logits(model(TOKENS)[0]), before)
    assert names <= set(model.state_dict())
    assert all(".lora_" in name for name in set(model.state_dict()) - names)
    shaken = tiny.shake(model)
    assert not torch.allclose(shaken.logits(shaken(TOKENS)[0]), before, atol=1e-2)


def test_equal_seeds_begin_alike_and_others_do_not():
    first, same, other = (
        torch.cat(
            [
                layer.lora_a.flatten()
                for _, layer in lora_layers(attach_lora(tiny.make_base(), LoraConfig(), seed))
            ]
        )
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    # Uniform within 1 / sqrt(in): the width of most matrices is 32.
    assert 0.9 / np.sqrt(32) < first.abs().max() <= 1 / np.sqrt(32)


def test_a_base_in_bfloat16_learns_in_float32():
    model = tiny.shake(attach_lora(tiny.make_base().bfloat16(), LoraConfig(rank=4)))
    layer = model.blocks[0].att.key
    assert layer.weight.dtype == torch.bfloat16
    assert layer.lora_a.dtype == torch.float32
    layer(torch.ones(1, 32)).float().sum().backward()
    assert layer.lora_b.grad.dtype == torch.float32
    assert layer.weight.grad is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank is 0"),
        ({"alpha": 0.0}, "alpha 0.0, expected at least 1 and more than 0"),
        ({"targets": ()}, "targets is empty"),
        ({"targets": ("recptance",)}, "unknown target 'recptance'.*did you mean 'receptance'"),
    ],
)
def test_configs_that_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        LoraConfig(**options)


def test_a_target_that_the_version_lacks_is_refused():
    with pytest.raises(ConfigError, match="x070 has no gate; take it out"):
        attach_lora(tiny.make_base(), LoraConfig(targets=("key", "gate")))


def test_a_tower_begins_as_it_is_and_sees_alike_once_merged(tmp_path):
    pytest.importorskip("transformers")
    from gooseguard.models.vision import load_tower

    files = load_module("visual_files")
    files.write_tower(tmp_path, files.tower_tensors(np.random.default_rng(2)))
    (tower, preparation), (other, _) = load_tower(tmp_path), load_tower(tmp_path)
    pixels = torch.from_numpy(
        np.random.default_rng(3).normal(size=(2, 3, preparation.crop, preparation.crop)).astype(np.float32)
    )
    plain = tower(pixels)
    attach_tower_lora(tower, 2)
    assert torch.equal(tower(pixels), plain)
    learnt = {name for name, parameter in tower.named_parameters() if parameter.requires_grad}
    assert {name.rpartition(".")[2] for name in learnt} == {"lora_a", "lora_b"}
    assert len(learnt) == 2 * 4 * tower.config.num_hidden_layers
    tiny.shake(tower)
    weights = other.state_dict()
    for name, layer in lora_layers(tower):
        weights[f"{name}.weight"] = merged(layer.weight, layer.lora_a, layer.lora_b, layer.scale)
    other.load_state_dict(weights, assign=True)
    with torch.no_grad():
        assert not torch.allclose(other(pixels), plain, atol=0.1)
        torch.testing.assert_close(tower(pixels), other(pixels), rtol=0, atol=1e-4)
