"""A checkpoint folder, written by hand as docs/formats.md says, read without torch."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from gooseguard.codec.checkpoint import read_model_folder
from gooseguard.core.errors import ArtefactError
from gooseguard.core.manifest import Manifest, digest_file, write_manifest

_path = Path(__file__).parents[1] / "contracts" / "tiny_text_model.py"
_spec = importlib.util.spec_from_file_location("tiny_text_model", _path)
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)


@pytest.fixture
def model():
    return tiny.make_model()


@pytest.fixture
def folder(model, tmp_path):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    save_file(dict(model.tensors), folder / "model.safetensors")
    for name, content in {
        "config.json": model.config.to_json(),
        "calibration.json": model.calibration.to_json(),
        "card.json": model.card,
    }.items():
        (folder / name).write_text(json.dumps(content), "utf-8")
    (folder / "vocabulary.json").write_text(model.tokenizer.to_json(), "utf-8")
    files = {entry.name: digest_file(entry) for entry in folder.iterdir()}
    write_manifest(folder, Manifest("checkpoint", 1, {"seed": 3}, files=files))
    return folder


def test_reads_what_the_folder_holds(model, folder):
    manifest, found = read_model_folder(folder, verify=True)
    assert manifest.config == {"seed": 3}
    assert found.config == model.config
    assert found.calibration.to_json() == model.calibration.to_json()
    assert found.tokenizer.to_json() == model.tokenizer.to_json()
    assert found.card == model.card
    assert found.tensors.keys() == model.tensors.keys()
    for name, tensor in model.tensors.items():
        np.testing.assert_array_equal(found.tensors[name], tensor)
    assert found.digest() == model.digest()


def test_needs_no_torch(folder):
    program = (
        "import sys; from pathlib import Path; from gooseguard.codec.checkpoint import read_model_folder; "
        "read_model_folder(Path(sys.argv[1]), verify=True); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_all_that_is_wrong_is_in_one_message(folder):
    (folder / "card.json").write_text("[]", "utf-8")
    (folder / "calibration.json").write_text("{", "utf-8")
    (folder / "model.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(ArtefactError) as caught:
        read_model_folder(folder, verify=False)
    message = str(caught.value)
    assert message.startswith(f"checkpoint {folder}: ")
    for part in ("card.json is no JSON object", "calibration.json", "model.safetensors cannot be read"):
        assert part in message


def test_altered_files_are_found_where_asked(folder):
    (folder / "card.json").write_text('{"note": "changed"}', "utf-8")
    read_model_folder(folder, verify=False)
    with pytest.raises(ArtefactError, match=r"card\.json was altered"):
        read_model_folder(folder, verify=True)


@pytest.mark.parametrize("name", ["config.json", "calibration.json", "vocabulary.json", "model.safetensors"])
def test_a_file_that_is_missing_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ArtefactError, match=f"{name} is missing"):
        read_model_folder(folder, verify=False)
