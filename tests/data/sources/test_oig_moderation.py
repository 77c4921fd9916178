"""OIG-moderation: dialogues whose tags are read where they say what the text is."""

import json
import sys
from pathlib import Path

import pytest

from gooseguard.core.errors import DataError

sys.path.insert(0, str(Path(__file__).parent))
from published import rows_of, skipping


def write(folder, rows):
    lines = [
        json.dumps(
            {"text": "User: hi\nAssistant: hello", "metadata": {"labels": tags, "source": "prosocial"}}
        )
        for tags in rows
    ]
    (folder / "OIG_safety_v0.2.jsonl").write_text("\n".join(lines))


def test_tags_of_content_become_labels_and_degrees_of_caution_do_not(tmp_path):
    write(tmp_path, [["needs caution", "sexual content"], ["harmless"], ["hate", "needs_intervention"], []])
    rows = rows_of("oig_moderation", tmp_path)
    assert [dict(row.example.labels) for row in rows] == [
        {"sexual": 1.0}, {}, {"toxicity": 1.0, "hate": 1.0}, {},
    ]  # fmt: skip
    assert rows[0].native == {
        "metadata.labels": ["needs_caution", "sexual_content"], "metadata.source": "prosocial",
    }  # fmt: skip
    assert rows[0].example.content.parts[0].text == "User: hi\nAssistant: hello"


def test_an_unknown_tag_and_a_missing_key_are_named(tmp_path):
    write(tmp_path, [["harmless"], ["mood"], "hate"])
    rows, shown = skipping("oig_moderation", tmp_path)
    assert len(rows) == 1
    assert "OIG_safety_v0.2.jsonl, row 2: field 'metadata.labels': unknown class 'mood'; expected" in shown[0]
    assert shown[1] == "OIG_safety_v0.2.jsonl, row 3: metadata.labels is no list of tags"
    (tmp_path / "OIG_safety_v0.2.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(DataError, match=r"row 1: has no column 'metadata\.source'"):
        rows_of("oig_moderation", tmp_path)
