"""WebDataset shards: rows are files that share a name."""

import gzip
import io
import json
import tarfile

import pytest
from PIL import Image

from gooseguard.core.content import Modality
from gooseguard.core.errors import DataError
from gooseguard.data.sources.source import Faults, OnFault, SourceConfig
from gooseguard.data.sources.web_dataset import open_web_dataset

MAPPING = """
name = "web"
title = "W"
licence = "x"
citation = "x"
meaning = "x"
[[labels]]
field = "cls"
category = "sexual"
values = { 1 = 1, 0 = 0 }
[[labels]]
field = "meta.hate"
category = "hate"
range = [0, 1]
"""


def png():
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), "green").save(stream, "PNG")
    return stream.getvalue()


def write(path, members):
    with tarfile.open(path, "w") as shard:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            shard.addfile(info, io.BytesIO(data))


def read(tmp_path, path, faults=None):
    (tmp_path / "m.toml").write_text(MAPPING)
    [source] = open_web_dataset(
        path, SourceConfig("web_dataset", str(path), mapping=str(tmp_path / "m.toml"))
    )
    return list(source.rows(faults))


def test_files_of_one_name_are_one_row(tmp_path):
    path = tmp_path / "000.tar"
    write(
        path,
        [
            ("a/1.png", png()),
            ("a/1.txt", b"a caption"),
            ("a/1.json", json.dumps({"meta": {"hate": 0.25}}).encode()),
            ("a/2.txt", "grün".encode()),
            ("a/2.cls", b"1\n"),
        ],
    )
    first, second = read(tmp_path, path)
    assert [part.modality for part in first.example.content.parts] == [Modality.IMAGE, Modality.TEXT]
    assert first.example.id == "web/000.tar/a/1"
    assert dict(first.example.labels) == {"hate": 0.25}
    assert (second.example.content.parts[0].text, dict(second.example.labels)) == ("grün", {"sexual": 1.0})
    assert second.place == "000.tar, row 2"


def test_bad_rows_and_a_cut_shard_are_named(tmp_path):
    path = tmp_path / "000.tar"
    write(
        path,
        [
            ("1.png", b"no picture"),
            ("2.txt", b"\xff"),
            ("3.json", b"[]"),
            ("4.txt", b"fine"),
            ("4.cls", b"9"),
        ],
    )
    with pytest.raises(DataError, match=r"000.tar, row 1, png: is no image"):
        read(tmp_path, path)
    faults = Faults(OnFault.SKIP)
    with pytest.raises(
        DataError, match=r"all 4 rows or files of 000.tar were faulty, the first: 000.tar, row 1"
    ):
        read(tmp_path, path, faults)
    assert "row 4: field 'cls': unknown class '9'" in faults.shown[3]
    write(path, [(f"{number}.txt", b"x" * 3000) for number in range(9)])
    path.write_bytes(path.read_bytes()[:12_000])
    faults = Faults(OnFault.SKIP)
    assert 1 <= len(read(tmp_path, path, faults)) < 9
    assert "000.tar, after row" in faults.shown[0]


def test_a_zipped_shard_and_one_cut_within_its_gzip_header(tmp_path):
    write(tmp_path / "a.tar", [("1.txt", b"one"), ("2.txt", b"two")])
    zipped = gzip.compress((tmp_path / "a.tar").read_bytes())
    path = tmp_path / "b.tar.gz"
    path.write_bytes(zipped)
    assert [row.example.content.parts[0].text for row in read(tmp_path, path)] == ["one", "two"]
    for n in (3, 9, 15):
        path.write_bytes(zipped[:n])
        with pytest.raises(DataError, match=r"b\.tar\.gz, after row 0: the file is damaged or cut off"):
            read(tmp_path, path)
