"""Counts of shards; what shards hold is tested through the stage (test_pipeline.py)."""

from gooseguard.core.content import Content
from gooseguard.core.example import Example
from gooseguard.data.build import count_rows
from gooseguard.data.shards import DatasetRow
from gooseguard.data.sources.source import SourceRow
from gooseguard.data.tables import to_record, to_table
from gooseguard.data.write import add_counts, count_table

EXAMPLES = [
    Example("a/1", Content.from_text("one", "en"), {"hate": 1.0, "spam": 0.2}, ("women",), "a"),
    Example("b/1", Content.from_text("two"), {"hate": 0.5}, ("women", "men"), "b"),
    Example("b/2", Content.from_text("three", "en"), {}, (), "b"),
]


def test_counts_of_shards_add_up_to_those_of_rows():
    tables = [
        to_table([to_record(SourceRow(example, {}, ""), None) for example in part])
        for part in (EXAMPLES[:2], EXAMPLES[2:], [])
    ]
    found = add_counts([count_table(table) for table in tables])
    expected = count_rows({"train": [DatasetRow(example, "train") for example in EXAMPLES]})["train"]
    assert {name: found[name] for name in expected} == expected
    assert found["subgroups"] == {"men": 1, "women": 2}
    assert found["modalities"] == {"text": 3}
