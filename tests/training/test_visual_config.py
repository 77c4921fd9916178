from pathlib import Path

import pytest

from gooseguard.core.config import read_recipe
from gooseguard.core.errors import ArtefactError, ConfigError
from gooseguard.training.answer_loop import TuneConfig
from gooseguard.training.visual_config import Learn, VisualTuneConfig


def test_wrong_recipes():
    paths = {"base": "a", "data": "b", "images": "c"}
    for changes, found in (
        ({"name": "a b"}, "name is 'a b'"),
        ({"val_fraction": 1.0}, "val_fraction is 1.0"),
        ({"loop": TuneConfig(is_sharded=True)}, "is_sharded"),
    ):
        with pytest.raises(ConfigError, match=found):
            VisualTuneConfig(**{"name": "x", **paths, **changes})
    with pytest.raises(ArtefactError, match="image_place is 'left'"):
        VisualTuneConfig("x", **paths, image_place="left")


@pytest.mark.parametrize(
    ("stage", "learn", "place"), [("projector", Learn.PROJECTOR, "first"), ("tune", Learn.ALL, "middle")]
)
def test_the_recipes_that_ship_are_whole(stage, learn, place):
    path = Path(__file__).parents[2] / "recipes" / f"mod-visualrwkv-{stage}.toml"
    given = [f"{name}=somewhere" for name in ("base", "data", "images", "tower")]
    config = read_recipe({"visual": VisualTuneConfig}, "train", path, given)
    assert (config.learn, config.image_place, config.loop.step_rows) == (learn, place, 128)
