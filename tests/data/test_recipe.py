"""What a data recipe may say."""

import pytest

from gooseguard.core.config import read_config
from gooseguard.core.errors import ConfigError
from gooseguard.data.recipe import DataRecipe, HeldOutAction, NearDuplicates, resolve_paths

RECIPE = """
name = "mine"
[[sources]]
name = "csv"
path = "a.csv"
[duplicates]
near = "drop"
[[held_out]]
name = "suite"
path = "keys.txt"
action = "test"
[[plans]]
name = "balanced"
floors = { hate = 100 }
"""


def read(tmp_path, *overrides, text=RECIPE):
    path = tmp_path / "r.toml"
    path.write_text(text, "utf-8")
    return read_config(DataRecipe, path, overrides)


def test_reads_tables_and_lists(tmp_path):
    recipe = read(tmp_path)
    assert recipe.sources[0].path == "a.csv"
    assert recipe.duplicates.near is NearDuplicates.DROP
    assert recipe.held_out[0].action is HeldOutAction.TEST
    assert recipe.plans[0].floors == {"hate": 100}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sources=[]", "names no source"),
        ("duplicates.similarity=0.3", "similarity is 0.3"),
        ("duplicates.image_distance=9", "image_distance is 9"),
        ("shard_rows=0", "shard_rows is 0"),
        ("split.val_fraction=0.95", "leaves nothing"),
        ('plans=[{name = "original"}]', "original stands twice"),
        ('plans=[{name = "a b"}]', "expected a name of letters"),
        ('plans=[{name = "a", temperature = 2.0}]', "temperature is 2.0"),
        ('plans=[{name = "a", floors = {haet = 1}}]', "did you mean 'hate'"),
        ('plans=[{name = "a", floors = {hate = -1}}]', "floor of 'hate' is -1"),
        ('plans=[{name = "a", floors = {hate = "many"}}]', "floors.hate is 'many', expected int"),
        ('plans=[{name = "a", epochs = {x = -1.0}}]', "epochs of 'x' is -1.0"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, override, message):
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, override)


def test_paths_are_looked_for_beside_the_recipe(tmp_path):
    (tmp_path / "keys.txt").write_text("", "ascii")
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "a.csv").write_text("", "ascii")
    recipe = resolve_paths(read(tmp_path, "root=sets"), tmp_path)
    assert recipe.sources[0].path == str(tmp_path / "sets" / "a.csv")
    assert recipe.held_out[0].path == str(tmp_path / "keys.txt")
    # What is nowhere stays as it was said, for the error that names it.
    assert resolve_paths(read(tmp_path), tmp_path).sources[0].path == "a.csv"
