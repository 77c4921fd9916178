"""Recipes: TOML to dataclass, overrides, and the messages for what is wrong."""

from dataclasses import dataclass, field
from enum import StrEnum

import pytest

from gooseguard.core.config import build_config, read_config, read_recipe, without_paths
from gooseguard.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Size:
    n_layer: int = 3
    ratio: float = 0.5
    scale: float | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    name: str
    data: Size
    groups: tuple[str, ...] = ("open",)
    shuffle: bool = True
    limits: tuple[float, ...] | None = None
    other: Size = field(default_factory=Size)
    version: str = "0"


GOOD = """
name = "starter"
groups = ["open", "weak"]
[data]
n_layer = 12
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "starter.toml"
    path.write_text(GOOD, "utf-8")
    return path


def test_reads_nested_tables_and_fills_defaults(recipe):
    assert read_config(Recipe, recipe) == Recipe(
        name="starter",
        data=Size(12, 0.5, None),
        groups=("open", "weak"),
        shuffle=True,
        limits=None,
        other=Size(),
    )


@pytest.mark.parametrize(
    ("override", "read", "expected"),
    [
        ("name=other", lambda c: c.name, "other"),
        ('name="quoted"', lambda c: c.name, "quoted"),
        ("name=a=b", lambda c: c.name, "a=b"),
        ("name=", lambda c: c.name, ""),
        ("name=../data/text", lambda c: c.name, "../data/text"),
        # A key that holds text takes what was typed, also where that happens to be TOML of another kind.
        ("version=1.10", lambda c: c.version, "1.10"),
        ("version=2026-01-01", lambda c: c.version, "2026-01-01"),
        ("version=true", lambda c: c.version, "true"),
        ("name=7#3", lambda c: c.name, "7#3"),
        ("data.n_layer=24", lambda c: c.data.n_layer, 24),
        ("data.n_layer=1_000", lambda c: c.data.n_layer, 1000),
        ("other.n_layer=5", lambda c: c.other.n_layer, 5),
        ("data.ratio=1", lambda c: c.data.ratio, 1.0),
        ("data.ratio=2e-3", lambda c: c.data.ratio, 0.002),
        ("data.scale=2", lambda c: c.data.scale, 2.0),
        ("shuffle=false", lambda c: c.shuffle, False),
        ('groups=["weak"]', lambda c: c.groups, ("weak",)),
        ("groups=[]", lambda c: c.groups, ()),
        ("limits=[1, 0.5]", lambda c: c.limits, (1.0, 0.5)),
        ("data={n_layer = 2}", lambda c: c.data, Size(2)),
    ],
)
def test_overrides(recipe, override, read, expected):
    value = read(read_config(Recipe, recipe, [override]))
    assert value == expected
    assert type(value) is type(expected)


def test_the_last_override_wins_and_leaves_the_rest(recipe):
    config = read_config(Recipe, recipe, ["data.n_layer=1", "data.ratio=0.1", "data.n_layer=2"])
    assert config.data == Size(2, 0.1)
    assert config.name == "starter"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("nothing", r"--set 'nothing': expected key=value, such as data\.root=\.\./data"),
        ("=3", r"--set '=3': expected key=value"),
        ("", r"--set '': expected key=value"),
        ("name.first=x", r"--set 'name\.first=x': name is a value, not a table"),
        ("data.n_layers=3", r"\.toml: data: unknown key 'n_layers'; expected one of n_layer, ratio, scale"),
        ("data.n_layers=3", r"; did you mean 'n_layer'\?$"),
        ("nme=x", r"recipe starter\.toml: unknown key 'nme'.*did you mean 'name'"),
        ("data..n_layer=3", r"data: unknown key ''"),
        ("data.n_layer=many", r"recipe starter\.toml: data: n_layer is 'many', expected int"),
        ("data.n_layer=2.5", r"n_layer is 2\.5, expected int"),
        ("data.n_layer=true", r"n_layer is True, expected int"),
        ("data.ratio=true", r"ratio is True, expected float"),
        ("data.scale=much", r"scale is 'much', expected float"),
        ("shuffle=1", r"shuffle is 1, expected bool"),
        ("shuffle=yes", r"shuffle is 'yes', expected bool"),
        ("groups=weak", r"groups is 'weak', expected a list"),
        ("groups=[1]", r"groups is 1, expected str"),
        ("limits=3", r"limits is 3, expected a list"),
        ("data=3", r"data is 3, expected a table"),
    ],
)  # fmt: skip
def test_a_wrong_override_says_what_was_expected(recipe, override, message):
    with pytest.raises(ConfigError, match=message):
        read_config(Recipe, recipe, [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"recipe starter\.toml: name is missing; add it or pass --set name=…"),
        ('name = "a"', r"data is missing; add it or pass --set data=…"),
        ("name = 3\n[data]", r"name is 3, expected str"),
        ("name = true\n[data]", r"name is True, expected str"),
        ('name = "a"\ndata = []', r"data is \[\], expected a table"),
        ("name = \n", r"not valid TOML: .*line 1"),
    ],
)
def test_a_wrong_recipe_says_where(tmp_path, text, message):
    path = tmp_path / "starter.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=message):
        read_config(Recipe, path)


def test_what_is_missing_can_come_from_the_command_line(tmp_path):
    path = tmp_path / "empty.toml"
    path.write_text("", "utf-8")
    config = read_config(Recipe, path, ["name=a", "data.n_layer=1"])
    assert config == Recipe("a", Size(1))


def test_a_recipe_that_cannot_be_read(tmp_path):
    with pytest.raises(
        ConfigError, match=r"none\.toml: cannot be read \(FileNotFoundError\); expected a TOML file"
    ):
        read_config(Recipe, tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"cannot be read \(IsADirectoryError\)"):
        read_config(Recipe, tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"binary\.toml: cannot be read \(UnicodeDecodeError\)"):
        read_config(Recipe, tmp_path / "binary.toml")


def test_build_config_reads_a_table_as_a_manifest_holds_it():
    assert build_config(Size, {"n_layer": 7, "ratio": 1}, "config.json") == Size(7, 1.0)
    with pytest.raises(ConfigError, match=r"^config\.json: unknown key 'layers'"):
        build_config(Size, {"layers": 7}, "config.json")


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


@dataclass(frozen=True, slots=True)
class Painted:
    colour: Colour = Colour.RED
    pairs: tuple[tuple[int, ...], ...] = ()


def test_words_from_a_list():
    assert build_config(Painted, {"colour": "green"}, "x").colour is Colour.GREEN
    with pytest.raises(
        ConfigError, match="x: colour is 'gren', expected one of red, green; did you mean 'green'"
    ):
        build_config(Painted, {"colour": "gren"}, "x")
    with pytest.raises(ConfigError, match="x: colour is 3, expected one of red, green"):
        build_config(Painted, {"colour": 3}, "x")


def test_lists_of_lists():
    assert build_config(Painted, {"pairs": [[1, 2], [3, 4]]}, "x").pairs == ((1, 2), (3, 4))


KINDS = {"painted": Painted, "recipe": Recipe}


@pytest.mark.parametrize(
    ("line", "overrides", "expected"),
    [
        ("", (), Recipe),
        ('kind = "recipe"', (), Recipe),
        ('kind = "painted"', (), "unknown key 'name'"),
        ('kind = "paint"', (), "kind is 'paint', expected painted, recipe; did you mean 'painted'"),
        ("kind = 3", (), "kind is 3, expected painted, recipe"),
        ("", ("kind=painted",), "unknown key 'groups'"),
    ],
)
def test_the_kind_of_a_recipe(tmp_path, line, overrides, expected):
    path = tmp_path / "starter.toml"
    good = GOOD.replace('name = "starter"', "") if overrides else GOOD
    path.write_text(f"{line}\n{good}", "utf-8")
    if isinstance(expected, type):
        assert isinstance(read_recipe(KINDS, "recipe", path, overrides), expected)
        return
    with pytest.raises(ConfigError, match=f"recipe starter.toml: {expected}"):
        read_recipe(KINDS, "recipe", path, overrides)


def test_where_files_lay_is_left_out_at_any_depth():
    table = {
        "name": "a/b", "root": "/data", "held_out": "/data/keys.txt", "groups": ("open", "weak"),
        "sources": ({"path": "down/a.csv", "mapping": "", "select": ("x",)},), "split": {"previous": "x/set"},
    }  # fmt: skip
    assert without_paths(table) == {
        "name": "a/b", "root": "", "held_out": "keys.txt", "groups": ["open", "weak"],
        "sources": [{"path": "a.csv", "mapping": "", "select": ["x"]}], "split": {"previous": "set"},
    }  # fmt: skip
    assert table["root"] == "/data"
