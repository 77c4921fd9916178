"""Handles are read by the server that wrote them, whole and unaltered, and by no other."""

import base64

import pytest

from gooseguard.core.errors import ConfigError
from gooseguard.serving.handles import Handles
from gooseguard.serving.problem import Kind, Problem

FACTS = {"p": 0, "s": "0123", "m": "model@0123456789ab"}


@pytest.fixture
def handles(tmp_path):
    return Handles(tmp_path)


def test_the_next_process_reads_them_and_nobody_else_can_read_the_key(handles, tmp_path):
    assert Handles(tmp_path).read(handles.write(FACTS)) == FACTS
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600]


def test_another_server_s_handle_is_refused(handles, tmp_path_factory):
    other = Handles(tmp_path_factory.mktemp("other"))
    with pytest.raises(Problem) as caught:
        other.read(handles.write(FACTS))
    assert caught.value.kind is Kind.INVALID


def test_an_altered_handle_is_refused(handles):
    handle = handles.write(FACTS)
    payload, _, signature = handle.partition(".")
    text = base64.urlsafe_b64decode(payload + "==").replace(b'"p":0', b'"p":9')
    altered = base64.urlsafe_b64encode(text).decode().rstrip("=")
    assert altered != payload
    for wrong in ("", ".", "x", f"{altered}.{signature}", f"{payload}.", f"{payload}.é", handle + "A"):
        with pytest.raises(Problem) as caught:
            handles.read(wrong)
        assert caught.value.kind is Kind.INVALID


def test_a_file_that_is_no_key(tmp_path):
    (tmp_path / "handles.key").write_bytes(b"short")
    with pytest.raises(ConfigError, match="delete it"):
        Handles(tmp_path)
