"""The folder of a build: one process at a time, one recipe."""

import pytest

from gooseguard.core.errors import ArtefactError, ConfigError
from gooseguard.data.work_folder import claim, open_work


def test_a_folder_is_one_process_s_at_a_time_and_free_when_it_ends(tmp_path):
    pytest.importorskip("fcntl")
    output = tmp_path / "deep" / "set"
    with open_work(output) as work:
        (work / "a").write_text("kept")
        with pytest.raises(ConfigError, match="is being built by another process"), open_work(output):
            pass
        # Who was refused took nothing away.
        assert (work / "a").read_text() == "kept"
    with open_work(output) as work:
        assert work == tmp_path / "deep" / ".set.work"
        assert (work / "a").read_text() == "kept"
    with open_work(output, restart=True) as work:
        assert not any(work.iterdir())
    # Nothing was begun: nothing is left.
    assert not work.exists()


def test_what_is_left_is_of_one_state(tmp_path):
    with open_work(tmp_path / "set") as work:
        claim(work, {"recipe": 1})
        (work / "out" / "a").write_text("")
        claim(work, {"recipe": 1})
        assert (work / "out" / "a").exists()
        with pytest.raises(ArtefactError, match="--restart"):
            claim(work, {"recipe": 2})
        # A folder whose build was killed before it said what it is for holds nothing that counts.
        (work / "fingerprint").unlink()
        claim(work, {"recipe": 2})
        assert sorted(path.name for path in work.iterdir()) == ["fingerprint", "out", "prepared"]
        assert not any((work / "out").iterdir())
