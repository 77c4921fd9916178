"""The verb `experiment`: what is wrong is told before any work; and `fusion`, tiny, from end to end."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

TINY = """
name = "tiny"
seeds = [0]
strengths = []
n_resamples = 20
[items]
n_train = 48
n_val = 48
n_test = 24
[towers]
n_item = 48
width = 32
n_layer = 1
n_head = 2
patch = 16
n_text_layer = 1
vocab_size = 300
text = {epochs = 1, batch = 24}
image = {epochs = 1, batch = 24}
[heads]
parameters = 3000
n_head = 1
fit = {epochs = 1, batch = 24}
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TINY, "utf-8")
    return str(path)


def test_help_has_examples(program):
    status, out, _ = program("experiment", "fusion", "--help")
    assert status == 0
    assert "gooseguard experiment fusion recipes/fusion-experiment.toml" in " ".join(out.split())


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seeds=[1,1]", "error: recipe: seeds are [1, 1], expected one at least, none twice"),
        ("items.n_trian=5", "unknown key 'n_trian'"),
        ("strengths=[9]", "among 1, 2, 3, 4, 5"),
    ],
)
def test_a_wrong_recipe_is_told_in_one_line(program, recipe, override, message):
    status, out, err = program("experiment", "fusion", recipe, "--set", override)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_fusion(program, recipe, tmp_path):
    folder = tmp_path / "run"
    status, out, err = program("experiment", "fusion", recipe, "--output", str(folder))
    assert status == 0, err
    assert out.startswith("> A controlled benchmark")
    assert "### Balanced training: ROC AUC" in out
    assert str(folder / "report") in out
    phases = err.splitlines()
    assert phases[0] == "draw items, teach towers"
    assert "fit head 6 of 6: asymmetric, imbalanced, seed 0" in phases
    # Again, from what is kept: the same, and nothing is fitted.
    status, out, err = program("experiment", "fusion", recipe, "--output", str(folder), "--json")
    assert status == 0, err
    assert "fit head" not in err
    document = json.loads(out)
    assert len(document["table"]) == 96
    kept = json.loads(Path(document["files"]["results.json"]).read_text("utf-8"))
    assert kept == {key: value for key, value in document.items() if key != "files"}
    status, _, err = program("experiment", "fusion", recipe, "--output", str(folder), "--set", "seed=1")
    assert status == 2
    assert "was begun with another recipe" in err
