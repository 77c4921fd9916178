"""The reader of labelled text: what it makes of a row, and where it says a row is wrong."""

import gzip
import json
from pathlib import Path

import pytest

from gooseguard.core.errors import DataError
from gooseguard.data.mapping import SourceSet, read_mapping
from gooseguard.data.sources.labelled_text import read_set

SOURCE = SourceSet("mild", "open", "open/mild.jsonl.gz", "MIT", "a/b@0", "en", "rude", subgroups="people")
LABELS = {"rude": "insult", "identity": "hate"}
ROW = {"text": "moron", "split": "train", "lang": "en", "native": {"votes": 3}, "y": {"rude": 1}}


def write(root, lines):
    path = root / SOURCE.path
    path.parent.mkdir(exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    return path


def test_maps_a_row_to_an_example(tmp_path):
    # U+2028 ends a line for str.splitlines, not for JSON Lines.
    native = {"people": ["women", "none", ""], "votes": 3}
    write(
        tmp_path,
        [{**ROW, "text": "a\u2028b", "lang": "de", "native": native, "y": {"rude": 1, "identity": 0}}, ROW],
    )
    first, second = read_set(tmp_path, SOURCE, LABELS)
    assert first.example.id == "mild/1"
    assert first.example.content.parts[0].text == "a\u2028b"
    assert first.example.content.language == "de"
    assert dict(first.example.labels) == {"insult": 1.0, "hate": 0.0}
    assert first.example.subgroups == ("women",)
    assert (first.example.source, first.split, first.native) == ("mild", "train", native)
    assert dict(second.example.labels) == {"insult": 1.0}
    assert second.example.subgroups == ()


def test_keeps_only_the_chosen_categories(tmp_path):
    write(tmp_path, [{**ROW, "y": {"rude": 1, "identity": 0}}, {**ROW, "y": {}}])
    rows = list(read_set(tmp_path, SOURCE, LABELS, ["hate"]))
    assert [dict(row.example.labels) for row in rows] == [{"hate": 0.0}, {}]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "is no JSON; expected one object a line"),
        ("[]\n", "has a list, expected an object of text, split"),
        ({**ROW, "extra": 1}, r"has fields .*'extra'"),
        (
            {key: ROW[key] for key in ROW if key != "lang"},
            "expected an object of text, split, lang, native, y",
        ),
        ({**ROW, "text": None}, "text is a NoneType, expected str"),
        ({**ROW, "y": []}, "y is a list, expected dict"),
        ({**ROW, "y": {"mood": 1}}, "label 'mood' is not in the mapping; expected one of rude, identity"),
        ({**ROW, "y": {"rude": 0.5}}, "label 'rude' is 0.5, expected 0 or 1"),
        ({**ROW, "y": {"rude": None}}, "label 'rude' is null, expected 0 or 1"),
        ({**ROW, "y": {"rude": True}}, "label 'rude' is true, expected 0 or 1"),
        ({**ROW, "y": {"rude": "1"}}, "label 'rude' is \"1\", expected 0 or 1"),
        ({**ROW, "text": "\ud800"}, r"lone surrogate U\+D800 at code point 0"),
    ],
)
def test_names_file_and_line_of_a_bad_row(tmp_path, line, message):
    write(tmp_path, [ROW, line])
    with pytest.raises(DataError, match=rf"open/mild\.jsonl\.gz, line 2: .*{message}") as caught:
        list(read_set(tmp_path, SOURCE, LABELS))
    assert "moron" not in str(caught.value)


def test_names_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"open/mild\.jsonl\.gz: no such file"):
        list(read_set(tmp_path, SOURCE, LABELS))


@pytest.mark.parametrize("damage", ["cut", "plain", "latin-1"])
def test_names_a_damaged_file(tmp_path, damage):
    path = write(tmp_path, [ROW] * 50)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-12])
    elif damage == "plain":
        path.write_text(json.dumps(ROW))
    else:
        path.write_bytes(gzip.compress('{"text": "é"}'.encode("latin-1")))
    with pytest.raises(
        DataError, match=r"open/mild\.jsonl\.gz, (after )?line \d+: .*expected gzipped UTF-8 JSON Lines"
    ):
        list(read_set(tmp_path, SOURCE, LABELS))


def test_reads_a_published_set():
    root = Path(__file__).parents[4] / "shared" / "data" / "text"
    if not root.is_dir():
        pytest.skip("needs the labelled text sets beside the checkout")
    mapping = read_mapping()
    source = next(source for source in mapping.sets if source.name == "japanese_toxic_subset")
    rows = list(read_set(root, source, mapping.labels))
    # 437 rows, 20 of them obscene: the table of the sets' own README.
    assert len(rows) == 437
    assert sum(row.example.labels["profanity"] == 1.0 for row in rows) == 20
    assert {row.example.content.language for row in rows} == {"ja"}
