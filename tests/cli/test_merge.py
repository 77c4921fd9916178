"""The verb `merge`: what it prints, and that what is wrong is told in one line."""

import importlib.util
import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from gooseguard.models.adapter import delta_parameters, tensors_digest, write_adapter  # noqa: E402
from gooseguard.models.lora import LoraConfig, attach_lora  # noqa: E402
from gooseguard.models.official import load_official, read_official  # noqa: E402

_path = Path(__file__).parents[1] / "contracts" / "tiny_base.py"
_spec = importlib.util.spec_from_file_location("tiny_base", _path)
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)


@pytest.fixture
def files(tmp_path):
    """A base, and an adapter of it."""
    base = tiny.write_base(tmp_path / "base.pth")
    lora = LoraConfig(rank=2)
    tensors = delta_parameters(tiny.shake(attach_lora(load_official(base), lora)))
    digest = tensors_digest(read_official(base))
    adapter = write_adapter(
        tmp_path / "adapter", tensors, base=digest, lora=lora, config={}, inputs={}, facts={}
    )
    return str(base), str(adapter)


def test_merge(program, files, tmp_path):
    output = tmp_path / "merged.safetensors"
    status, out, err = program("merge", *files, "-o", str(output))
    assert (status, err) == (0, "")
    digest = tensors_digest(read_official(output))
    assert out == f"{output}: {output.stat().st_size:,} bytes, weights {digest[:12]}\n"
    status, out, _ = program("merge", *files, "--output", str(output), "--json")
    assert status == 0
    assert json.loads(out) == {
        "output": str(output),
        "weights_sha256": digest,
        "bytes": output.stat().st_size,
    }


def test_a_wrong_base_is_told_in_one_line(program, files, tmp_path):
    other = tiny.write_base(tmp_path / "other.pth", seed=3)
    status, out, err = program("merge", str(other), files[1], "-o", str(tmp_path / "merged.pth"))
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {other}: its weights are ")
    assert err.count("\n") == 1


def test_an_adapter_that_is_not_there(program, files, tmp_path):
    status, _, err = program("merge", files[0], str(tmp_path / "none"), "-o", str(tmp_path / "merged.pth"))
    assert status == 2
    assert "no manifest.json; expected a finished adapter folder" in err


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_folders_of_llava_and_peft(program, tmp_path):
    pytest.importorskip("peft")
    spec = importlib.util.spec_from_file_location("tiny_llava", _path.with_name("tiny_llava.py"))
    tiny_llava = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny_llava)
    base = tiny_llava.write_llava(tmp_path / "base")
    adapter, output = tiny_llava.write_adapter(tmp_path / "adapter", base), tmp_path / "merged"
    status, out, err = program("merge", str(base), str(adapter), "-o", str(output), "--json")
    n_bytes = sum(path.stat().st_size for path in output.iterdir())
    assert (status, json.loads(out)) == (0, {"output": str(output), "bytes": n_bytes}), err
    status, out, err = program("merge", str(base), str(adapter), "-o", str(output))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: {output}: exists")
