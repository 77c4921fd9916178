import json
import os

import pytest

from gooseguard.serving.database import open_database
from gooseguard.serving.keys import KeyRing
from gooseguard.serving.problem import Problem


@pytest.fixture
def url(tmp_path):
    return str(tmp_path / "keys.db")


def test_a_key_from_creation_to_revocation(program, url):
    status, token, told = program("keys", "create", "forum", "--requests-per-minute", "60", "--database", url)
    assert status == 0
    engine = open_database(url)
    key = KeyRing(engine).authenticate(token.strip(), "192.0.2.1")
    assert key.limits == {"requests_per_minute": 60}
    assert key.id in told
    assert token.strip() not in told

    status, listed, _ = program("keys", "list", "--database", url)
    assert status == 0
    assert listed.startswith(f"{key.id}  20")
    assert listed.endswith("good  forum  (requests_per_minute 60)\n")
    assert token.strip() not in listed

    status, revoked, _ = program("keys", "revoke", key.id, "--database", url)
    assert (status, "revoked 20" in revoked) == (0, True)
    with pytest.raises(Problem):
        KeyRing(engine).authenticate(token.strip(), "192.0.2.1")
    engine.dispose()


def test_json(program, url):
    _, output, told = program("keys", "create", "forum", "--json", "--database", url)
    made = json.loads(output)
    assert told == ""
    assert made.pop("key").startswith(f"gg_{made['id']}_")
    _, output, _ = program("keys", "list", "--json", "--database", url)
    assert json.loads(output) == made
    assert made["name"] == "forum"
    assert (made["revoked"], made["limits"]) == (None, {})


def test_the_environment_names_the_database(program, url, monkeypatch):
    monkeypatch.setitem(os.environ, "GOOSEGUARD_DATABASE", url)
    program("keys", "create", "forum")
    assert "forum" in program("keys", "list", "--database", url)[1]


def test_no_keys_yet(program, url):
    assert program("keys", "list", "--database", url) == (
        0, "", "no keys: a server answers its own machine only\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("create", " "), "key name: expected 1 to 200 printable characters"),
        (("revoke", "nothing"), "no key has this id"),
        (("create", "x", "--items-per-minute", "0"), "greater than or equal to 1"),
    ],
)
def test_wrong_use(program, url, words, message):
    status, output, told = program("keys", *words, "--database", url)
    assert (status, output) == (2, "")
    assert message in told
