import hashlib
import hmac
import json

import pytest

from gooseguard.core.content import Content, Modality, Part
from gooseguard.core.scorer import ScoreError, Scores
from gooseguard.core.verdict import Action, Verdict
from gooseguard.serving.hooks import LogEntry
from gooseguard.serving.records import RowMaker, content_json, storable
from gooseguard.serving.tables import suggestions, verdicts

SCORES = Scores({"toxicity": 0.9, "insult": 0.2, "sexual": None}, "m@1")
VERDICT = Verdict(Action.BLOCK, {"toxicity": True, "insult": False}, SCORES, "p@2")


def make_entry(**changes):
    facts = {
        "request": "req_1", "place": 3, "api": "score", "key": "k1",
        "content": Content.from_text("<text>", "en"), "outcome": VERDICT,
        "model": "m@1", "policy": "p@2", "id": "i7", "author": "ann", "community": "c",
    }  # fmt: skip
    return LogEntry(**facts | changes)


def test_a_verdict_is_kept_with_digests_only():
    row = RowMaker(b"salt").verdict(make_entry(), 12.5)
    assert row == {
        "created": 12.5,
        "request": "req_1",
        "position": 3,
        "api": "score",
        "key": "k1",
        "item": "i7",
        "author": hmac.new(b"salt", b"ann", hashlib.sha256).hexdigest(),
        "community": "c",
        "digest": Content.from_text("<text>", "en").digest(),
        "model": "m@1",
        "policy": "p@2",
        "action": "block",
        "flagged": ["toxicity"],
        "scores": {"toxicity": 0.9, "insult": 0.2, "sexual": None},
        "error": None,
        "content": None,
    }
    assert "<text>" not in str(row)
    assert "ann" not in row.values()


def test_content_only_where_the_operator_asks_and_the_caller_allows():
    row = RowMaker(b"", keeps_content=True).verdict(make_entry(), 0)
    assert json.loads(row["content"]) == {
        "parts": [{"modality": "text", "media_type": "text/plain", "text": "<text>"}],
        "language": "en",
    }
    row = RowMaker(b"", keeps_content=True).verdict(make_entry(may_store=False), 0)
    assert (row["content"], row["digest"]) == (None, None)
    assert row["scores"]


def test_a_content_that_could_not_be_scored():
    row = RowMaker(b"").verdict(make_entry(outcome=ScoreError("ContentError", "part 0 …")), 0)
    assert (row["action"], row["flagged"], row["scores"], row["error"]) == (None, None, None, "ContentError")


def test_every_row_fills_its_table():
    maker = RowMaker(b"")
    for table, rows in (
        (
            verdicts,
            [maker.verdict(make_entry(), 0), maker.verdict(make_entry(outcome=ScoreError("E", "")), 0)],
        ),
        (suggestions, [maker.suggestion(make_entry(api="suggest", suggested={"toxicity": 1.0}), 0)]),
    ):
        for row in rows:
            assert set(row) == {column.name for column in table.columns} - {"id"}


def test_a_suggestion_keeps_its_content():
    row = RowMaker(b"").suggestion(make_entry(api="suggest", suggested={"toxicity": 1.0}), 0)
    assert row["scores"] == {"toxicity": 1.0}
    assert row["language"] == "en"
    assert json.loads(row["content"])["parts"][0]["text"] == "<text>"


def test_images_and_context_are_kept_as_they_came():
    content = Content((Part(Modality.IMAGE, b"\x00\xff", "image/png"),), (Part.from_text("before"),))
    assert json.loads(content_json(content)) == {
        "parts": [{"modality": "image", "media_type": "image/png", "base64": "AP8="}],
        "context": [{"modality": "text", "media_type": "text/plain", "text": "before"}],
    }


def test_json_of_content_is_ascii_whatever_it_holds():
    assert content_json(Content.from_text("é\0\U0001f986")).isascii()


@pytest.mark.parametrize(
    ("word", "stored"), [("", None), ("x", "x"), ("a\0b", "a\ufffdb"), ("\ud800", "?"), ("ü", "ü")]
)
def test_words_of_callers_can_be_stored_anywhere(word, stored):
    assert storable(word) == stored


def test_authors_of_two_databases_cannot_be_matched():
    assert RowMaker(b"1").author_digest("ann") != RowMaker(b"2").author_digest("ann")
    assert RowMaker(b"1").author_digest("") is None
