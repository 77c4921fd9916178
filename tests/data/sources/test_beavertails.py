"""BeaverTails: answers judged in the context of their questions."""

import gzip
import json
import sys
from pathlib import Path

import pytest

from gooseguard.core.errors import DataError

sys.path.insert(0, str(Path(__file__).parent))
from published import rows_of

KINDS = [
    "animal_abuse", "child_abuse", "controversial_topics,politics", "discrimination,stereotype,injustice",
    "drug_abuse,weapons,banned_substance", "financial_crime,property_crime,theft",
    "hate_speech,offensive_language", "misinformation_regarding_ethics,laws_and_safety",
    "non_violent_unethical_behavior", "privacy_violation", "self_harm", "sexually_explicit,adult_content",
    "terrorism,organized_crime", "violence,aiding_and_abetting,incitement",
]  # fmt: skip


def row(kinds=(), names=KINDS):
    return {
        "prompt": "how?",
        "response": "so.",
        "category": {name: name in kinds for name in names},
        "is_safe": not kinds,
    }


def write(path, rows):
    path.write_bytes(gzip.compress("\n".join(json.dumps(one) for one in rows).encode()))


def test_the_answer_is_judged_and_the_question_is_its_context(tmp_path):
    write(tmp_path / "train.jsonl.gz", [row(["financial_crime,property_crime,theft", "animal_abuse"]), row()])
    first, second = rows_of("beavertails", tmp_path)
    assert first.example.content.parts[0].text == "so."
    assert first.example.content.context[0].text == "how?"
    assert first.split == "train"
    # Of the two kinds that are illicit, one is.
    assert dict(first.example.labels) == {
        "hate": 0, "toxicity": 0, "illicit": 1, "illicit/violent": 0, "violence": 0, "self-harm": 0,
        "sexual": 0,
    }  # fmt: skip
    assert (first.native["category.animal_abuse"], first.native["is_safe"]) == (True, False)
    assert set(second.example.labels.values()) == {0.0}


def test_a_missing_kind_is_named(tmp_path):
    write(tmp_path / "test.jsonl.gz", [row(names=KINDS[:-1])])
    with pytest.raises(DataError, match=r"has no column 'category\.violence,aiding_and_abetting,incitement'"):
        rows_of("beavertails", tmp_path)
