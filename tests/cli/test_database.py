import pytest

from gooseguard.cli.database import opened
from gooseguard.core.errors import ConfigError


def test_the_database_of_a_servers_file(tmp_path, monkeypatch):
    monkeypatch.delenv("GOOSEGUARD_DATABASE", raising=False)
    config = tmp_path / "serve.toml"
    config.write_text(f'database = "{tmp_path}/mine.db"', "utf-8")
    with opened(None, config) as engine:
        assert engine.url.database == f"{tmp_path}/mine.db"
    with opened(f"{tmp_path}/other.db", config) as engine:
        assert engine.url.database == f"{tmp_path}/other.db"
    assert sorted(path.name for path in tmp_path.glob("*.db")) == ["mine.db", "other.db"]


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.delitem(sys.modules, "gooseguard.serving.database", raising=False)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(ConfigError, match=r"pip install 'gooseguard\[serve\]'"), opened(None, None):
        pass
