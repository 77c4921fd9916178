import sys

import pytest

from gooseguard.core.errors import ConfigError
from gooseguard.core.figure import COLOURS, DASHES, MARKERS, drawing

matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")


def draw(path, **options):
    with drawing(path, (2, 1), **options) as figure:
        figure.subplots().plot([0, 1], [1, 0], color=COLOURS[0], linestyle=DASHES[1], marker=MARKERS[0])


@pytest.mark.parametrize("name", ["a.png", "a.svg"])
def test_the_same_numbers_give_the_same_bytes(tmp_path, name):
    draw(tmp_path / name)
    first = (tmp_path / name).read_bytes()
    draw(tmp_path / name)
    assert (tmp_path / name).read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_size_and_style(tmp_path):
    before = dict(matplotlib.rcParams)
    draw(tmp_path / "a.png", dpi=50)
    # Width and height of a PNG's header.
    assert (tmp_path / "a.png").read_bytes()[16:24] == (100).to_bytes(4, "big") + (50).to_bytes(4, "big")
    with drawing(tmp_path / "b.png", (2, 1), style={"font.size": 7, "axes.labelcolor": "red"}):
        assert matplotlib.rcParams["font.size"] == 7
        assert matplotlib.rcParams["axes.labelcolor"] == "red"
    assert dict(matplotlib.rcParams) == before


def test_what_fails_leaves_the_old_figure(tmp_path):
    draw(tmp_path / "a.png")
    old = (tmp_path / "a.png").read_bytes()
    with pytest.raises(KeyError), drawing(tmp_path / "a.png", (2, 1)):
        raise KeyError
    assert (tmp_path / "a.png").read_bytes() == old
    with pytest.raises(ValueError, match="xyz"):
        draw(tmp_path / "a.xyz")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_without_matplotlib_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match="figures need matplotlib"):
        draw(tmp_path / "a.png")
