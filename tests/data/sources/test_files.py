"""Which files a source consists of."""

import pytest

from gooseguard.core.errors import ConfigError
from gooseguard.data.sources.files import find_files, need_files


def test_files_are_in_order_of_their_names_and_others_are_left_out(tmp_path):
    for name in ("b/2.csv", "a.csv", "b/1.csv", "a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    found = [path.relative_to(tmp_path).as_posix() for path in find_files(tmp_path, [".csv"], "mine")]
    assert found == ["a.csv", "b/1.csv", "b/2.csv"]
    assert find_files(tmp_path / "a.txt", [".csv"], "mine") == (tmp_path / "a.txt",)


def test_needed_files_are_found_wherever_they_lie(tmp_path):
    (tmp_path / "Data").mkdir()
    (tmp_path / "Data" / "dataset.json").write_text("{}")
    assert need_files(tmp_path, ["dataset.json"], "x") == (tmp_path / "Data" / "dataset.json",)
    with pytest.raises(ConfigError, match=r"x: .* has no splits.json; expected dataset.json, splits.json"):
        need_files(tmp_path, ["dataset.json", "splits.json"], "x")
    with pytest.raises(ConfigError, match="is no folder"):
        need_files(tmp_path / "none", ["a"], "x")
