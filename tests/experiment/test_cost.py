import itertools
import time

import numpy as np
import pytest

from gooseguard.core.errors import ConfigError, EngineError
from gooseguard.core.scorer import ScoreError, Scores
from gooseguard.experiment.cost import Plan, ScoreWork, make_text, measure


class Sleeper:
    """Work of a known price: a call takes 4 ms, and each word 0.1 ms."""

    name = "sleeper@0"

    def __init__(self):
        self.calls = []

    def count_tokens(self, text):
        return len(text.split())

    def run(self, texts):
        self.calls.append(texts)
        time.sleep(0.004 + 0.0001 * sum(map(self.count_tokens, texts)))


def test_every_length_and_batch_is_measured():
    work, told = Sleeper(), []
    plan = Plan(lengths=(50, 10), batches=(2, 1), repeats=3, seconds=60, price_per_hour=3.6)
    cells = list(measure(work, plan, lambda *cell: told.append(cell)))
    assert told == [(10, 1), (10, 2), (50, 1), (50, 2)]
    assert [(cell.n_token, cell.batch, cell.n_call) for cell in cells] == [
        (10, 1, 3), (10, 2, 3), (50, 1, 3), (50, 2, 3),
    ]  # fmt: skip
    # One call to warm up; then as many texts as the batch says, none twice.
    assert list(map(len, work.calls)) == [1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2]
    texts = list(itertools.chain(*work.calls))
    assert len(set(texts)) == len(texts)


def test_figures_of_work_whose_price_is_known():
    (cell,) = measure(Sleeper(), Plan(lengths=(60,), batches=(2,), repeats=5, seconds=60, price_per_hour=3.6))
    # 4 ms + 120 words of 0.1 ms; sleeping takes a little longer, on a busy machine a lot.
    assert 0.016 <= cell.p50_s < 0.1
    assert cell.p50_s <= cell.p95_s <= cell.p99_s
    assert 2 / cell.p99_s <= cell.texts_per_s <= 2 / 0.016
    assert cell.tokens_per_s == pytest.approx(60 * cell.texts_per_s)
    # 3.60 an hour is 0.001 a second: a million texts cost 1,000 over texts a second.
    assert cell.cost_per_million == pytest.approx(1000 / cell.texts_per_s)
    assert cell.memory_bytes > 1e6


def test_percentiles_are_of_the_calls():
    class Uneven(Sleeper):
        def run(self, texts):
            self.calls.append(texts)
            time.sleep(0.1 if len(self.calls) == 11 else 0.001)

    (cell,) = measure(Uneven(), Plan(lengths=(5,), batches=(1,), repeats=10, seconds=60))
    assert cell.p50_s < 0.05
    # The slowest of ten calls is the 100th percentile; between it and the one before lies the 95th.
    assert 0.04 < cell.p95_s < cell.p99_s
    assert cell.p99_s > 0.08
    assert cell.cost_per_million is None


def test_time_is_bounded_and_one_call_is_always_made():
    (cell,) = measure(Sleeper(), Plan(lengths=(5,), batches=(1,), repeats=1000, seconds=1e-9))
    assert cell.n_call == 1


def test_stopping_early_keeps_what_was_measured():
    class Interrupted(Sleeper):
        def run(self, texts):
            if len(self.calls) == 3:
                raise KeyboardInterrupt
            super().run(texts)

    cells = []
    with pytest.raises(KeyboardInterrupt):
        cells.extend(measure(Interrupted(), Plan(lengths=(5, 6), batches=(1,), repeats=2, seconds=60)))
    # What extend took before the interrupt stays.
    assert [cell.n_token for cell in cells] == [5]


@pytest.mark.parametrize("n_token", [1, 7, 64, 500])
def test_texts_have_the_length_that_was_asked_for(n_token):
    def count(text):
        # Words of many characters are several tokens, as in real vocabularies.
        return sum(-(-len(word) // 4) for word in text.split())

    text = make_text(n_token, count, np.random.default_rng(1))
    assert abs(count(text) - n_token) <= max(3, 0.05 * n_token)


class FakeScorer:
    name = "fake@0"

    def __init__(self, result):
        self.result, self.seen = result, []

    def count_tokens(self, text):
        return len(text)

    def score(self, contents):
        self.seen += [content.parts[0].text for content in contents]
        return [self.result for _ in contents]


def test_a_scorer_is_work():
    scorer = FakeScorer(Scores({"insult": 0.5}, "fake@0"))
    work = ScoreWork(scorer)
    work.run(["a", "b"])
    assert scorer.seen == ["a", "b"]
    assert (work.name, work.count_tokens("abc")) == ("fake@0", 3)


def test_what_was_not_scored_is_not_timed():
    with pytest.raises(EngineError, match="fake@0 could not score a text: broken"):
        ScoreWork(FakeScorer(ScoreError("EngineError", "broken"))).run(["a"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lengths": ()}, "lengths is"),
        ({"batches": (1, 0)}, "batches is"),
        ({"repeats": 0}, "repeats is 0"),
        ({"seconds": 0.0}, "seconds is 0.0"),
        ({"price_per_hour": -1.0}, "price an hour is -1.0"),
    ],
)
def test_wrong_plans(options, message):
    with pytest.raises(ConfigError, match=message):
        Plan(**options)
