from pathlib import Path

import pytest

from gooseguard.core.config import read_recipe
from gooseguard.core.errors import ConfigError
from gooseguard.training.answer_loop import TuneConfig
from gooseguard.training.llava_config import LlavaTuneConfig

PATHS = {"base": "a", "data": "b", "images": "c"}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"name": "a b"}, "name is 'a b'"),
        ({"rank": 0}, "rank is 0"),
        ({"val_fraction": 1.0}, "val_fraction is 1.0"),
        ({"loop": TuneConfig(is_sharded=True)}, "is_sharded"),
    ],
)
def test_wrong_recipes(changes, found):
    with pytest.raises(ConfigError, match=found):
        LlavaTuneConfig(**{"name": "x", **PATHS, **changes})


def test_the_recipe_that_ships_is_whole():
    path = Path(__file__).parents[2] / "recipes" / "mod-llava.toml"
    config = read_recipe({"llava": LlavaTuneConfig}, "train", path, [f"{key}=x" for key in PATHS])
    assert (config.rank, config.loop.step_rows, config.loop.longest) == (128, 128, 2048)
