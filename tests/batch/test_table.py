"""Rows to verdicts: order, batches, errors beside scores."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.batch.table import Row, RowError, score_batches, score_rows
from gooseguard.core.content import Content, Modality
from gooseguard.core.errors import DataError, EngineError
from gooseguard.core.policy import Policy, Threshold
from gooseguard.core.scorer import ScoreError, Scores, Span

POLICY = Policy("mine", "1", {"toxicity": Threshold(0.5, 0.9)})


class LengthScorer:
    """Scores a text by its length: a hundredth a code point; "x" cannot be scored, "y" has no toxicity."""

    name = "length@0"
    categories = frozenset({"toxicity"})
    modalities = frozenset({Modality.TEXT})
    languages = frozenset()

    def __init__(self):
        self.sizes = []

    def score(self, contents):
        self.sizes.append(len(contents))
        return [self._score(content.parts[0].text) for content in contents]

    def _score(self, text):
        if text == "x":
            return ScoreError("ContentError", "no")
        values = {"hate": 0.5} if text == "y" else {"toxicity": len(text) / 100}
        return Scores(values, self.name, (Span(0, 0, 1, "toxicity", 0.25),))


def row(row_id, text):
    return Row(row_id, Content.from_text(text))


def test_a_scored_row_has_every_field():
    (verdict,) = score_rows([row("a", "t" * 60)], LengthScorer(), POLICY)
    assert verdict == {
        "id": "a",
        "action": "review",
        "flagged": True,
        "scores": {"toxicity": 0.6},
        "model": "length@0",
        "policy": "mine@1",
        "spans": [{"part": 0, "begin": 0, "end": 1, "category": "toxicity", "score": 0.25}],
    }


def test_failed_rows_ask_for_review_and_the_others_are_scored():
    rows = [
        row("1", "x"),
        RowError("2", ScoreError("DataError", "line 2: bad")),
        row("3", "y"),
        row("4", "t" * 95),
        row("5", "t"),
    ]
    verdicts = list(score_rows(rows, LengthScorer(), POLICY))
    assert [verdict["id"] for verdict in verdicts] == ["1", "2", "3", "4", "5"]
    assert [verdict["action"] for verdict in verdicts] == ["review", "review", "review", "block", "allow"]
    assert [verdict.get("error", {}).get("type") for verdict in verdicts] == [
        "ContentError",
        "DataError",
        "PolicyError",
        None,
        None,
    ]
    for verdict in verdicts[:3]:
        assert verdict["flagged"] is False
        assert verdict["scores"] == {}
        assert verdict["spans"] == []
        assert (verdict["model"], verdict["policy"]) == ("length@0", "mine@1")


def test_batches_are_bounded_by_rows():
    scorer = LengthScorer()
    batches = list(score_batches([row(str(i), "t") for i in range(7)], scorer, POLICY, max_rows=3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert scorer.sizes == [3, 3, 1]


def test_batches_are_bounded_by_bytes_and_a_large_row_is_alone():
    # Of 4, 4, 20, 4, 4 and 4 bytes, at most 10 go together.
    rows = [row(str(i), "t" * size) for i, size in enumerate([4, 4, 20, 4, 4, 4])]
    batches = list(score_batches(rows, LengthScorer(), POLICY, max_bytes=10))
    assert [[verdict["id"] for verdict in batch] for batch in batches] == [
        ["0", "1"],
        ["2"],
        ["3", "4"],
        ["5"],
    ]


def test_rows_before_a_broken_source_are_scored():
    def rows():
        yield row("1", "t")
        raise DataError("the rest cannot be read")

    verdicts = score_rows(rows(), LengthScorer(), POLICY)
    assert next(verdicts)["id"] == "1"
    with pytest.raises(DataError, match="the rest"):
        next(verdicts)


def test_rows_are_taken_only_as_they_are_needed():
    taken = []

    def rows():
        for i in range(10):
            taken.append(i)
            yield row(str(i), "t")

    next(score_batches(rows(), LengthScorer(), POLICY, max_rows=2))
    assert taken == [0, 1]


def test_no_rows_give_nothing():
    assert list(score_rows([], LengthScorer(), POLICY)) == []


def test_a_scorer_that_loses_a_content_is_refused():
    class Lossy(LengthScorer):
        def score(self, contents):
            return super().score(contents)[1:]

    with pytest.raises(EngineError, match="gave 1 scores for 2 contents"):
        list(score_rows([row("1", "t"), row("2", "t")], Lossy(), POLICY))


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.sampled_from(["ok", "error", "unscored"])),
    st.integers(1, 5),
    st.integers(1, 12),
)
def test_order_and_number_never_depend_on_batches(kinds, max_rows, max_bytes):
    rows = [
        RowError(str(i), ScoreError("DataError", "bad"))
        if kind == "error"
        else row(str(i), "x" if kind == "unscored" else "ok" * (i % 4 + 1))
        for i, kind in enumerate(kinds)
    ]
    whole = list(score_rows(rows, LengthScorer(), POLICY))
    cut = list(score_batches(rows, LengthScorer(), POLICY, max_rows=max_rows, max_bytes=max_bytes))
    assert [verdict for batch in cut for verdict in batch] == whole
    assert [verdict["id"] for verdict in whole] == [str(i) for i in range(len(kinds))]
    assert ["error" in verdict for verdict in whole] == [kind != "ok" for kind in kinds]
