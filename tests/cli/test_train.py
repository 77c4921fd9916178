"""The verb `train`: what is wrong is told in one line before any work is done."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pyarrow")

from gooseguard.cli import train as verb
from gooseguard.data.build import BuildConfig
from gooseguard.data.shards import write_shards
from gooseguard.metrics.ranking import roc_auc

_path = Path(__file__).parents[1] / "contracts" / "easy_texts.py"
_spec = importlib.util.spec_from_file_location("easy_texts", _path)
easy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(easy)

RECIPE = """
name = "tiny"
version = "1"
[data]
root = "nowhere"
groups = ["open"]
[loop]
warmup = 1
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE, "utf-8")
    return path


@pytest.fixture
def refused(program, tmp_path):
    """Run `train`, which must refuse in one line; gives the line without "error: "."""

    def run(*arguments):
        status, out, err = program("train", *map(str, arguments), "--output", str(tmp_path / "run"))
        assert (status, out) == (2, "")
        # Phases that began before may have been told.
        *_, line = err.splitlines()
        assert line.startswith("error: ")
        return line.removeprefix("error: ")

    return run


def test_a_recipe_that_is_not_there(refused, tmp_path):
    path = tmp_path / "none.toml"
    assert refused(path) == f"recipe {path}: cannot be read (FileNotFoundError); expected a TOML file"
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_is_no_toml(refused, recipe):
    recipe.write_text("name = ", "utf-8")
    assert refused(recipe).startswith(f"recipe {recipe}: not valid TOML: ")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("warmpu = 3", "unknown key 'warmpu'"),
        ("epochs = 3", "unknown key 'epochs'"),
    ],
)
def test_an_unknown_key(refused, recipe, line, told):
    recipe.write_text(f"{RECIPE}{line}\n", "utf-8")
    message = refused(recipe)
    assert message.startswith(f"recipe tiny.toml: loop: {told}; expected one of phases, longest, warmup, ")
    assert ("did you mean 'warmup'?" in message) == (line == "warmpu = 3")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loop.warmup", "--set 'loop.warmup': expected key=value, such as data.root=../data"),
        ("=3", "--set '=3': expected key=value, such as data.root=../data"),
        ("name.first=x", "--set 'name.first=x': name is a value, not a table"),
        ("loop.warmup=soon", "recipe tiny.toml: loop: warmup is 'soon', expected int"),
        ("modle.n_layer=2", "recipe tiny.toml: unknown key 'modle'; expected one of name, version, data, "),
        ("model=2", "recipe tiny.toml: model is 2, expected a table"),
    ],
)
def test_overrides_that_are_wrong(refused, recipe, override, message):
    assert refused(recipe, "--set", override).startswith(message)


def test_a_recipe_without_data(refused, recipe):
    recipe.write_text('name = "tiny"\nversion = "1"\n', "utf-8")
    assert refused(recipe).startswith("recipe tiny.toml: data is missing; add it or pass --set data=")


def test_a_folder_without_the_sets(refused, recipe, tmp_path):
    message = refused(recipe, "--set", f"data.root={tmp_path}")
    assert "no such file under the folder of the sets" in message
    assert not (tmp_path / "run" / "dataset").exists()


def test_a_dataset_of_other_settings(refused, recipe, tmp_path):
    config = asdict(BuildConfig("elsewhere", ("open",), seed=4, val_fraction=0.2))
    (tmp_path / "run").mkdir()
    write_shards(tmp_path / "run" / "dataset", {}, config, {}, {})
    message = refused(recipe)
    # Where the sets lay is no difference.
    assert message == (
        f"{tmp_path / 'run' / 'dataset'}: was built with other settings (seed, val_fraction); "
        "give another --output, or remove it"
    )


def test_a_dataset_that_is_there_is_taken(refused, recipe, tmp_path):
    (tmp_path / "run").mkdir()
    config = asdict(BuildConfig("elsewhere", ("open",)))
    write_shards(tmp_path / "run" / "dataset", {}, config, {}, {})
    assert "no category has 50 positive validation rows" in refused(recipe)


def test_no_recipe_at_all(program):
    status, _, err = program("train")
    assert status == 2
    assert err.startswith("error: missing argument 'RECIPE'")


def test_held_out_keys_are_looked_for_beside_the_recipe(recipe, tmp_path):
    (tmp_path / "keys.txt").write_text("")
    assert verb._read_recipe(recipe, ["data.held_out=keys.txt"]).data.held_out == str(tmp_path / "keys.txt")
    absolute = str(tmp_path / "other.txt")
    assert verb._read_recipe(recipe, [f"data.held_out={absolute}"]).data.held_out == absolute
    assert verb._read_recipe(recipe, []).data.held_out == ""


def test_the_teacher_gives_its_categories_in_the_order_asked_for(tmp_path):
    pytest.importorskip("sklearn")
    from gooseguard.data.shards import read_columns

    dataset = easy.write_dataset(tmp_path / "dataset", n_train=300)
    # Against the order of the taxonomy, and so of the baseline.
    categories = ["insult", "toxicity"]
    train, val = (read_columns(dataset, split, categories) for split in ("train", "val"))
    scores = verb.tfidf_teacher(train, val, categories)
    assert scores.shape == (375, 2)
    for k, category in enumerate(categories):
        has_sign = [float(any(sign in text for sign in easy.SIGNS[category])) for text in train.texts]
        assert roc_auc(np.array(has_sign), scores[:, k]) > 0.95


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("name=my model", "name is 'my model', expected a name without spaces"),
        ("version=", "version is empty"),
    ],
)
def test_a_name_or_version_that_cannot_be_written_is_refused_at_once(recipe, refused, override, message):
    assert message in refused(recipe, "--set", override)
