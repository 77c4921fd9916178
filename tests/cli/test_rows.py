"""Files to rows: every way in which a line, or a file, can be wrong."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.batch.table import Row, RowError
from gooseguard.cli.rows import Format, Layout, open_input, read_rows
from gooseguard.core.errors import DataError


def read(data, **options):
    layout = Layout(options.pop("name", "in.jsonl"), **options)
    stream = io.BufferedReader(io.BytesIO(data if isinstance(data, bytes) else data.encode()))
    return list(read_rows(stream, layout))


def shown(rows):
    """Rows as (id, text) and errors as (id, type, message)."""
    return [
        (row.id, row.content.parts[0].text)
        if isinstance(row, Row)
        else (row.id, row.error.type, row.error.message)
        for row in rows
    ]


def only_error(data, **options):
    (row,) = read(data, **options)
    assert isinstance(row, RowError)
    return row


def test_json_lines_ids_languages_and_blank_lines():
    rows = read(
        '\ufeff{"id": "a", "text": "one", "language": "en"}\r\n'
        "\n"
        '{"id": 7, "text": "two"}\n'
        '{"text": "three", "other": [1e999, NaN]}\n'
        '{"id": null, "text": "four \\u0000 \\ud83d\\ude00"}'
    )
    assert shown(rows) == [("a", "one"), ("7", "two"), ("3", "three"), ("4", "four \0 😀")]
    assert [row.content.language for row in rows] == ["en", None, None, None]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": ', "line 2: not JSON at column 9"),
        ("[1]", "line 2: a list; expected a JSON object with 'text'"),
        ("3", "line 2: a number;"),
        ("null", "line 2: null;"),
        ('{"txt": "a"}', "line 2: no 'text' in the object; did you mean 'txt'?"),
        ('{"text": 3}', "line 2: 'text' is a number; expected text"),
        ('{"text": null}', "line 2: 'text' is null"),
        ('{"text": "a", "language": 3}', "line 2: 'language' is a number"),
        ('{"text": "a", "id": [1]}', "line 2: 'id' is a list; expected text or a whole number"),
        ('{"text": "a", "id": 1.5}', "line 2: 'id' is a number; expected text or a whole number"),
        ('{"text": "a", "id": true}', "line 2: 'id' is true or false"),
        ('{"text": "a", "id": "\\udc00"}', "line 2: 'id' has a lone surrogate"),
        ('{"text": "a", "id": ' + "1" * 5000 + "}", "line 2: a whole number of too many digits"),
        ("[" * 100_000, "line 2: JSON nested too deep"),
        ('{"a":' * 100_000, "line 2: JSON nested too deep"),
    ],
)
def test_a_wrong_line_is_an_error_of_its_row(line, message):
    rows = read('{"text": "before"}\n' + line + '\n{"text": "after"}\n')
    assert shown([rows[0], rows[2]]) == [("1", "before"), ("3", "after")]
    assert (rows[1].id, rows[1].error.type) == ("2", "DataError")
    assert rows[1].error.message.startswith(message)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "x", "text": ""}', "line 1: text is empty"),
        ('{"id": "x", "text": " \\n"}', "line 1: text is empty"),
        ('{"id": "x", "text": "\\ud800"}', "line 1: text has a lone surrogate U+D800"),
        ('{"id": "x", "text": "12345678901"}', "line 1: text has 11 characters, more than 10"),
        ('{"id": "x", "text": "a", "language": "en_US"}', "line 1: language is no BCP-47 tag"),
    ],
)
def test_a_text_that_cannot_be_judged_keeps_its_id(line, message):
    error = only_error(line, max_characters=10)
    assert (error.id, error.error.type) == ("x", "ContentError")
    assert error.error.message.startswith(message)


def test_errors_never_repeat_content():
    for line in (
        '{"text": "moron',
        '{"text": "moron\\ud800"}',
        '{"text": ["moron"]}',
        '"moron"',
        '{"text":"moron","id":{}}',
    ):
        assert "moron" not in only_error(line).error.message


def test_a_line_that_is_not_utf8_is_an_error_of_its_row():
    rows = read(b'{"text": "a"}\n{"text": "caf\xe9"}\n{"text": "b"}\n')
    assert shown(rows)[0::2] == [("1", "a"), ("3", "b")]
    assert rows[1].error.message.startswith("line 2: not UTF-8 at byte 13; convert the file")


def test_other_keys_by_option():
    assert shown(read('{"body": "b", "key": "k", "id": "i"}', text="body", id="key")) == [("k", "b")]


def test_a_line_past_the_limit_is_skipped_in_bounded_memory():
    layout = Layout("in", max_characters=10)
    assert layout.max_line_bytes == 120 + (4 << 20)
    data = b'{"text": "' + b"a" * (40 << 20) + b'"}\n{"text": "after"}\n'
    tracemalloc.start()
    rows = read(data, max_characters=10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows[0].error.message.startswith(f"line 1: more than {layout.max_line_bytes} bytes")
    assert shown(rows[1:]) == [("2", "after")]
    # A few times the limit of 4 MiB while a line grows, not the 40 MiB of the line.
    assert peak < 16 << 20


@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_a_line_at_the_limit(spare):
    layout = Layout("in", max_characters=1)
    line = b'{"text": "a"}'
    line += b" " * (layout.max_line_bytes - len(line) - 1 + spare) + b"\n"
    rows = read(line + b'{"text": "b"}', max_characters=1)
    assert [isinstance(row, Row) for row in rows] == [spare <= 0, True]
    assert rows[1].id == "2"


def test_a_text_of_ten_megabytes_is_a_row():
    text = "word " * (2 << 20)
    (row,) = read(json.dumps({"text": text}), max_characters=len(text))
    assert row.content.parts[0].text == text


def test_the_longest_text_fits_a_line_however_it_is_escaped():
    (row,) = read(json.dumps({"text": "😀" * 500_000}), max_characters=500_000)
    assert len(row.content.parts[0].text) == 500_000


@pytest.mark.parametrize("data", ["", "\n", "  \n\r\n", "\ufeff"])
def test_no_rows(data):
    with pytest.raises(DataError, match=r"in.jsonl has no rows"):
        read(data)


def csv_read(data, **options):
    return read(data, name=options.pop("name", "in.csv"), **options)


def test_csv_quotes_crlf_bom_and_ids():
    data = '\ufeffid,text,language\r\na,"one, ""two""\r\nthree",en\r\n\r\n,four,\r\nc,five\r\n'
    rows = csv_read(data)
    assert shown(rows) == [("a", 'one, "two"\r\nthree'), ("2", "four"), ("c", "five")]
    assert [row.content.language for row in rows] == ["en", None, None]


def test_csv_columns_by_option_and_tsv():
    assert shown(csv_read("n\tbody\n7\tone, two\n", name="in.TSV", text="body", id="n")) == [
        ("7", "one, two")
    ]
    assert shown(csv_read("text\none\n", name="stdin", format=Format.CSV)) == [("1", "one")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"text": "boddy"},
            "in.csv: no column 'boddy'; found 'n', 'body', 'twice', 'twice'; did you mean 'body'?; pass",
        ),
        (
            {"text": "body", "id": "key"},
            "in.csv: no column 'key'; found 'n', 'body', 'twice', 'twice'; pass --id-column NAME",
        ),
        ({"text": "twice"}, "in.csv: more than one column 'twice'"),
    ],
)
def test_csv_columns_that_are_not_there(options, message):
    with pytest.raises(DataError) as caught:
        csv_read("n,body,twice,twice\n1,a,b,c\n", **options)
    assert str(caught.value).startswith(message)


def test_csv_rows_that_are_wrong():
    data = (
        b"id,text\n"
        b"a,hello, you\n"  # Read as it stands, the text would lose its end.
        b"b\n"
        b"c,caf\xe9\n"
        b"d,nul\x00byte\n"
        b'e,"closed"again\n'
        b"f,\n"
        b"g,fine,,\n"
        b'h,"open\n'
        b"i,swallowed\n"
    )
    rows = csv_read(data)
    assert shown([rows[3], rows[6]]) == [("d", "nul\0byte"), ("g", "fine")]
    errors = {row.id: row.error.message for row in rows if isinstance(row, RowError)}
    assert len(rows) == 8
    assert errors["a"].startswith("line 2: 3 cells, the header has 2; put quotes")
    assert errors["b"].startswith("line 3: 1 cells")
    assert errors["c"].startswith("line 4: not UTF-8")
    assert errors["5"].startswith("line 6: not CSV")
    assert errors["f"].startswith("line 7: text is empty")
    assert errors["8"].startswith("line 9: a quote is opened and never closed")


def test_csv_a_cell_without_end_breaks_off_after_the_rows_before_it():
    layout = Layout("in.csv", max_characters=1)
    data = b"text\na\n" + b'"' + (b"b" * 4095 + b"\n") * (layout.max_line_bytes // 4096 + 1)
    rows = read_rows(io.BufferedReader(io.BytesIO(data)), layout)
    assert shown([next(rows)]) == [("1", "a")]
    with pytest.raises(
        DataError, match=r"in.csv, line 3: a cell of more than \d+ characters; is a quote left open"
    ):
        next(rows)


def test_csv_a_header_alone_is_no_rows():
    with pytest.raises(DataError, match="has no rows"):
        csv_read("id,text\n")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip), min_size=1))
def test_whatever_is_written_is_read_again(texts):
    lines = "".join(
        json.dumps({"id": i, "text": text}, ensure_ascii=i % 2 == 0) + "\n" for i, text in enumerate(texts)
    )
    expected = [(str(i), text) for i, text in enumerate(texts)]
    assert shown(read(lines)) == expected
    table = io.StringIO(newline="")
    csv.writer(table).writerows([["id", "text"], *enumerate(texts)])
    assert shown(csv_read(table.getvalue())) == expected


@settings(deadline=None, max_examples=100)
@given(st.binary(min_size=1, max_size=200), st.sampled_from(["in.jsonl", "in.csv"]))
def test_no_bytes_at_all_do_anything_but_give_rows_or_a_data_error(data, name):
    try:
        rows = read(data if name == "in.jsonl" else b"text\n" + data, name=name)
    except DataError:
        return
    assert rows


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "has no rows"),
        (bytes(range(256)) * 40, "is binary, or text in another encoding"),
        (b"\0" * 100, "is binary"),
        ('{"text": "a"}'.encode("utf-16"), "is UTF-16 text; convert it: iconv"),
        ('{"text": "abcdefgh"}'.encode("utf-16-le"), "is binary, or text in another encoding"),
        (gzip.compress(b"{}", mtime=0), "is gzip data; unpack it first"),
        (b"PK\x03\x04rest", "is a ZIP archive or an office document"),
        (b"PAR1rest", "is Parquet; convert it"),
    ],
)
def test_files_that_are_refused_whole(tmp_path, data, message):
    path = tmp_path / "in.jsonl"
    path.write_bytes(data)
    with pytest.raises(DataError) as caught, open_input(str(path)):
        pass
    assert str(caught.value).startswith(f"{path} {message}")


def test_a_missing_file_and_a_directory(tmp_path):
    with pytest.raises(
        DataError, match=r"none.jsonl: cannot be opened \(No such file or directory\); expected"
    ):
        open_input(str(tmp_path / "none.jsonl")).__enter__()
    with pytest.raises(DataError, match="is a directory; expected a JSON Lines or CSV file"):
        open_input(str(tmp_path)).__enter__()
    with pytest.raises(DataError, match="cannot be opened"):
        open_input("nul\0byte").__enter__()


def test_a_single_wrong_byte_does_not_make_a_file_binary(tmp_path):
    path = tmp_path / "in.csv"
    path.write_bytes(b"text\n\xe9\n")
    with open_input(str(path)) as stream:
        (row,) = read_rows(stream, Layout(str(path)))
    assert "not UTF-8" in row.error.message


GIF = b"GIF89a" + bytes(20)


def test_rows_of_parts(tmp_path):
    (tmp_path / "a.gif").write_bytes(GIF)
    lines = [
        {"id": "both", "parts": [{"text": "a caption"}, {"path": "a.gif"}], "language": "en"},
        {"id": "gone", "parts": [{"text": "a caption"}, {"path": "b.gif"}]},
        {"id": "text", "text": "as ever", "parts": [3]},
        {"id": "odd", "parts": [{"path": "a.gif"}], "language": "no tag!"},
        {"id": "list", "parts": [{"path": "a.gif"}], "language": ["en"]},
    ]
    rows = read("\n".join(map(json.dumps, lines)), name=str(tmp_path / "in.jsonl"))
    content = rows[0].content
    assert [(str(part.modality), part.data) for part in content.parts] == [
        ("text", b"a caption"),
        ("image", GIF),
    ]
    assert content.language == "en"
    assert rows[1].error.message == "line 2: part 1: no such file; expected an image file"
    assert rows[2].content.parts[0].text == "as ever"
    assert "line 4: language is no BCP-47 tag" in rows[3].error.message
    assert "line 5: 'language' is a list" in rows[4].error.message
