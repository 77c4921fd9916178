import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gooseguard.codec.stored_tensor import from_bf16, to_bf16
from gooseguard.core.errors import ArtefactError, ConfigError
from gooseguard.engine.export import export
from gooseguard.engine.file import read_engine_file

pytest.importorskip("torch")

_path = Path(__file__).parents[1] / "contracts" / "tiny_text_model.py"
_spec = importlib.util.spec_from_file_location("tiny_text_model", _path)
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "checkpoint"
    tiny.write(folder, tiny.make_model())
    return folder


def test_f32_is_the_checkpoint(checkpoint, tmp_path):
    model = tiny.make_model()
    file = export(checkpoint, tmp_path / "out.safetensors", "f32")
    assert file.digest == file.parent == model.digest()
    assert json.loads((checkpoint / "manifest.json").read_text())["facts"]["digest"] == model.digest()
    read = read_engine_file(tmp_path / "out.safetensors", verify=True)
    assert read.model.tensors.keys() == model.tensors.keys()
    for name, tensor in model.tensors.items():
        np.testing.assert_array_equal(read.model.tensors[name], tensor)


def test_bf16_is_the_default_and_names_its_parent(checkpoint, tmp_path):
    model = tiny.make_model()
    file = export(checkpoint, tmp_path / "out.safetensors")
    assert file.dtype == "bf16"
    assert file.parent == model.digest() != file.digest
    name = "backbone.blocks.0.ffn.key.weight"
    np.testing.assert_array_equal(file.model.tensors[name], from_bf16(to_bf16(model.tensors[name])))
    assert file.model.card == tiny.CARD


def test_equal_checkpoints_give_equal_files(checkpoint, tmp_path):
    tiny.write(tmp_path / "again", tiny.make_model())
    export(checkpoint, tmp_path / "a.safetensors")
    export(tmp_path / "again", tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_refusals_leave_no_file(checkpoint, tmp_path):
    output = tmp_path / "out.safetensors"
    with pytest.raises(ConfigError, match="dtype is 'f16'"):
        export(checkpoint, output, "f16")
    with pytest.raises(ArtefactError, match=r"no manifest\.json"):
        export(tmp_path / "absent", output)
    weights = checkpoint / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ArtefactError, match=r"model\.safetensors was altered"):
        export(checkpoint, output)
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint"]


def test_export_needs_no_torch(checkpoint, tmp_path):
    code = (
        "import sys; from pathlib import Path; from gooseguard.engine.export import export; "
        "export(Path(sys.argv[1]), Path(sys.argv[2])); assert 'torch' not in sys.modules"
    )
    output = tmp_path / "out.safetensors"
    subprocess.run([sys.executable, "-c", code, checkpoint, output], check=True)
    read_engine_file(output, verify=True)
