"""HateXplain: three annotators a post, and the words they marked as spans."""

import json
import sys
from pathlib import Path

import pytest

from gooseguard.core.errors import DataError
from gooseguard.data.rules import Votes
from gooseguard.data.sources.hatexplain import marked

sys.path.insert(0, str(Path(__file__).parent))
from published import rows_of, skipping


def post(labels, targets, rationales=(), tokens=("you", "<slur>", "moron", "go")):
    return {
        "post_id": "1_twitter",
        "annotators": [
            {"label": label, "annotator_id": number, "target": target}
            for number, (label, target) in enumerate(zip(labels, targets, strict=True))
        ],
        "rationales": list(rationales),
        "post_tokens": list(tokens),
    }


def write(folder, posts):
    (folder / "dataset.json").write_text(json.dumps(posts))
    (folder / "post_id_divisions.json").write_text(
        json.dumps({"train": ["1_twitter"], "val": [], "test": ["2_gab"]})
    )


def test_votes_targets_and_spans(tmp_path):
    hateful = post(
        ["hatespeech", "hatespeech", "normal"],
        [["Women", "African"], ["Women"], ["None"]],
        [[0, 1, 1, 0], [1, 1, 0, 0]],
    )
    offensive = post(["offensive", "normal", "offensive"], [["Other"]] * 3, [[0, 0, 1, 0], [0, 0, 1, 0]])
    write(tmp_path, {"1_twitter": hateful, "2_gab": offensive, "3_gab": post(["normal"] * 3, [["None"]] * 3)})
    first, second, third = rows_of("hatexplain", tmp_path)
    assert first.example.content.parts[0].text == "you <slur> moron go"
    assert first.example.labels["hate"] == pytest.approx(2 / 3)
    assert first.votes["hate"] == Votes(3, (1.0, 1.0, 0.0))
    assert first.example.subgroups == ("Women",)
    # "you" (half of both), "<slur>" (both) and "moron" (half) run together: code points 0 to 16.
    assert [(span.begin, span.end, span.category, span.score) for span in first.spans] == [
        (0, 16, "hate", 0.5)
    ]
    assert (second.spans[0].category, second.spans[0].score) == ("toxicity", 1.0)
    assert dict(second.example.labels) == pytest.approx({"hate": 0.0, "toxicity": 2 / 3})
    assert [row.split for row in (first, second, third)] == ["train", "test", ""]
    assert third.spans == ()


def test_runs_of_marked_words():
    # Two runs: "a" by both, then "c d" by both and by one.
    assert marked(["a", "b", "c", "d"], [[1, 0, 1, 1], [1, 0, 1, 0]]) == [(0, 1, 1.0), (4, 7, 0.5)]
    assert marked(["a", "b"], []) == []
    # A list of another length is left out.
    assert marked(["a", "b"], [[1], [0, 1]]) == [(2, 3, 1.0)]


def test_another_layout_and_an_unknown_class_are_named(tmp_path):
    write(
        tmp_path,
        {
            "1_twitter": {"text": "a"},
            "2_gab": post(["hate"], [["None"]]),
            "3_gab": [],
            "4": post(["normal"], [[]]),
        },
    )
    rows, shown = skipping("hatexplain", tmp_path)
    assert len(rows) == 1
    assert "dataset.json, row 1: is of another layout" in shown[0]
    assert "dataset.json, row 2: field 'label': unknown class 'hate'; expected one of hatespeech" in shown[1]
    assert shown[2] == "dataset.json, row 3: is a list, expected an object"
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(DataError, match=r"dataset\.json: JSONDecodeError; expected one JSON object"):
        rows_of("hatexplain", tmp_path)
