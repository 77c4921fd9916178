"""The verb `serve`: config and its errors; the server itself is tested in tests/serving."""

import pytest

from gooseguard.cli.serve import read_serve_config
from gooseguard.core.errors import ConfigError


def test_without_a_file_the_defaults_and_settings():
    config = read_serve_config(None, ("port=9000", "scheduler.deadline_s=5"))
    assert (config.host, config.port, config.policy) == ("127.0.0.1", 9000, "default")
    assert config.scheduler.deadline_s == 5.0


def test_paths_are_taken_from_beside_the_file(tmp_path):
    (tmp_path / "mine.toml").write_text("", "utf-8")
    path = tmp_path / "serve.toml"
    path.write_text('policy = "mine.toml"\npolicies = ["strict"]\nmodel = "absent.safetensors"', "utf-8")
    config = read_serve_config(path)
    assert config.policy == str(tmp_path / "mine.toml")
    assert config.policies == ("strict",)
    assert config.model == "absent.safetensors"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("prot=1", "did you mean 'port'"),
        ("limits.items=many", "expected int"),
        ("port", "expected key=value"),
    ],
)
def test_wrong_settings_are_told(setting, message):
    with pytest.raises(ConfigError, match=message):
        read_serve_config(None, (setting,))


def test_a_model_that_is_not_there_ends_it(program, tmp_path):
    status, _, stderr = program("serve", "--set", f"model={tmp_path / 'absent.safetensors'}")
    assert status == 2
    assert "absent.safetensors" in stderr
