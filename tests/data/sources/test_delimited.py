"""CSV and TSV as records: what is read, and where a fault is said to be."""

import gzip

import pytest

from gooseguard.core.errors import ConfigError, DataError
from gooseguard.data.sources.delimited import open_csv, read_csv
from gooseguard.data.sources.source import Faults, OnFault, SourceConfig

MAPPING = """
name = "mine"
title = "Mine"
licence = "ours"
citation = "none"
meaning = "rude"
language = "en"
[columns]
text = "body"
id = "key"
[[labels]]
field = "rude"
category = "insult"
values = { yes = 1, no = 0 }
"""


def read(path, faults=None, **options):
    return list(read_csv(path, path.name, faults or Faults(), **options))


def test_a_line_end_within_quotes_belongs_to_its_cell_and_rows_are_counted_not_lines(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfid,text\r\n1,"one\r\ntwo, ""three"""\r\n\r\n2,four\r\n')
    records = read(path)
    assert [record.fields for record in records] == [
        {"id": "1", "text": 'one\r\ntwo, "three"'},
        {"id": "2", "text": "four"},
    ]
    assert [record.place for record in records] == ["a.csv, row 1", "a.csv, row 2"]


def test_tabs_and_quotes_that_are_only_quotes(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text('1\t"half a quote\n2\tb\n')
    records = read(path, header=["id", "text"], quoted=False)
    assert [record.fields["text"] for record in records] == ['"half a quote', "b"]


def test_a_missing_column_is_named_even_where_faults_are_skipped(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,txt\n1,a\n")
    with pytest.raises(
        DataError, match=r"a.csv: has no column 'text'; found 'id', 'txt'; did you mean 'txt'"
    ):
        read(path, Faults(OnFault.SKIP), required=["id", "text"])


def test_a_header_that_is_no_csv_is_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('id,"te"xt\n1,a\n')
    with pytest.raises(DataError, match=r"a\.csv, line 1: is no CSV .*expected a header"):
        read(path, Faults(OnFault.SKIP))


FAULTY = b"id,text\n1,fine\n2,caf\xe9\n3,a,b\n4,fine too\n"


def test_a_bad_row_stops_and_is_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(FAULTY)
    with pytest.raises(DataError, match=r"a.csv, row 2, column 'text': is not UTF-8; .*on_fault"):
        read(path)


def test_bad_rows_are_skipped_and_counted_as_told(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(FAULTY)
    faults = Faults(OnFault.SKIP)
    assert [record.fields["id"] for record in read(path, faults)] == ["1", "4"]
    assert faults.counts == {"a.csv": 2}
    assert faults.shown[1] == "a.csv, row 3: has 3 cells, expected 2, as the header has"


def test_mixed_encodings_are_read_where_the_other_one_is_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("id,text\n1,é\n".encode() + "2,é\n".encode("cp1252"))
    assert [record.fields["text"] for record in read(path, fallback="windows-1252")] == ["é", "é"]


def test_a_truncated_gzip_is_named_with_its_last_whole_row(tmp_path):
    path = tmp_path / "a.csv.gz"
    # Bytes that do not compress, so that cutting the file cuts rows.
    rows = "".join(f"{number},{hash(str(number))}\n" for number in range(5000))
    path.write_bytes(gzip.compress(("id,text\n" + rows).encode())[:-2000])
    with pytest.raises(
        DataError, match=r"a.csv.gz, after row \d{3,4}: the file is damaged or cut off \(EOFError\)"
    ):
        read(path)
    faults = Faults(OnFault.SKIP)
    assert 1000 < len(read(path, faults)) < 5000
    assert faults.counts == {"a.csv.gz": 1}


def test_a_quote_that_is_never_closed_is_a_fault_of_its_row(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('id,text\n1,a\n2,"open\n3,b\n')
    with pytest.raises(DataError, match=r"a.csv, row 2 \(line \d\): a quote is opened and never closed"):
        read(path)


def test_the_generic_reader_reads_what_a_mapping_describes(tmp_path):
    mapping = tmp_path / "mine.toml"
    mapping.write_text(MAPPING)
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "b.csv").write_text("key,body,rude\n3,c,maybe\n4,d,\n")
    (folder / "a.tsv").write_text("key\tbody\trude\n1\tyou moron\tyes\n2\thello\tno\n")
    faults = Faults(OnFault.SKIP)
    [source] = open_csv(folder, SourceConfig("csv", str(folder), mapping=str(mapping)))
    rows = list(source.rows(faults))
    assert [(row.example.id, dict(row.example.labels)) for row in rows] == [
        ("mine/1", {"insult": 1.0}),
        ("mine/2", {"insult": 0.0}),
        ("mine/4", {}),
    ]
    assert faults.shown == ["b.csv, row 1: field 'rude': unknown class 'maybe'; expected one of yes, no"]
    assert rows[0].example.content.language == "en"
    assert (rows[0].native, rows[0].place) == ({"rude": "yes"}, "a.tsv, row 1")
    assert [source.name_of(file) for file in source.files] == ["a.tsv", "b.csv"]


def test_without_a_mapping_or_a_file_it_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match="source 'csv': needs a description of its columns"):
        open_csv(tmp_path, SourceConfig("csv", "x"))
    (tmp_path / "mine.toml").write_text(MAPPING)
    config = SourceConfig("csv", "x", mapping=str(tmp_path / "mine.toml"))
    with pytest.raises(ConfigError, match=r"holds no file of \.csv"):
        open_csv(tmp_path, config)
    with pytest.raises(ConfigError, match="no such file or folder"):
        open_csv(tmp_path / "nowhere", config)
