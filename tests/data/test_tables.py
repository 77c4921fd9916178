"""Rows become tables and rows again."""

from gooseguard.core.content import Content, Modality, Part
from gooseguard.core.example import Example
from gooseguard.core.scorer import Span
from gooseguard.data.build import merge_labels
from gooseguard.data.rules import Votes
from gooseguard.data.sources.source import SourceRow
from gooseguard.data.tables import merge_records, to_example, to_record, to_records, to_table, with_example

IMAGE = Part(Modality.IMAGE, b"pixels", "image/png")
ROW = SourceRow(
    Example(
        "a/1",
        Content((Part.from_text("one"), IMAGE), (Part.from_text("asked"),), "en"),
        {"hate": 0.25, "insult": None},
        ("women",),
        "a",
        "why",
    ),
    {"votes": [0, 1]},
    "test",
    votes={"hate": Votes(4), "insult": Votes(2, (0.0, 1.0))},
    weights={"hate": 0.5},
    spans=(Span(0, 1, 3, "hate", 1.0),),
)


def record_of(row, path="media/x.png"):
    return to_record(row, lambda part: path)


def test_reads_back_what_was_written():
    record = record_of(ROW)
    (found,) = to_records(to_table([record]))
    assert found == record
    assert found["vote_counts"] == {"hate": 4, "insult": 2}
    assert found["votes"] == {"insult": [0.0, 1.0]}
    assert found["native"] == '[{"id": "a/1", "split": "test", "native": {"votes": [0, 1]}}]'
    example = to_example(found, {"media/x.png": b"pixels"}.__getitem__)
    assert example.content == ROW.example.content
    assert dict(example.labels) == {"hate": 0.25}
    assert to_records(to_table([])) == []


def test_an_example_that_lost_its_text_keeps_its_image():
    cleaned = Example("a/1", Content((IMAGE,), (), "de"), {"hate": 1.0, "spam": 0.0})
    changed = with_example(record_of(ROW), cleaned, {"hate"})
    assert [part["path"] for part in changed["parts"]] == ["media/x.png"]
    assert (changed["labels"], changed["language"], changed["context"]) == ({"hate": 1.0}, "de", [])


def test_merging_keeps_the_first_and_what_all_said():
    other = SourceRow(
        Example("b/9", ROW.example.content, {"hate": 1.0, "spam": 1.0}, ("men", "women"), "b"), {}, ""
    )
    merged = merge_records([record_of(ROW), record_of(other)], (), merge_labels)
    # The mean of 0.25 and 1; the weight is the greatest, 1, of either.
    assert (merged["id"], merged["labels"]) == ("a/1", {"hate": 0.625, "spam": 1.0})
    assert merged["weights"] == {}
    assert merged["subgroups"] == ["women", "men"]
    assert merged["disputed"] == ["hate"]
    assert merged["vote_counts"] == {"hate": 4, "insult": 2}
    # A weak source says nothing where another one speaks.
    merged = merge_records([record_of(ROW), record_of(other)], ("b",), merge_labels)
    assert merged["labels"] == {"hate": 0.25, "spam": 1.0}
    assert merged["weights"] == {}
