"""Merging: the sum answers as base and adapter together, in the official layout; wrong bases are refused."""

import importlib.util
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from gooseguard.core.errors import ArtefactError, ConfigError  # noqa: E402
from gooseguard.models.adapter import (  # noqa: E402
    delta_parameters,
    read_adapter,
    tensors_digest,
    write_adapter,
)
from gooseguard.models.lora import LoraConfig, attach_lora  # noqa: E402
from gooseguard.models.merge import merge  # noqa: E402
from gooseguard.models.official import load_official, read_official  # noqa: E402

_path = Path(__file__).parents[1] / "contracts" / "tiny_base.py"
_spec = importlib.util.spec_from_file_location("tiny_base", _path)
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)

LORA = LoraConfig(rank=4, alpha=6.0)
TOKENS = torch.randint(1, 257, (2, 40), generator=torch.Generator().manual_seed(0))


def write(folder, base, lora=LORA, tensors=None):
    """Write an adapter of `base` with a delta that is not zero."""
    if tensors is None:
        tensors = delta_parameters(tiny.shake(attach_lora(load_official(base), lora)))
    digest = tensors_digest(read_official(base))
    return write_adapter(folder, tensors, base=digest, lora=lora, config={}, inputs={}, facts={})


@pytest.mark.parametrize("version", ["x052", "x060", "x070"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_sum_computes_what_base_and_adapter_do(tmp_path, version, suffix):
    base = tiny.write_base(tmp_path / "base.pth", version)
    adapter = write(tmp_path / "adapter", base)
    output = tmp_path / f"merged{suffix}"
    digest = merge(base, adapter, output)
    before, after = read_official(base), read_official(output)
    assert {name: (t.shape, t.dtype) for name, t in after.items()} == {
        name: (t.shape, t.dtype) for name, t in before.items()
    }
    assert tensors_digest(after) == digest
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {
        f"{n.removesuffix('.lora_a')}.weight" for n in read_adapter(adapter).tensors if "lora_a" in n
    }
    together, merged = load_official(base), load_official(output)
    plain = together.logits(together(TOKENS)[0])
    read_adapter(adapter).apply(together)
    expected, found = (model.logits(model(TOKENS)[0]) for model in (together, merged))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert (expected - plain).abs().max() > 0.1


def test_a_base_in_bfloat16_stays_in_bfloat16(tmp_path):
    base = tiny.write_base(tmp_path / "base.pth", dtype=torch.bfloat16)
    merge(base, write(tmp_path / "adapter", base), tmp_path / "merged.pth")
    tensors = read_official(tmp_path / "merged.pth")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    # By the definition, in float64, rounded once.
    name, delta = "blocks.1.ffn.value", read_adapter(tmp_path / "adapter").tensors
    exact = read_official(base)[f"{name}.weight"].double() + 1.5 * (
        delta[f"{name}.lora_b"].double() @ delta[f"{name}.lora_a"].double()
    )
    off = (tensors[f"{name}.weight"].double() - exact).abs() / exact.abs().clamp(min=1e-3)
    assert off.max() <= 2**-8 * 1.001


def test_another_base_is_refused_and_nothing_written(tmp_path):
    adapter = write(tmp_path / "adapter", tiny.write_base(tmp_path / "base.pth"))
    other = tiny.write_base(tmp_path / "other.pth", seed=1)
    with pytest.raises(
        ArtefactError, match=r"other.pth: its weights are \w{12}, the adapter was learnt on \w{12}"
    ):
        merge(other, adapter, tmp_path / "merged.pth")
    assert not (tmp_path / "merged.pth").exists()


def test_tensors_of_the_base_that_nothing_reads_are_kept(tmp_path):
    tensors = tiny.make_base().state_dict()
    # Some official files have a value residual in layer 0.
    tensors["blocks.0.att.v0"] = torch.ones(1, 1, 32)
    tensors["blocks.0.att.v1"], tensors["blocks.0.att.v2"] = torch.ones(32, 8), torch.ones(8, 32)
    torch.save(tensors, tmp_path / "base.pth")
    merge(tmp_path / "base.pth", write(tmp_path / "adapter", tmp_path / "base.pth"), tmp_path / "merged.pth")
    assert set(read_official(tmp_path / "merged.pth")) == set(tensors)


def test_states_have_no_place_in_the_layout(tmp_path):
    base = tiny.write_base(tmp_path / "base.pth")
    adapter = write(tmp_path / "adapter", base, None, {"blocks.0.att.state": torch.zeros(2, 16, 16)})
    with pytest.raises(ConfigError, match="holds initial states, which the official layout has no place for"):
        merge(base, adapter, tmp_path / "merged.pth")


def test_outputs_that_are_refused(tmp_path):
    base = tiny.write_base(tmp_path / "base.pth")
    adapter = write(tmp_path / "adapter", base)
    with pytest.raises(ConfigError, match="is the base itself"):
        merge(base, adapter, tmp_path / "x" / ".." / "base.pth")
    with pytest.raises(ArtefactError, match=r"ends in '.bin', expected .pth or .safetensors"):
        merge(base, adapter, tmp_path / "merged.bin")
    with pytest.raises(ArtefactError, match="cannot be written"):
        merge(base, adapter, tmp_path / "nowhere" / "merged.pth")
