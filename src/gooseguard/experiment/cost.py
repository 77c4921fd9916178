"""What moderation costs on this machine, by text length and batch: time, memory, energy and money.

Measures whatever does the work through one narrow seam, `Work`, and knows nothing of models.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from gooseguard.core.content import Content
from gooseguard.core.errors import ConfigError, EngineError
from gooseguard.core.scorer import ScoreError, Scores
from gooseguard.core.taxonomy import load_taxonomy
from gooseguard.experiment.machine import EnergyMeter, read_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MILLION = 1_000_000
"""Texts that a cost is given for."""

SECONDS_PER_HOUR = 3600


class Work(Protocol):
    """What is measured: something that takes a batch of texts."""

    @property
    def name(self) -> str:
        """Give what does the work, such as "name@digest"."""

    def count_tokens(self, text: str) -> int:
        """Give how many tokens a text is."""

    def run(self, texts: Sequence[str]) -> None:
        """Do the work for a batch, to the end.

        Raises:
            GooseguardError: a text could not be worked on.
        """


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, and for how long."""

    lengths: tuple[int, ...] = (16, 64, 256, 1024)
    """Tokens of a text."""
    batches: tuple[int, ...] = (1, 8)
    """Texts handed over at once."""
    repeats: int = 20
    """Calls a cell at most."""
    seconds: float = 10.0
    """After which no further call of a cell begins; one call is always made."""
    price_per_hour: float | None = None
    """Of this machine, in any currency."""
    seed: int = 0
    """Of the words of the texts."""

    def __post_init__(self) -> None:
        findings = [
            f"{name} is {values}, expected whole numbers, at least 1"
            for name, values in (("lengths", self.lengths), ("batches", self.batches))
            if not values or min(values) < 1
        ]
        if self.repeats < 1:
            findings.append(f"repeats is {self.repeats}, expected at least 1")
        if not self.seconds > 0:
            findings.append(f"seconds is {self.seconds}, expected above 0")
        if self.price_per_hour is not None and not 0 <= self.price_per_hour < float("inf"):
            findings.append(f"price an hour is {self.price_per_hour}, expected at least 0")
        if findings:
            raise ConfigError(f"bench: {'; '.join(findings)}")


@dataclass(frozen=True, slots=True)
class Cell:
    """One length and one batch, measured."""

    n_token: float
    """Tokens of a text, mean over those that were used."""
    batch: int
    """Texts handed over at once."""
    n_call: int
    """Calls measured. With fewer than 100, `p99_s` is hardly more than the slowest."""
    p50_s: float
    """Median seconds until a batch is done."""
    p95_s: float
    """95th percentile of the same."""
    p99_s: float
    """99th percentile of the same."""
    texts_per_s: float
    """Texts done, over all the time measured."""
    tokens_per_s: float
    """Tokens of those texts, over the same time."""
    memory_bytes: int | None
    """Resident memory of the process after the cell; `None` where the system does not say."""
    joules_per_text: float | None
    """Energy of the processors, idle share included; `None` where the machine does not report it."""
    cost_per_million: float | None
    """Of a million such texts at the price an hour; `None` without a price."""


def measure(
    work: Work, plan: Plan, announce: Callable[[int, int], None] = lambda length, batch: None
) -> Iterator[Cell]:
    """Measure cell by cell, short texts first; stopping early keeps what was yielded.

    One call with the shortest texts warms up and is not measured. Every call has texts of its own.

    Args:
        work: what is measured.
        plan: how.
        announce: told length and batch before each cell.

    Raises:
        GooseguardError: the work failed; nothing is made of a failed call.
    """
    rng = np.random.default_rng(plan.seed)
    meter = EnergyMeter()
    work.run([make_text(min(plan.lengths), work.count_tokens, rng)])
    for length in sorted(set(plan.lengths)):
        for batch in sorted(set(plan.batches)):
            announce(length, batch)
            yield _measure_cell(work, plan, length, batch, rng, meter)


def _measure_cell(
    work: Work, plan: Plan, length: int, batch: int, rng: np.random.Generator, meter: EnergyMeter
) -> Cell:
    times: list[float] = []
    n_token = 0
    joules: float | None = 0.0
    begin = time.perf_counter()
    while len(times) < plan.repeats and (not times or time.perf_counter() - begin < plan.seconds):
        texts = [make_text(length, work.count_tokens, rng) for _ in range(batch)]
        n_token += sum(map(work.count_tokens, texts))
        before = meter.read()
        started = time.perf_counter()
        work.run(texts)
        times.append(time.perf_counter() - started)
        used = meter.since(before)
        joules = None if joules is None or used is None else joules + used
    total, n_text = sum(times), batch * len(times)
    p50, p95, p99 = np.quantile(times, (0.5, 0.95, 0.99)).tolist()
    price = plan.price_per_hour
    return Cell(
        n_token=n_token / n_text,
        batch=batch,
        n_call=len(times),
        p50_s=p50,
        p95_s=p95,
        p99_s=p99,
        texts_per_s=n_text / total,
        tokens_per_s=n_token / total,
        memory_bytes=read_memory(),
        joules_per_text=None if joules is None else joules / n_text,
        cost_per_million=None if price is None else price / SECONDS_PER_HOUR * total / n_text * MILLION,
    )


def make_text(n_token: int, count_tokens: Callable[[str], int], rng: np.random.Generator) -> str:
    """Write an English text of about `n_token` tokens, of words drawn from the taxonomy's definitions."""
    vocabulary = " ".join(category.definition for category in load_taxonomy().values()).split()
    words = [vocabulary[i] for i in rng.integers(len(vocabulary), size=2 * n_token)]
    n_word = max(1, n_token)
    # Words and tokens are nearly in proportion: a few steps meet the length or come within a word of it.
    for _ in range(8):
        n_found = count_tokens(" ".join(words[:n_word]))
        nearer = min(max(1, round(n_word * n_token / max(n_found, 1))), len(words))
        if nearer == n_word:
            break
        n_word = nearer
    return " ".join(words[:n_word])


@runtime_checkable
class CountingScorer(Protocol):
    """A scorer that tells how many tokens a text is."""

    @property
    def name(self) -> str:
        """Give "name@digest"."""

    def score(self, contents: Sequence[Content]) -> list[Scores | ScoreError]:
        """Score contents."""

    def count_tokens(self, text: str) -> int:
        """Give how many tokens a text is."""


class ScoreWork:
    """Scores texts."""

    def __init__(self, scorer: CountingScorer) -> None:
        self._scorer = scorer
        self.name = scorer.name
        self.count_tokens = scorer.count_tokens

    def run(self, texts: Sequence[str]) -> None:
        """Score a batch.

        Raises:
            EngineError: a text could not be scored.
        """
        for result in self._scorer.score([Content.from_text(text) for text in texts]):
            if isinstance(result, ScoreError):
                raise EngineError(f"{self.name} could not score a text: {result.message}")
