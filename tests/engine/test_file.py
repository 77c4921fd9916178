import importlib.util
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from gooseguard.codec.stored_tensor import from_bf16, to_bf16
from gooseguard.codec.text_model import model_digest
from gooseguard.core.errors import ArtefactError, ConfigError
from gooseguard.core.manifest import canonical_json
from gooseguard.engine.file import read_engine_file, write_engine_file

_path = Path(__file__).parents[1] / "contracts" / "tiny_text_model.py"
_spec = importlib.util.spec_from_file_location("tiny_text_model", _path)
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)

VERSIONS = tuple(tiny.RANKS)


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


@pytest.mark.parametrize("version", VERSIONS)
def test_torch_reads_the_same_numbers(version, tmp_path):
    """What lies in tiles is taken apart as docs/formats.md says."""
    model = tiny.make_model(version=version)
    torch = pytest.importorskip("torch")
    load = importlib.import_module("safetensors.torch").load_file
    path = tmp_path / "tiny.safetensors"
    file = write_engine_file(path, model, "bf16", model.digest())
    for name, stored in load(path).items():
        tensor = model.tensors[name]
        expected = torch.from_numpy(tensor).to(stored.dtype)
        if stored.dim() > 3:
            matrices = expected.transpose(-1, -2) if name[-1] in "12" else expected
            n, k = matrices.shape[-2:]
            padded = stored.transpose(-3, -2).flatten(-2).flatten(-3, -2)
            assert torch.equal(padded[..., :n, :k], matrices)
            assert padded[..., n:, :].count_nonzero() == padded[..., k:].count_nonzero() == 0
        else:
            assert torch.equal(stored, expected)
        np.testing.assert_array_equal(
            file.model.tensors[name], torch.from_numpy(tensor).to(stored.dtype).float()
        )


LARGE = tuple(f"{name}.weight" for name in ("receptance", "key", "value", "output", "gate"))


@pytest.mark.parametrize("version", VERSIONS)
def test_int8_is_within_half_a_step_of_each_channel(version, tmp_path):
    model, path = tiny.make_model(version=version), tmp_path / "tiny.safetensors"
    file = write_engine_file(path, model, "int8", model.digest())
    assert file.dtype == "int8"
    assert file.digest not in (file.parent, "")
    bf16 = write_engine_file(tmp_path / "bf16.safetensors", model, "bf16", model.digest())
    for name, tensor in model.tensors.items():
        found = file.model.tensors[name]
        if name.endswith(LARGE):
            step = np.abs(tensor).max(axis=1, keepdims=True) / 127
            assert (np.abs(found - tensor) <= step * 0.5001).all()
            assert file.stored[name].data.dtype == np.int8
        else:
            np.testing.assert_array_equal(found, bf16.model.tensors[name])


def test_a_file_of_version_1_is_the_same_model(model, path, tmp_path):
    """As the first release wrote them: tensors in their own shapes, in any order."""
    old = tmp_path / "old.safetensors"
    new = read_engine_file(path)
    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
    save_file(dict(model.tensors), old, metadata | {"format_version": "1"})
    read = read_engine_file(old, verify=True)
    assert read.digest == new.digest
    for name, tensor in new.stored.items():
        np.testing.assert_array_equal(read.stored[name].data, tensor.data)


@pytest.mark.parametrize("dtype", ["f32", "bf16", "int8"])
@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_is_read_back_and_verified(version, dtype, tmp_path):
    model, path = tiny.make_model(version=version), tmp_path / "tiny.safetensors"
    written = write_engine_file(path, model, dtype, model.digest())
    read = read_engine_file(path, verify=True)
    assert read.model.config == model.config
    assert read.model.config.backbone.version == version
    assert read.digest == written.digest
    assert (read.digest == model.digest()) == (dtype == "f32")
    data = bytearray(path.read_bytes())
    path.write_bytes(data[:-200])
    assert "was it cut short? copy it again, or export it again" in refusal(path)
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    assert "copy it again, or export it again" in refusal(path, verify=True)


def test_a_file_does_not_pass_for_another_version(tmp_path):
    path = tmp_path / "tiny.safetensors"
    model = tiny.make_model(version="x060")
    write_engine_file(path, model, "f32", model.digest())

    def change(metadata, _):
        eagle = tiny.make_model(version="x052").config
        metadata["config"] = canonical_json(eagle.to_json())
        metadata["digest"] = model_digest(metadata["weights_sha256"], eagle, model.calibration)

    rewrite(path, change)
    message = refusal(path)
    assert "att.time_mix_k is missing" in message
    assert "att.time_maa_w2 is unexpected" in message


def test_tiles_begin_at_lines_of_the_cache(path):
    for name, tensor in read_engine_file(path).stored.items():
        assert tensor.data.ctypes.data % (64 if tensor.data.ndim > 3 else 4) == 0, name


def test_reading_copies_no_matrix(model, path):
    """The file is mapped; writing to it is impossible."""
    for tensor in read_engine_file(path).stored.values():
        assert not tensor.data.flags.owndata
        assert not tensor.data.flags.writeable


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
    with pytest.raises(ConfigError, match=r"dtype is 'int4', expected one of f32, bf16, int8"):
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
        ("format_version", "3", "format version 3 is newer than 2; upgrade gooseguard"),
        ("format_version", "0", "format version is '0', expected 2"),
        ("format_version", "one", "format version is 'one', expected 2"),
        ("dtype", "int4", "dtype is 'int4', expected one of f32, bf16, int8; upgrade gooseguard"),
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
    assert "categories.bias is stored as F16, expected F32" in refusal(path)


def test_altered_weights_are_found_on_request(path):
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    read_engine_file(path)
    assert "the weights were altered after export" in refusal(path, verify=True)


def test_weights_beyond_the_channels_are_found_on_request(model, tmp_path):
    """A head of 32 and a rank of 8 leave 24 channels of a tile that nothing reads."""
    path = tmp_path / "tiny.safetensors"
    write_engine_file(path, model, "f32", model.digest())

    def change(_, tensors):
        tensors["backbone.blocks.1.att.w1"][0, 0, 31, 0] = 1.0

    rewrite(path, change)
    read_engine_file(path)
    assert "att.w1 has weights where there is no channel" in refusal(path, verify=True)


def test_weights_that_are_not_finite_are_found_on_request(path):
    rewrite(path, lambda _, tensors: tensors["categories.bias"].fill(math.nan))
    assert "categories.bias holds a number that is not finite" in refusal(path, verify=True)
