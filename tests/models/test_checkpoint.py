import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.numpy import load_file, save_file  # noqa: E402

from gooseguard.backends import load  # noqa: E402
from gooseguard.core.content import Content  # noqa: E402
from gooseguard.core.errors import ArtefactError  # noqa: E402
from gooseguard.core.manifest import digest_file  # noqa: E402
from gooseguard.engine.export import export  # noqa: E402
from gooseguard.models.checkpoint import read_checkpoint  # noqa: E402

_path = Path(__file__).parents[1] / "contracts" / "tiny_text_model.py"
_spec = importlib.util.spec_from_file_location("tiny_text_model", _path)
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)

FILES = {"model.safetensors", "config.json", "calibration.json", "vocabulary.json", "card.json"}


@pytest.fixture(scope="module")
def model():
    return tiny.make_model()


@pytest.fixture
def folder(model, tmp_path):
    return tiny.write(tmp_path / "run" / "checkpoint", model)


def refusal(folder, *, verify=False):
    with pytest.raises(ArtefactError) as caught:
        read_checkpoint(folder, verify=verify)
    return str(caught.value)


def test_everything_comes_back(model, folder):
    checkpoint = read_checkpoint(folder, verify=True)
    manifest, content = checkpoint.manifest, checkpoint.content
    assert {entry.name for entry in folder.iterdir()} == FILES | {"manifest.json"}
    assert {entry.name for entry in folder.parent.iterdir()} == {"checkpoint"}
    assert manifest.kind == "checkpoint"
    assert manifest.format_version == 1
    assert manifest.config == {"seed": 3, "loop": {"rate": 0.5}}
    assert manifest.inputs == {"dataset": "ab" * 32}
    assert manifest.files == {name: digest_file(folder / name) for name in FILES}
    assert manifest.facts == {"name": "tiny-text", "digest": model.digest()}
    assert content.config == model.config
    assert content.calibration.to_json() == model.calibration.to_json()
    assert content.tokenizer.to_json() == model.tokenizer.to_json()
    assert content.card == model.card
    assert content.digest() == model.digest()
    for name, tensor in checkpoint.load().state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), model.tensors[name])


def test_files_are_as_documented(model, folder):
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert config["architecture"] == "mod-rwkv"
    assert config["backbone"]["n_embd"] == 64
    assert config["categories"] == list(tiny.CATEGORIES)
    assert json.loads((folder / "calibration.json").read_text("utf-8"))["insult"] == {
        "scale": 1.0,
        "bias": -1.0,
    }
    assert json.loads((folder / "card.json").read_text("utf-8")) == tiny.CARD
    assert (folder / "vocabulary.json").read_text("utf-8") == model.tokenizer.to_json()
    assert "backbone.emb.weight" in load_file(folder / "model.safetensors")


@pytest.mark.parametrize(("dtype", "tolerance"), [("f32", 1e-4), ("bf16", 2e-2)])
def test_torch_logits_through_calibration_are_the_engine_s_scores(model, folder, tmp_path, dtype, tolerance):
    checkpoint = read_checkpoint(folder)
    export(folder, tmp_path / "engine.safetensors", dtype)
    scorer = load(tmp_path / "engine.safetensors", threads=2)
    texts = ["you moron", "the oron. " * 40, "x", "good day to you", "日本"]
    ids = [model.tokenizer.encode(text) for text in texts]
    tokens = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.long)
    for row, sequence in zip(tokens, ids, strict=True):
        row[: len(sequence)] = torch.tensor(sequence)
    with torch.no_grad():
        logits = checkpoint.load()(tokens, torch.tensor([len(sequence) for sequence in ids]))
    scale, bias = (torch.tensor(values) for values in (model.calibration.scale, model.calibration.bias))
    expected = torch.sigmoid(logits.double() * scale + bias).numpy()
    results = scorer.score([Content.from_text(text) for text in texts])
    found = np.array([[scores.values[category] for category in tiny.CATEGORIES] for scores in results])
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    assert found.std(axis=0).min() > 0.01


def test_a_checkpoint_is_replaced_and_other_folders_are_not(model, folder, tmp_path):
    other = tiny.make_model(2)
    tiny.write(folder, other)
    assert read_checkpoint(folder, verify=True).content.digest() == other.digest()
    assert {entry.name for entry in folder.parent.iterdir()} == {"checkpoint"}
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("keep")
    with pytest.raises(ArtefactError, match="exists and is no checkpoint; choose another folder"):
        tiny.write(tmp_path / "notes", model)
    assert (tmp_path / "notes" / "a.txt").read_text() == "keep"


def test_what_a_killed_run_left_is_written_over(model, tmp_path):
    (tmp_path / "checkpoint.partial").mkdir()
    (tmp_path / "checkpoint.partial" / "model.safetensors").write_bytes(b"half")
    folder = tiny.write(tmp_path / "checkpoint", model)
    read_checkpoint(folder, verify=True)
    assert {entry.name for entry in tmp_path.iterdir()} == {"checkpoint"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"calibration": {"toxicity": {"scale": 1.0, "bias": 0.0}}}, "'insult' is missing"),
        ({"name": ""}, "name is ''"),
        ({"card": {"loss": math.nan}}, "cannot be written"),
        ({"card": {"path": Path("x")}}, "cannot be written"),
        ({"config": {"rate": math.inf}}, "cannot be written"),
    ],
)
def test_write_refuses_and_leaves_nothing(model, tmp_path, changes, message):
    with pytest.raises(ArtefactError, match=message):
        tiny.write(tmp_path / "checkpoint", model, **changes)
    assert list(tmp_path.iterdir()) == []


def test_write_refuses_weights_that_are_not_finite(model, tmp_path):
    broken = tiny.make_model()
    broken.tensors["categories.bias"][0] = math.inf
    with pytest.raises(ArtefactError, match=r"categories\.bias holds a number that is not finite"):
        tiny.write(tmp_path / "checkpoint", broken)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_one(model, folder):
    with pytest.raises(ArtefactError, match="cannot be written"):
        tiny.write(folder, tiny.make_model(2), card={"loss": math.nan})
    assert read_checkpoint(folder, verify=True).content.digest() == model.digest()
    assert {entry.name for entry in folder.parent.iterdir()} == {"checkpoint"}


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert f"{name} is missing" in refusal(folder)


def test_no_manifest_is_no_checkpoint(folder):
    (folder / "manifest.json").unlink()
    assert "no manifest.json" in refusal(folder)


def test_a_newer_format_is_refused(folder):
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 2'))
    assert "format version 2 is newer than 1; upgrade gooseguard" in refusal(folder)


def test_an_altered_file_is_found_on_request(folder):
    (folder / "card.json").write_text("{}")
    assert read_checkpoint(folder).content.card == {}
    assert "card.json was altered" in refusal(folder, verify=True)


def test_all_that_is_wrong_is_listed(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"categories": ["toxicty"]}))
    (folder / "card.json").write_text("[]")
    (folder / "vocabulary.json").write_text("{}")
    tensors = load_file(folder / "model.safetensors")
    tensors["categories.bias"][1] = math.nan
    save_file(tensors, folder / "model.safetensors")
    message = refusal(folder)
    assert message.startswith(f"checkpoint {folder}: ")
    for part in (
        "unknown category 'toxicty'; did you mean 'toxicity'?",
        "card.json is no JSON object",
        "vocabulary is not a gooseguard-vocabulary file",
        "categories.bias holds a number that is not finite",
    ):
        assert part in message


def test_tensors_calibration_and_vocabulary_must_fit_the_config(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["backbone.ln_out.bias"]
    tensors["categories.weight"] = np.zeros((2, 192), np.float32)
    tensors["teacher"] = np.zeros(1, np.float32)
    save_file(tensors, folder / "model.safetensors")
    calibration = json.loads((folder / "calibration.json").read_text())
    del calibration["insult"]
    (folder / "calibration.json").write_text(json.dumps(calibration))
    vocabulary = json.loads((folder / "vocabulary.json").read_text())
    (folder / "vocabulary.json").write_text(json.dumps(vocabulary | {"merges": []}))
    message = refusal(folder)
    for part in (
        "ln_out.bias is missing",
        "categories.weight is (2, 192), expected (3, 192)",
        "teacher is unexpected",
        "'insult' is missing",
        "vocabulary is not the one the config names",
    ):
        assert part in message


@pytest.mark.parametrize("name", ["config.json", "calibration.json", "card.json", "vocabulary.json"])
def test_no_json_is_refused(folder, name):
    (folder / name).write_text("{")
    assert "is not JSON" in refusal(folder)


def test_weights_that_are_no_float32_safetensors_are_refused(model, folder):
    path = folder / "model.safetensors"
    save_file({name: tensor.astype(np.float64) for name, tensor in model.tensors.items()}, path)
    assert "categories.bias is float64, expected float32" in refusal(folder)
    path.write_bytes(path.read_bytes()[:-1])
    assert "model.safetensors cannot be read as float32 safetensors" in refusal(folder)
    module = importlib.import_module("safetensors.torch")
    module.save_file(
        {name: torch.from_numpy(tensor).bfloat16() for name, tensor in model.tensors.items()}, path
    )
    assert "float32" in refusal(folder)
