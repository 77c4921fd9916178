"""The verb `export`."""

from __future__ import annotations

import json

from safetensors.numpy import save_file

from gooseguard.core.manifest import Manifest, digest_file, write_manifest


def write_checkpoint(folder, model):
    """Write a checkpoint folder as docs/formats.md says."""
    folder.mkdir()
    save_file(dict(model.tensors), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(model.config.to_json()))
    (folder / "calibration.json").write_text(json.dumps(model.calibration.to_json()))
    (folder / "card.json").write_text(json.dumps(model.card))
    (folder / "vocabulary.json").write_text(model.tokenizer.to_json())
    files = {entry.name: digest_file(entry) for entry in folder.iterdir()}
    write_manifest(folder, Manifest("checkpoint", 1, {}, files=files))


def test_a_checkpoint_becomes_a_model_that_scores(program, policy, tiny_model, tmp_path):
    write_checkpoint(tmp_path / "run", tiny_model)
    output = tmp_path / "tiny.safetensors"
    status, out, err = program("export", str(tmp_path / "run"), str(output), "--dtype", "f32", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out) == {"output": str(output), "dtype": "f32", "bytes": output.stat().st_size}
    scored = program("score", "hello", "--json", "--model", str(output), "--policy", policy, "--threads", "1")
    assert json.loads(scored[1])["model"] == f"tiny@{tiny_model.digest()[:12]}"


def test_dtypes_are_handed_on(program, tmp_path):
    asked = []

    def write(checkpoint, output, dtype):
        asked.append((checkpoint, output, dtype))
        output.write_bytes(b"12345")

    output = tmp_path / "out"
    outcome = program("export", str(tmp_path), str(output), "--dtype", "bf16", export_checkpoint=write)
    assert outcome == (0, f"{output}: 5 bytes, bf16\n", "")
    assert asked == [(tmp_path, output, "bf16")]


def test_wrong_uses(program, tmp_path):
    missing = tmp_path / "none"
    assert program("export", str(missing), "out") == (
        2,
        "",
        f"error: {missing} is no folder; expected a checkpoint that train wrote\n",
    )
    status, _, err = program("export", str(tmp_path), "out", "--dtype", "f16")
    assert status == 2
    assert err.startswith(
        "error: invalid value for '--dtype': 'f16' is not one of 'f32', 'bf16', 'int8'; see "
    )
    status, _, err = program("export", str(tmp_path), str(tmp_path / "out"))
    assert (status, err.count("\n")) == (2, 1)
    assert "manifest.json" in err
    status, _, err = program("export")
    assert status == 2
    assert err.startswith("error: missing argument 'CHECKPOINT'")
