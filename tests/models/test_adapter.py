"""Adapter folders: written, read, put back, and refused."""

import importlib.util
import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402

from gooseguard.core.errors import ArtefactError  # noqa: E402
from gooseguard.core.manifest import digest_file  # noqa: E402
from gooseguard.models.adapter import (  # noqa: E402
    Form,
    InitialStates,
    delta_parameters,
    read_adapter,
    state_names,
    tensors_digest,
    write_adapter,
)
from gooseguard.models.lora import LoraConfig, attach_lora  # noqa: E402
from gooseguard.models.rwkv import State  # noqa: E402

_path = Path(__file__).parents[1] / "contracts" / "tiny_base.py"
_spec = importlib.util.spec_from_file_location("tiny_base", _path)
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)

LORA = LoraConfig(rank=4, alpha=6.0)
BASE = "ab" * 32
TOKENS = torch.tensor([[3, 9, 27, 81, 243, 1, 5, 25]])


def write(folder, tensors, lora=LORA, base=BASE):
    options = {"config": {"name": "x"}, "inputs": {"train": "0" * 64}, "facts": {"rows": 3}}
    return write_adapter(folder, tensors, base=base, lora=lora, **options)


def test_a_delta_comes_back_as_it_was(tmp_path):
    model = tiny.shake(attach_lora(tiny.make_base(), LORA))
    write(tmp_path / "adapter", delta_parameters(model))
    adapter = read_adapter(tmp_path / "adapter")
    assert (adapter.form, adapter.lora, adapter.base) == (Form.LORA, LORA, BASE)
    assert adapter.manifest.inputs == {"base": BASE, "train": "0" * 64}
    assert adapter.manifest.facts["rows"] == 3
    again = tiny.make_base()
    assert adapter.apply(again) is None
    assert torch.equal(again(TOKENS)[0], model(TOKENS)[0])


@pytest.mark.parametrize("version", ["x052", "x060", "x070"])
def test_states_begin_every_sequence(tmp_path, version):
    model = tiny.make_base(version)
    states = InitialStates(model)
    plain = model(TOKENS)[0]
    assert torch.equal(model(TOKENS, None, states(1))[0], plain)
    with torch.no_grad():
        states.wkv.copy_(torch.randn(states.wkv.shape, generator=torch.Generator().manual_seed(0)))
    write(tmp_path / "adapter", dict(zip(state_names(model), states.wkv, strict=True)), lora=None)
    adapter = read_adapter(tmp_path / "adapter")
    assert (adapter.form, adapter.lora) == (Form.STATE, None)
    state = adapter.apply(model)
    assert isinstance(state, State)
    assert state.wkv.shape == (2, 1, 2, 16, 16)
    assert not state.wkv.requires_grad
    assert torch.equal(model(TOKENS, None, state)[0], model(TOKENS, None, states(1))[0])
    assert not torch.allclose(model(TOKENS, None, state)[0], plain, atol=1e-3)


def test_the_gradient_of_the_states_is_that_of_finite_differences():
    model = tiny.make_base(n_layer=1)
    states = InitialStates(model)
    with torch.no_grad():
        states.wkv.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    loss = lambda: model(TOKENS, None, states(1))[0].double().square().sum()  # noqa: E731
    loss().backward()
    for place in [(0, 0, 3, 5), (0, 1, 15, 0), (0, 0, 8, 8)]:
        with torch.no_grad():
            values = []
            for step in (0.02, -0.02):
                states.wkv[place] += step
                values.append(loss().item())
                states.wkv[place] -= step
        assert states.wkv.grad[place].item() == pytest.approx(
            (values[0] - values[1]) / 0.04, rel=2e-2, abs=2e-2
        )


def test_equal_weights_have_one_digest_whatever_the_container(tmp_path):
    from gooseguard.models.official import read_official

    paths = [tiny.write_base(tmp_path / name) for name in ("a.pth", "a.safetensors")]
    digests = [tensors_digest(read_official(path)) for path in paths]
    assert digests[0] == digests[1]
    rounded = tiny.write_base(tmp_path / "b.pth", dtype=torch.bfloat16)
    assert tensors_digest(read_official(rounded)) != digests[0]


def test_the_digest_is_the_documented_one():
    import hashlib

    tensors = {"b": torch.tensor([1.0], dtype=torch.bfloat16), "a": torch.tensor([[2.0, 0.5]])}
    # 2.0 and 0.5 as float32, 1.0 as bfloat16, little-endian.
    text = (
        b'["a","F32",[1,2]]\n'
        + bytes.fromhex("000000400000003f")
        + b'["b","BF16",[1]]\n'
        + bytes.fromhex("803f")
    )
    assert tensors_digest(tensors) == hashlib.sha256(text).hexdigest()


def test_another_base_is_refused(tmp_path):
    adapter = read_adapter(write(tmp_path / "adapter", delta_parameters(attach_lora(tiny.make_base(), LORA))))
    adapter.check_base(BASE, "base.pth")
    with pytest.raises(
        ArtefactError, match=r"base.pth: its weights are cdcdcdcdcdcd, the adapter was learnt on ab"
    ):
        adapter.check_base("cd" * 32, "base.pth")
    with pytest.raises(ArtefactError, match=r"lora_a is \(4, 32\), expected \(4, 64\)"):
        adapter.apply(tiny.make_base(n_embd=64))
    with pytest.raises(ArtefactError, match=r"blocks.1.ffn.value.lora_b is unexpected"):
        adapter.apply(tiny.make_base(n_layer=1))


def test_numbers_that_are_not_finite_are_not_written(tmp_path):
    with pytest.raises(ArtefactError, match=r"blocks.0.att.state holds a number that is not finite"):
        write(tmp_path / "adapter", {"blocks.0.att.state": torch.tensor([float("nan")])}, lora=None)
    assert not (tmp_path / "adapter").exists()


def test_a_folder_of_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "mine.txt").write_text("keep")
    with pytest.raises(ArtefactError, match="exists and is no adapter; choose another folder"):
        write(tmp_path / "adapter", {})
    assert (tmp_path / "adapter" / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize("damage", ["bytes", "form", "base", "dtype", "version"])
def test_damaged_folders_are_refused(tmp_path, damage):
    folder = write(tmp_path / "adapter", delta_parameters(attach_lora(tiny.make_base(), LORA)))
    file, path = folder / "adapter.safetensors", folder / "manifest.json"
    table = json.loads(path.read_text())
    if damage == "bytes":
        file.write_bytes(file.read_bytes()[:-4])
    elif damage == "dtype":
        save_file({name: tensor.half() for name, tensor in load_file(file).items()}, file)
        table["files"][file.name] = digest_file(file)
    elif damage == "form":
        table["facts"]["adapter"]["form"] = "other"
    elif damage == "base":
        table["inputs"]["base"] = "somewhere"
    else:
        table["format_version"] = 2
    path.write_text(json.dumps(table))
    with pytest.raises(ArtefactError):
        read_adapter(folder)
