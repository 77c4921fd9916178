import pytest

from gooseguard.cli.database_path import find_database


@pytest.mark.parametrize(
    ("option", "configured", "environment", "found"),
    [
        ("o", "c", {"GOOSEGUARD_DATABASE": "e"}, "o"),
        (None, "c", {"GOOSEGUARD_DATABASE": "e"}, "e"),
        (None, "c", {"STATE_DIRECTORY": "/var/lib/gooseguard"}, "c"),
        (None, "", {"STATE_DIRECTORY": "/var/lib/gooseguard:/x"}, "/var/lib/gooseguard/gooseguard.db"),
        (None, "", {"XDG_STATE_HOME": "/s"}, "/s/gooseguard/gooseguard.db"),
    ],
)
def test_where_the_database_is(option, configured, environment, found):
    assert find_database(option, configured, environment) == found


def test_by_default_it_is_the_users_own(monkeypatch):
    monkeypatch.setenv("HOME", "/h")
    assert find_database(None, "", {}) == "/h/.local/state/gooseguard/gooseguard.db"
