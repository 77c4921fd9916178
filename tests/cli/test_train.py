"""The verb `train` with wrong input: one line, exit 2. That it trains is tested in training/test_run.py."""

import subprocess
import sys

import pytest

pytest.importorskip("torch")

RECIPE = 'name = "tiny"\nversion = "1"\n[data]\n'


def train(folder, recipe, *options):
    path = folder / "recipe.toml"
    path.write_text(recipe, "utf-8")
    command = [sys.executable, "-m", "gooseguard", "train", str(path), "--output", str(folder / "run")]
    return subprocess.run([*command, *options], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("recipe", "options", "message"),
    [
        ("name = ", (), "not valid TOML"),
        (RECIPE, (), "root is missing"),
        (RECIPE + 'rot = "x"\n', (), "unknown key 'rot'; expected one of"),
        (RECIPE, ("--set", "data.root"), "expected key=value"),
        (RECIPE, ("--set", "data.root=x", "--set", "model.n_layer=two"), "n_layer is 'two', expected int"),
        (RECIPE, ("--set", "data.root=nowhere"), "no such file under the folder of the sets"),
    ],
)
def test_one_line_says_what_is_wrong(tmp_path, recipe, options, message):
    done = train(tmp_path, recipe, *options)
    assert done.returncode == 2, done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert message in line
    assert done.stdout == ""
    assert not (tmp_path / "run" / "checkpoint").exists()
