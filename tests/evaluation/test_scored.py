import numpy as np
import pytest

from gooseguard.core.content import Content, Modality
from gooseguard.core.errors import DataError, EngineError
from gooseguard.core.scorer import ScoreError, Scores
from gooseguard.evaluation.scored import LabelledRows, evaluate_scorer


class LengthScorer:
    """Scores toxicity by length; refuses empty texts; hate never applies."""

    name = "length@000000000000"
    categories = frozenset(("toxicity", "hate"))
    modalities = frozenset((Modality.TEXT,))
    languages = frozenset(("en",))

    def score(self, contents):
        texts = [content.parts[0].text for content in contents]
        return [
            Scores({"toxicity": len(text) / 10, "hate": None}, self.name)
            if text
            else ScoreError("ContentError", "text is empty")
            for text in texts
        ]


class ShortScorer(LengthScorer):
    """Loses the last content."""

    def score(self, contents):
        return super().score(contents)[:-1]


class ForgetfulScorer(LengthScorer):
    """Lists a category that it leaves out."""

    categories = frozenset(("toxicity", "hate", "threat"))


CONTENTS = [Content.from_text(text) for text in ("a", "", "abc", "ab", "abcde")]


@pytest.mark.parametrize("n_contents", [1, 2, 100])
def test_scores_become_an_array(n_contents):
    found = evaluate_scorer(
        LengthScorer(), CONTENTS, ("hate", "toxicity", "spam"), {"toxicity": 0.3}, n_contents
    )
    nan = np.nan
    expected = [[nan, 0.1, nan], [nan, nan, nan], [nan, 0.3, nan], [nan, 0.2, nan], [nan, 0.5, nan]]
    np.testing.assert_array_equal(found.scores, np.array(expected, dtype=np.float32))
    assert (found.name, found.n_errors, dict(found.thresholds)) == (
        "length@000000000000",
        1,
        {"toxicity": 0.3},
    )


def test_no_contents():
    assert evaluate_scorer(LengthScorer(), [], ("toxicity",)).scores.shape == (0, 1)


def test_a_scorer_that_breaks_its_protocol_is_refused():
    with pytest.raises(EngineError, match="4 results for 5 contents"):
        evaluate_scorer(ShortScorer(), CONTENTS, ("toxicity",))
    with pytest.raises(EngineError, match="no value for 'threat'"):
        evaluate_scorer(ForgetfulScorer(), CONTENTS, ("threat",))


def test_rows_are_checked():
    sources = np.array(["a", "a"])
    with pytest.raises(DataError, match=r"expected \(2, 1\)"):
        LabelledRows(("hate",), np.zeros((3, 1)), sources)
    with pytest.raises(DataError, match="languages"):
        LabelledRows(("hate",), np.zeros((2, 1)), sources, np.array(["en"]))
    with pytest.raises(DataError, match="repeat"):
        LabelledRows(("hate", "hate"), np.zeros((2, 2)), sources)
