"""JSON Lines as records."""

import gzip
import json

import pytest

from gooseguard.core.errors import DataError
from gooseguard.data.sources.json_lines import flatten, open_json_lines, read_json_lines
from gooseguard.data.sources.source import Faults, OnFault, SourceConfig

MAPPING = """
name = "mine"
title = "M"
licence = "x"
citation = "x"
meaning = "x"
[columns]
text = "post.body"
context = "post.parent"
language = "lang"
split = "part"
[[labels]]
field = "votes"
category = "hate"
values = { true = 1, false = 0 }
"""


def read(path, faults=None, **options):
    return list(read_json_lines(path, path.name, faults or Faults(), **options))


def test_nested_objects_become_dotted_keys_and_lists_stay():
    assert flatten({"a": {"b": {"c": 1}, "d": [1, {"e": 2}]}, "f": {}}) == {
        "a.b.c": 1, "a.d": [1, {"e": 2}], "f": {},
    }  # fmt: skip


def test_rows_are_numbered_by_line_and_empty_lines_pass(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    # U+2028 ends a line for str.splitlines, not for JSON Lines.
    path.write_bytes(gzip.compress('\ufeff{"text": "a\u2028b"}\n\n{"text": "c"}'.encode()))
    assert [(record.place, record.fields["text"]) for record in read(path)] == [
        ("a.jsonl.gz, row 1", "a\u2028b"),
        ("a.jsonl.gz, row 3", "c"),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "is no JSON"),
        (b"[1]", "is a list, expected an object"),
        (b'{"text": "caf\xe9"}', "is not UTF-8 at byte 13"),
        (b'{"words": 1}', "has no 'text', which the rows before have"),
        (b"[" * 100_000, "is no JSON|is nested too deeply"),
    ],
)
def test_a_bad_row_is_named_or_skipped(tmp_path, line, message):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "a"}\n' + line + b'\n{"text": "b"}\n')
    with pytest.raises(DataError, match=f"a.jsonl, row 2: ({message})"):
        read(path, required=["text"])
    faults = Faults(OnFault.SKIP)
    assert [record.number for record in read(path, faults, required=["text"])] == [1, 3]
    assert faults.counts == {"a.jsonl": 1}


def test_a_missing_key_in_the_first_row_is_a_wrong_layout(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"txt": "a"}\n')
    with pytest.raises(DataError, match=r"a.jsonl, row 1: has no column 'text'; found 'txt'"):
        read(path, Faults(OnFault.SKIP), required=["text"])


def test_a_named_encoding_is_tried_and_a_cut_file_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"text": "é"}\n'.encode("cp1252"))
    assert read(path, fallback="cp1252")[0].fields == {"text": "é"}
    cut = tmp_path / "b.jsonl.gz"
    cut.write_bytes(gzip.compress(json.dumps({"text": "a"}).encode())[:-9])
    with pytest.raises(DataError, match=r"b.jsonl.gz, after row \d: the file is damaged or cut off"):
        read(cut)


def test_the_generic_reader_reads_what_a_mapping_describes(tmp_path):
    (tmp_path / "m.toml").write_text(MAPPING)
    path = tmp_path / "a.jsonl"
    row = {"post": {"body": "b", "parent": "p"}, "votes": [True, False], "lang": "de", "part": "dev"}
    path.write_text(json.dumps(row) + "\n")
    [source] = open_json_lines(path, SourceConfig("json_lines", str(path), mapping=str(tmp_path / "m.toml")))
    [row] = source.rows()
    assert row.example.id == "mine/a.jsonl/1"
    assert (row.example.content.language, row.split) == ("de", "dev")
    assert row.example.content.context[0].text == "p"
    assert dict(row.example.labels) == {"hate": 0.5}
    assert row.votes["hate"].values == (1.0, 0.0)
