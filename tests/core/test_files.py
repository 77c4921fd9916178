import subprocess
import sys

import pytest

from gooseguard.core.files import new_folder, replacing


def test_a_file_takes_the_place_of_the_one_before(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("before", "utf-8")
    with replacing(path) as partial:
        partial.write_text("after", "utf-8")
        assert path.read_text("utf-8") == "before"
    assert path.read_text("utf-8") == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_all_as_it_was(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("before", "utf-8")
    with pytest.raises(ValueError, match="half"), replacing(path) as partial:
        partial.write_text("af", "utf-8")
        raise ValueError("half")
    assert path.read_text("utf-8") == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_written_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.json"):
        pass


def test_two_processes_do_not_write_into_the_same_file(tmp_path):
    path = tmp_path / "a.json"
    code = (
        "import pathlib, sys; from gooseguard.core.files import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as partial: partial.write_text('theirs')"
    )
    with replacing(path) as partial:
        partial.write_text("ours", "utf-8")
        subprocess.run([sys.executable, "-c", code, str(path)], check=True)
        assert path.read_text("utf-8") == "theirs"
        assert partial.read_text("utf-8") == "ours"
    assert path.read_text("utf-8") == "ours"


def test_a_folder_is_there_when_it_is_whole(tmp_path):
    path = tmp_path / "a" / "b"
    with new_folder(path) as folder:
        (folder / "x").write_text("x", "utf-8")
        assert not path.exists()
    assert [file.name for file in path.iterdir()] == ["x"]
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="half"), new_folder(tmp_path / "a") as folder:
        (folder / "x").write_text("x", "utf-8")
        raise ValueError("half")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine").touch()
    with pytest.raises(OSError, match="not empty"), new_folder(tmp_path / "b"):
        pass
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["b", "mine"]
