"""Results to files that are whole or not there."""

from __future__ import annotations

import json

import pytest

from gooseguard.cli.output import json_line, open_output


def test_json_is_one_line_of_ascii():
    line = json_line({"id": "é\n\u2028", "score": 0.1})
    assert line.isascii()
    assert line.count("\n") == 1
    assert json.loads(line) == {"id": "é\n\u2028", "score": 0.1}


def test_numbers_that_are_no_json_are_refused():
    with pytest.raises(ValueError, match="Out of range"):
        json_line(float("nan"))


def test_a_file_appears_at_the_end(tmp_path):
    path = tmp_path / "out"
    path.write_text("before")
    with open_output(path) as output:
        output.write("é\n")
        assert path.read_text() == "before"
    assert path.read_bytes() == "é\n".encode()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_a_file_does_not_appear_after_a_failure(tmp_path, failure):
    with pytest.raises(failure), open_output(tmp_path / "out") as output:
        output.write("half")
        raise failure
    assert list(tmp_path.iterdir()) == []
