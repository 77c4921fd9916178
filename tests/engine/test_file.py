import importlib.util
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from gooseguard.core.errors import ArtefactError, ConfigError
from gooseguard.engine.file import from_bf16, read_engine_file, to_bf16, write_engine_file

_path = Path(__file__).parents[1] / "contracts" / "tiny_text_model.py"
_spec = importlib.util.spec_from_file_location("tiny_text_model", _path)
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)


@pytest.fixture(scope="module")
def model():
    return tiny.make_model()


@pytest.fixture
def path(model, tmp_path):
    file = tmp_path / "tiny.safetensors"
    write_engine_file(file, model, "f32", model.digest())
    return file


def rewrite(path, change):
    """Write an f32 file again with other metadata or tensors."""
    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    change(metadata, tensors)
    save_file(tensors, path, metadata)


def refusal(path, *, verify=False):
    with pytest.raises(ArtefactError) as caught:
        read_engine_file(path, verify=verify)
    message = str(caught.value)
    assert message.startswith(f"engine file {path}: ")
    return message


# Ties go to the even one: 1 + 2^-8 is between 0x3f80 and 0x3f81, 1 + 3 * 2^-8 between 0x3f81 and 0x3f82.
@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (1.0, 0x3F80),
        (-2.5, 0xC020),
        (0.0, 0x0000),
        (-0.0, 0x8000),
        (1 + 2**-8, 0x3F80),
        (1 + 2**-8 + 2**-20, 0x3F81),
        (1 + 3 * 2**-8, 0x3F82),
        (3.3895313892515355e38, 0x7F7F),
        (2**-149, 0x0000),
    ],
)
def test_bf16_of_known_numbers(value, bits):
    assert to_bf16(np.array([value], np.float32)).tolist() == [bits]


@settings(max_examples=60, deadline=None)
@given(st.floats(-(2.0**127), 2.0**127, width=32))
def test_bf16_is_the_nearest(value):
    exact = np.array([value], np.float32)
    bits = to_bf16(exact)
    rounded = float(from_bf16(bits)[0])
    for step in (-1, 1):
        magnitude = (int(bits[0]) & 0x7FFF) + step
        if 0 <= magnitude < 0x7F80:
            neighbour = from_bf16(np.array([int(bits[0]) & 0x8000 | magnitude], np.uint16))
            assert abs(value - rounded) <= abs(value - float(neighbour[0]))
    assert to_bf16(from_bf16(bits)).tolist() == bits.tolist()


def test_f32_gives_back_every_bit(model, path):
    file = read_engine_file(path, verify=True)
    assert file.model.tensors.keys() == model.tensors.keys()
    for name, tensor in model.tensors.items():
        assert file.model.tensors[name].dtype == np.float32
        np.testing.assert_array_equal(file.model.tensors[name], tensor)
    assert file.model.config == model.config
    assert file.model.calibration.to_json() == model.calibration.to_json()
    assert file.model.tokenizer.to_json() == model.tokenizer.to_json()
    assert file.model.card == model.card
    assert file.dtype == "f32"
    # The same tensors, so the same model as the checkpoint.
    assert file.digest == file.parent == model.digest()
    assert file.name == f"tiny-text@{file.digest[:12]}"


def test_bf16_rounds_matrices_and_keeps_vectors(model, tmp_path):
    path = tmp_path / "tiny.safetensors"
    file = write_engine_file(path, model, "bf16", model.digest())
    read = read_engine_file(path)
    assert read.digest == file.digest != file.parent == model.digest()
    for name, tensor in model.tensors.items():
        is_matrix = name.endswith(("emb.weight", "categories.weight", "r_k", "1", "2")) or tensor.ndim == 2
        expected = from_bf16(to_bf16(tensor)) if is_matrix and max(tensor.shape) != tensor.size else tensor
        np.testing.assert_array_equal(read.model.tensors[name], expected, err_msg=name)
    f32 = tmp_path / "f32.safetensors"
    write_engine_file(f32, model, "f32", model.digest())
    weights = sum(tensor.nbytes for tensor in model.tensors.values())
    assert f32.stat().st_size - path.stat().st_size > 0.45 * weights


def test_torch_reads_the_same_numbers(model, tmp_path):
    torch = pytest.importorskip("torch")
    load = importlib.import_module("safetensors.torch").load_file
    path = tmp_path / "tiny.safetensors"
    file = write_engine_file(path, model, "bf16", model.digest())
    for name, tensor in load(path).items():
        expected = torch.from_numpy(model.tensors[name]).to(tensor.dtype)
        assert torch.equal(tensor, expected)
        np.testing.assert_array_equal(file.model.tensors[name], tensor.float().numpy())


def test_equal_models_give_equal_bytes(model, tmp_path):
    paths = [tmp_path / f"{number}.safetensors" for number in range(4)]
    for path in paths:
        write_engine_file(path, model, "bf16", model.digest())
    assert len({path.read_bytes() for path in paths}) == 1


def test_an_older_file_is_replaced_and_nothing_is_left_beside_it(model, path, tmp_path):
    other = tiny.make_model(2)
    write_engine_file(path, other, "f32", other.digest())
    assert read_engine_file(path, verify=True).digest == other.digest()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_write_refuses(model, path, tmp_path):
    with pytest.raises(ConfigError, match=r"dtype is 'int4', expected one of f32, bf16"):
        write_engine_file(path, model, "int4", "")
    large = {**model.tensors, "categories.weight": np.full((3, 192), 3.4e38, np.float32)}
    with pytest.raises(ArtefactError, match=r"categories\.weight holds a number too large for bfloat16"):
        write_engine_file(path, replace(model, tensors=large), "bf16", "")
    broken = {**model.tensors, "categories.bias": np.full(3, math.nan, np.float32)}
    with pytest.raises(ArtefactError, match=r"categories\.bias holds a number that is not finite"):
        write_engine_file(path, replace(model, tensors=broken), "f32", "")
    with pytest.raises(ArtefactError, match="cannot be written"):
        write_engine_file(tmp_path / "absent" / "x.safetensors", model, "f32", "")
    read_engine_file(path, verify=True)


def test_read_refuses_what_is_no_engine_file(path, tmp_path):
    assert "there is no such file" in refusal(tmp_path / "absent.safetensors")
    assert "is a folder" in refusal(tmp_path)
    other = tmp_path / "other.safetensors"
    save_file({"x": np.zeros(1, np.float32)}, other)
    assert "format is None, expected 'gooseguard-engine'; make one with `gooseguard export`" in refusal(other)
    other.write_bytes(b"")
    assert "not a whole safetensors file" in refusal(other)
    other.write_bytes(b"PK\x03\x04" + bytes(1000))
    assert "not a whole safetensors file" in refusal(other)


@pytest.mark.parametrize("size", [4, 100, -1, -5000])
def test_read_refuses_a_file_cut_short(path, size):
    path.write_bytes(path.read_bytes()[:size])
    assert "was it cut short? copy it again, or export it again" in refusal(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", "other", "format is 'other', expected 'gooseguard-engine'"),
        ("format_version", "2", "format version 2 is newer than 1; upgrade gooseguard"),
        ("format_version", "0", "format version is '0', expected 1"),
        ("format_version", "one", "format version is 'one', expected 1"),
        ("dtype", "int8", "dtype is 'int8', expected f32 or bf16; upgrade gooseguard"),
        ("config", "{", "config is not JSON"),
        ("config", "[]", "model config is no JSON object"),
        ("calibration", '{"toxicity": NaN}', "calibration is not JSON"),
        ("calibration", "{}", "'toxicity' is missing"),
        ("vocabulary", "{}", "vocabulary is not a gooseguard-vocabulary file"),
        ("card", "3", "card is no JSON object"),
        ("card", "", "card is not JSON"),
        ("digest", "0" * 64, "was altered after export"),
        ("weights_sha256", "0" * 64, "was altered after export"),
    ],
)
def test_read_refuses_other_metadata(path, key, value, message):
    rewrite(path, lambda metadata, _: metadata.update({key: value}))
    assert message in refusal(path)


@pytest.mark.parametrize(
    "key", ["dtype", "config", "calibration", "vocabulary", "card", "weights_sha256", "digest", "parent"]
)
def test_read_refuses_missing_metadata(path, key):
    rewrite(path, lambda metadata, _: metadata.pop(key))
    assert f"metadata {key} missing; export it again" in refusal(path)


def test_read_refuses_an_altered_calibration_or_config_or_vocabulary(model, path):
    data = path.read_bytes()

    def scale(metadata, _):
        metadata["calibration"] = metadata["calibration"].replace('"scale":0.5', '"scale":0.4')

    def name(metadata, _):
        metadata["config"] = metadata["config"].replace("tiny-text", "tiny-best")

    def vocabulary(metadata, _):
        table = json.loads(metadata["vocabulary"])
        metadata["vocabulary"] = json.dumps(table | {"merges": table["merges"][:-1]})

    for change in (scale, name):
        rewrite(path, change)
        assert f"they do not give the digest {model.digest()[:12]}" in refusal(path)
        path.write_bytes(data)
    rewrite(path, vocabulary)
    assert "vocabulary is not the one the config names" in refusal(path)


def test_read_refuses_other_tensors(path):
    def change(_, tensors):
        del tensors["backbone.blocks.0.ln0.weight"]
        tensors["categories.bias"] = np.zeros(4, np.float32)
        tensors["more"] = np.zeros(1, np.float32)

    rewrite(path, change)
    message = refusal(path)
    for part in (
        "blocks.0.ln0.weight is missing",
        "categories.bias is (4,), expected (3,)",
        "more is unexpected",
    ):
        assert part in message


def test_read_refuses_another_tensor_dtype(path):
    rewrite(path, lambda _, tensors: tensors.update({"categories.bias": np.zeros(3, np.float16)}))
    assert "categories.bias is stored as F16, expected F32 or BF16" in refusal(path)


def test_altered_weights_are_found_on_request(path):
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    read_engine_file(path)
    assert "the weights were altered after export" in refusal(path, verify=True)


def test_weights_that_are_not_finite_are_found_on_request(path):
    rewrite(path, lambda _, tensors: tensors["categories.bias"].fill(math.nan))
    assert "categories.bias holds a number that is not finite" in refusal(path, verify=True)
