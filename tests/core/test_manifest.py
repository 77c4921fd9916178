"""Manifests: a folder is whole, or the message says what is wrong with it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.core.errors import ArtefactError
from gooseguard.core.manifest import (
    FILE_NAME,
    Manifest,
    canonical_json,
    digest_file,
    open_artefact,
    read_manifest,
    write_manifest,
)

# SHA-256 of no bytes, and of "abc". Source: FIPS 180-2, appendix B.1 (the second).
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.bin").write_bytes(b"abc")
    (tmp_path / "b.bin").write_bytes(b"")
    manifest = Manifest(
        kind="dataset",
        format_version=2,
        config={"seed": 0, "name": "größe"},
        inputs={"source.gz": EMPTY},
        files={"rows/a.bin": ABC, "b.bin": EMPTY},
        facts={"n_rows": 3},
    )
    write_manifest(tmp_path, manifest)
    return tmp_path


def rewrite(folder, **changes):
    path = folder / FILE_NAME
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8")


def test_digest_of_a_file_is_its_sha256(folder):
    assert digest_file(folder / "rows" / "a.bin") == ABC
    assert digest_file(folder / "b.bin") == EMPTY


def test_round_trips(folder):
    manifest = read_manifest(folder, "dataset", 2, verify=True)
    assert manifest == Manifest(
        "dataset",
        2,
        {"seed": 0, "name": "größe"},
        {"source.gz": EMPTY},
        {"rows/a.bin": ABC, "b.bin": EMPTY},
        {"n_rows": 3},
    )


def test_leaves_nothing_but_the_manifest_and_replaces_an_old_one(folder):
    write_manifest(folder, Manifest("report", 1, {}))
    assert sorted(path.name for path in folder.iterdir()) == ["b.bin", FILE_NAME, "rows"]
    assert read_manifest(folder, "report", 1) == Manifest("report", 1, {}, {}, {}, {})


def test_an_older_format_is_read(folder):
    assert read_manifest(folder, "dataset", 3).format_version == 2


def test_no_manifest(tmp_path):
    with pytest.raises(ArtefactError, match=r"no manifest\.json; expected a finished dataset folder"):
        read_manifest(tmp_path, "dataset", 1)
    with pytest.raises(ArtefactError, match=r"no manifest\.json"):
        read_manifest(tmp_path / "nowhere", "dataset", 1)


def test_a_manifest_that_was_not_finished_does_not_count(folder):
    (folder / FILE_NAME).rename(folder / f"{FILE_NAME}.partial")
    with pytest.raises(ArtefactError, match=r"no manifest\.json"):
        read_manifest(folder, "dataset", 2)


def test_another_kind(folder):
    with pytest.raises(ArtefactError, match="kind is 'dataset', expected 'checkpoint'"):
        read_manifest(folder, "checkpoint", 2)


def test_a_newer_format_is_named_as_such_even_with_fields_unknown_here(folder):
    rewrite(folder, format_version=3, signatures=["x"], files=["of another form"])
    with pytest.raises(ArtefactError, match=r"format version 3 is newer than 2; upgrade gooseguard"):
        read_manifest(folder, "dataset", 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": "2"}, r"format version is '2', expected 1 to 2"),
        ({"format_version": None}, r"format version is None"),
        ({"format_version": True}, r"format version is True"),
        ({"format_version": 0}, r"format version is 0"),
        ({"files": ["b.bin"]}, r"files is list, expected an object"),
        ({"config": None}, r"config is NoneType, expected an object"),
        ({"facts": 3}, r"facts is int, expected an object"),
        ({"extra": 1}, r"not a manifest \(.*extra"),
        ({"kind": 1}, r"kind is 1, expected 'dataset'"),
    ],
)
def test_a_wrong_field(folder, changes, message):
    rewrite(folder, **changes)
    with pytest.raises(ArtefactError, match=message):
        read_manifest(folder, "dataset", 2)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "null", '"dataset"', "{}", '{"kind": "dataset", "format_version": 1}']
)
def test_what_is_no_manifest(folder, text):
    (folder / FILE_NAME).write_text(text, "utf-8")
    with pytest.raises(ArtefactError, match=r"manifest\.json: .*"):
        read_manifest(folder, "dataset", 2)


def test_a_binary_manifest(folder):
    (folder / FILE_NAME).write_bytes(b"\xff\x00")
    with pytest.raises(ArtefactError, match=r"not a manifest \(UnicodeDecodeError\)"):
        read_manifest(folder, "dataset", 2)


def test_a_missing_file_is_found_without_reading_the_others(folder):
    (folder / "rows" / "a.bin").unlink()
    with pytest.raises(ArtefactError, match=r"rows/a\.bin is missing; make the dataset again"):
        read_manifest(folder, "dataset", 2)


def test_an_altered_file_is_found_on_request(folder):
    (folder / "rows" / "a.bin").write_bytes(b"abd")
    read_manifest(folder, "dataset", 2)
    with pytest.raises(ArtefactError, match=r"rows/a\.bin was altered after it was written"):
        read_manifest(folder, "dataset", 2, verify=True)


def test_canonical_json_by_hand():
    value = {"b": [1, 2.5, None, True], "a": {"ü": "x y", "A": ""}}
    assert canonical_json(value) == '{"a":{"A":"","ü":"x y"},"b":[1,2.5,null,true]}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [float("-inf")]}])
def test_canonical_json_refuses_what_json_lacks(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(value)


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner)
)


@given(st.dictionaries(st.text(max_size=4), values, max_size=5), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_canonical_json_does_not_depend_on_the_order_of_keys(table, random):
    keys = list(table)
    random.shuffle(keys)
    written = canonical_json({key: table[key] for key in keys})
    assert written == canonical_json(table)
    assert json.loads(written) == table


def write_into(folder, text="new"):
    with open_artefact(folder, "dataset") as partial:
        assert partial.parent == folder.parent.resolve()
        (partial / "a.txt").write_text(text)
        write_manifest(partial, Manifest("dataset", 1, {}))


def test_an_artefact_appears_whole_and_replaces_the_last(tmp_path):
    write_into(tmp_path / "made", "old")
    write_into(tmp_path / "made")
    assert (tmp_path / "made" / "a.txt").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_block_that_fails_leaves_what_was_there(tmp_path):
    write_into(tmp_path / "made", "old")
    with (
        pytest.raises(ArtefactError, match=r"dataset .*made: cannot be written \(OSError: disk full\)"),
        open_artefact(tmp_path / "made", "dataset") as partial,
    ):
        (partial / "a.txt").write_text("half")
        raise OSError("disk full")
    with pytest.raises(KeyboardInterrupt), open_artefact(tmp_path / "made", "dataset"):
        raise KeyboardInterrupt
    assert (tmp_path / "made" / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_leftovers_of_a_killed_run_are_no_obstacle(tmp_path):
    (tmp_path / "made.partial").mkdir()
    (tmp_path / "made.partial" / "b.txt").write_text("half")
    write_into(tmp_path / "made")
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["a.txt", FILE_NAME]


def test_a_folder_that_is_no_artefact_is_left_alone(tmp_path):
    (tmp_path / "made").mkdir()
    with (
        pytest.raises(ArtefactError, match="exists and is no dataset; choose another folder"),
        open_artefact(tmp_path / "made", "dataset"),
    ):
        raise AssertionError
