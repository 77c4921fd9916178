"""Official checkpoints of every version: what is loaded, and what is refused without running anything."""

import importlib.util
import json
import os
import pickle  # noqa: TID251  (to make what must be refused)
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from gooseguard.codec.layout import RwkvConfig, tensor_shapes  # noqa: E402
from gooseguard.core.errors import ArtefactError  # noqa: E402
from gooseguard.models.official import is_official, load_official, write_official  # noqa: E402

_path = Path(__file__).parents[1] / "parity" / "random_model.py"
_spec = importlib.util.spec_from_file_location("random_model", _path)
random_model = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(random_model)

VERSIONS = ("x052", "x060", "x070")


def tensors_of(version, *, seed=0):
    config = random_model.two_heads(version)
    arrays = random_model.random_tensors(config, np.random.default_rng(seed))
    return {name: torch.from_numpy(array).bfloat16() for name, array in arrays.items()}


def write(folder, tensors, suffix=".pth"):
    # The name says nothing: official names carry the version, ours must not need it.
    path = folder / f"model{suffix}"
    if suffix == ".pth":
        torch.save(tensors, path)
    else:
        save_file(tensors, path)
    return path


def refusal(path):
    with pytest.raises(ArtefactError) as caught:
        load_official(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("version", VERSIONS)
def test_every_tensor_comes_back(version, suffix, tmp_path):
    tensors = tensors_of(version)
    path = write(tmp_path, tensors, suffix)
    assert is_official(path)
    model = load_official(path)
    assert model.config == random_model.two_heads(version)
    assert not model.training
    found = model.state_dict()
    assert found.keys() == tensors.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor.float(), tensors[name].float()), name
        # Vectors are float32, whatever the file has: bfloat16 would cost precision and saves nothing.
        assert tensor.dtype in (torch.bfloat16, torch.float32)
        assert (tensor.dtype == torch.bfloat16) == (tensor.numel() > 1000), name


def test_without_a_language_head_and_with_what_layer_0_never_reads(tmp_path):
    tensors = tensors_of("x070")
    del tensors["head.weight"]
    for name in ("v0", "v1", "v2"):
        tensors[f"blocks.0.att.{name}"] = torch.zeros_like(tensors[f"blocks.1.att.{name}"])
    model = load_official(write(tmp_path, tensors))
    assert model.head is None
    assert model.state_dict().keys() == tensor_shapes(model.config).keys()


def test_dtype_of_matrices(tmp_path):
    path = write(tmp_path, tensors_of("x060"))
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        model = load_official(path, dtype=dtype)
        dtypes = {name: tensor.dtype for name, tensor in model.state_dict().items()}
        assert dtypes["blocks.0.att.key.weight"] == dtypes["emb.weight"] == dtypes["head.weight"] == dtype
        assert dtypes["blocks.1.att.time_maa_w2"] == dtypes["blocks.1.att.time_decay_w1"] == dtype
        assert dtypes["blocks.0.att.time_decay"] == dtypes["ln_out.bias"] == torch.float32


@pytest.mark.parametrize("version", VERSIONS)
@torch.inference_mode()
def test_bfloat16_weights_are_near_the_same_weights_in_float32(version, tmp_path):
    path = write(tmp_path, tensors_of(version))
    rough, exact = load_official(path), load_official(path, dtype=torch.float32)
    tokens = torch.randint(0, 97, (2, 40), generator=torch.Generator().manual_seed(0))
    (one, state), (other, _) = rough(tokens), exact(tokens)
    assert one.dtype == state.wkv.dtype == state.ffn_shift.dtype == torch.float32
    assert rough.logits(one).dtype == torch.float32
    difference = (rough.logits(one) - exact.logits(other)).abs()
    # Three layers of matrix products rounded to 8 bits, logits of standard deviation 1.
    assert 1e-4 < difference.mean() < 0.05


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("version", VERSIONS)
def test_written_and_read_again(version, suffix, tmp_path):
    model = load_official(write(tmp_path, tensors_of(version)))
    path = write_official(model, tmp_path / f"again{suffix}", torch.bfloat16)
    again = load_official(path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor.float(), again.state_dict()[name].float())
    assert {entry.name for entry in tmp_path.iterdir()} == {"model.pth", f"again{suffix}"}
    with pytest.raises(ArtefactError, match=r"expected \.pth or \.safetensors"):
        write_official(model, tmp_path / "model.bin")
    with pytest.raises(ArtefactError, match="cannot be written"):
        write_official(model, tmp_path / "nowhere" / "model.pth")


MEASURE = """
import json, resource, sys, torch
from pathlib import Path
def rss(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
from gooseguard.models.official import load_official
before, anonymous = rss("VmHWM"), rss("RssAnon")
for path in sys.argv[1:]:
    model = load_official(path)
    for tensor in model.state_dict().values():
        assert tensor.max() < 1
    print(json.dumps([rss("VmHWM") - before, rss("RssAnon") - anonymous]))
    del model, tensor
"""


def test_weights_are_held_once(tmp_path):
    if not Path("/proc/self/status").exists():
        pytest.skip("only Linux says how much memory a process has held")
    # 60 MB, in one layer of wide matrices.
    config = RwkvConfig(1, 1024, 8000, version="x060")
    tensors = {
        name: torch.full(shape, 0.01, dtype=torch.bfloat16)
        for name, shape in tensor_shapes(config, has_head=True).items()
    }
    size = sum(tensor.nbytes for tensor in tensors.values())
    paths = [str(write(tmp_path, tensors, suffix)) for suffix in (".pth", ".safetensors")]
    done = subprocess.run([sys.executable, "-c", MEASURE, *paths], capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        growth, anonymous = json.loads(line)
        # Every weight was read where it lies in the file: nothing of the size of the weights was allocated.
        assert 0.9 * size < growth < 1.3 * size
        assert anonymous < 0.2 * size
    assert len(done.stdout.splitlines()) == 2


def test_a_file_that_is_not_there_or_not_whole(tmp_path):
    assert "cannot be read" in refusal(tmp_path / "none.pth")
    for suffix in (".pth", ".safetensors"):
        path = write(tmp_path, tensors_of("x052"), suffix)
        whole = path.read_bytes()
        for share in (0.999, 0.5, 0.01):
            path.write_bytes(whole[: int(len(whole) * share)])
            assert "whole" in refusal(path)
    for data in (b"", b"PK\x03\x04", b"\0" * 4000, b"{}"):
        path.write_bytes(data)
        assert "whole" in refusal(path)


@pytest.mark.filterwarnings("ignore::UserWarning:torch")
def test_a_damaged_file_is_refused_or_read_but_nothing_else(tmp_path):
    config = RwkvConfig(1, 64, 7, n_ffn=32, version="x052")
    tensors = {name: torch.ones(shape) for name, shape in tensor_shapes(config).items()}
    path = write(tmp_path, tensors)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    (index,) = [name for name in entries if name.endswith("/data.pkl")]
    rng = np.random.default_rng(0)

    def altered(data, begin, end):
        values = bytearray(data)
        for position in rng.integers(begin, end, 2):
            values[position] = int(rng.integers(256))
        return bytes(values)

    n_refused = 0
    for turn in range(120):
        if turn % 3 == 0:
            with zipfile.ZipFile(path, "w") as archive:
                for name, data in entries.items():
                    archive.writestr(name, altered(data, 0, len(data)) if name == index else data)
        else:
            # The begin of the zip, with the pickle, and the directory at its end.
            begin, end = (0, 3000) if turn % 3 == 1 else (len(whole) - 6000, len(whole))
            path.write_bytes(altered(whole, begin, end))
        try:
            load_official(path)
        except ArtefactError:
            n_refused += 1
    assert n_refused > 60


def test_no_code_is_run(tmp_path):
    marker = tmp_path / "marker"

    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(marker),)

    path = tmp_path / "model.pth"
    torch.save({"emb.weight": Attack()}, path)
    assert "refers to" in refusal(path)
    assert "mkdir" in refusal(path)
    # The same, with names that are put together at run time.
    write(tmp_path, tensors_of("x052"))
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    (name,) = [name for name in entries if name.endswith("/data.pkl")]
    entries[name] = pickle.dumps(Attack(), protocol=4)
    with zipfile.ZipFile(path, "w") as archive:
        for entry, data in entries.items():
            archive.writestr(entry, data)
    assert "STACK_GLOBAL" in refusal(path)
    path.write_bytes(pickle.dumps(Attack()))
    assert "bare pickle" in refusal(path)
    assert not marker.exists()


def test_other_things_than_tensors_are_refused(tmp_path):
    path = tmp_path / "model.pth"
    torch.save([torch.zeros(3)], path)
    assert "no table of named tensors" in refusal(path)
    torch.save(tensors_of("x052") | {"step": 3}, path)
    assert "step: no tensors" in refusal(path)
    torch.save(tensors_of("x052") | {"emb.weight": torch.zeros(97, 128, dtype=torch.float64)}, path)
    assert "DoubleStorage" in refusal(path)
    save_file(tensors_of("x052") | {"emb.weight": torch.zeros(97, 128, dtype=torch.int8)}, path)
    assert "emb.weight is torch.int8" in refusal(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_missing_extra_and_misshaped_tensors_are_listed(suffix, tmp_path):
    tensors = tensors_of("x060")
    del tensors["blocks.2.att.time_faaaa"]
    tensors["blocks.1.att.a0"] = torch.zeros(1, 1, 128)
    tensors["ln_out.bias"] = torch.zeros(127)
    message = refusal(write(tmp_path, tensors, suffix))
    for finding in (
        "RWKV-6",
        "blocks.2.att.time_faaaa is missing",
        "blocks.1.att.a0 is unexpected",
        "ln_out.bias is (127,), expected (128,)",
    ):
        assert finding in message


def test_another_architecture_is_named(tmp_path):
    path = write(tmp_path, {"model.layers.0.self_attn.q_proj.weight": torch.zeros(8, 8)})
    assert "looks like a Llama-like transformer; expected RWKV-7 (x070)" in refusal(path)
    path = write(tmp_path, {"model.layers.0.self_attn.q_proj.weight": torch.zeros(8, 8)}, ".safetensors")
    assert not is_official(path)
    assert not is_official(tmp_path / "none")
