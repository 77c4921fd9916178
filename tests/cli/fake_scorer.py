"""The real command line with a scorer whose answers can be known beforehand; run as a program by the tests.

A text with "moron" scores 0.97 for toxicity and 0.75 for insult, another 0.02 and 0.01; hate is None.
One with "<unscored>" gets a ScoreError, one with "<crash>" is a bug, one with "<slow>" takes a minute.
"""

from __future__ import annotations

import sys
import time

from gooseguard.cli.main import create_app, run_app
from gooseguard.core.content import Modality
from gooseguard.core.scorer import ScoreError, Scores, Span


class FakeScorer:
    name = "fake@0123456789ab"
    categories = frozenset({"toxicity", "insult", "hate"})
    modalities = frozenset({Modality.TEXT})
    languages = frozenset({"en"})

    def __init__(self, *, spans=False):
        self.spans = spans
        self.card = {"parameters": 3}
        self.batches = []

    def score(self, contents):
        self.batches.append([content.parts[0].text for content in contents])
        return [self._score(text) for text in self.batches[-1]]

    def _score(self, text):
        if "<unscored>" in text:
            return ScoreError("ContentError", "part 0 cannot be judged")
        if "<crash>" in text:
            raise KeyError(text)
        if "<slow>" in text:
            time.sleep(60)
        at = text.find("moron")
        values = (
            {"toxicity": 0.97, "insult": 0.75, "hate": None}
            if at >= 0
            else {"toxicity": 0.02, "insult": 0.01, "hate": None}
        )
        spans = (Span(0, at, at + 5, "toxicity", 0.97),) if at >= 0 and self.spans else ()
        return Scores(values, self.name, spans)


def load(model, *, threads, spans, **_):
    return FakeScorer(spans=spans)


if __name__ == "__main__":
    sys.exit(run_app(create_app(load=load), sys.argv[1:]))
