"""A tiny dataset folder of made-up texts, and a scorer that knows their labels, for tests of evaluation."""

import hashlib

import numpy as np

from gooseguard.core.content import Content, Modality
from gooseguard.core.example import Example
from gooseguard.core.scorer import Scores
from gooseguard.data.build import count_rows
from gooseguard.data.shards import DatasetRow, write_shards

CATEGORIES = ("toxicity", "insult")
SETS = {
    "a": {"licence": "MIT", "citation": "one/a@1", "language": "en", "weak": False, "meaning": "rude"},
    "b": {
        "licence": "CC0",
        "citation": "two/b@2",
        "language": "en",
        "weak": True,
        "meaning": "posted | there",
    },
    "plain": {"licence": "CC0", "citation": "two/c@3", "language": "en", "weak": False, "meaning": "nothing"},
}


def has(category, text):
    """The truth: no n-gram of the text gives it away."""
    return hashlib.sha256(f"{category}/{text}".encode()).digest()[0] % 2 == 0


def make_rows(split, n_rows, rng):
    rows = []
    for number in range(n_rows):
        text = " ".join(str(word) for word in rng.integers(100, 140, 6))
        source = ("a", "b", "plain")[number % 3]
        # b says nothing of insult; plain nothing at all.
        names = {"a": CATEGORIES, "b": CATEGORIES[:1], "plain": ()}[source]
        labels = {name: float(has(name, text)) for name in names}
        content = Content.from_text(text, "en" if number % 7 else None)
        rows.append(DatasetRow(Example(f"{split}/{number}", content, labels, (), source), split))
    return rows


def write_dataset(folder, n_train=240, n_val=210, n_test=360, seed=0):
    rng = np.random.default_rng(seed)
    sizes = {"train": n_train, "val": n_val, "test": n_test}
    rows = {split: make_rows(split, n_rows, rng) for split, n_rows in sizes.items()}
    facts = {"counts": count_rows(rows), "sets": SETS}
    return write_shards(folder, rows, {"seed": seed}, {"a.gz": "0" * 64}, facts)


def make_card(facts):
    """What training stores of such a dataset, in the form of `training.card.describe_data`."""
    counts = facts["counts"]
    of = {name: {split: counts[split]["categories"].get(name) for split in counts} for name in CATEGORIES}
    sets = {
        name: {key: entry[key] for key in ("licence", "citation", "language", "weak")}
        | {"rows": counts["train"]["sources"].get(name, 0)}
        for name, entry in SETS.items()
    }
    hate = {"train": {"annotated": 9, "positive": 3}, "val": {"annotated": 5, "positive": 2}, "test": None}
    return {
        "data": {
            "sets": sets,
            "categories": of,
            "not_scored": {"hate": hate},
            "languages": counts["train"]["languages"],
        },
        "parameters": 1234567,
        "recipe": {
            "data": {"root": "/somewhere/private", "seed": 0},
            "least_positives": 50,
            "teacher_weight": 0.5,
        },
        "training": {"seconds": 7200.0, "steps": 10},
    }


class OracleScorer:
    """Scores 0.75 where a category holds and 0.25 where not; counts what it was asked, and can break down."""

    name = "oracle@0123456789ab"
    categories = frozenset(CATEGORIES)
    modalities = frozenset({Modality.TEXT})
    languages = frozenset({"en"})

    def __init__(self, card=None, *, breaks_after=None, is_inverted=False):
        self.card = card or {}
        self.n_scored = 0
        self.breaks_after = breaks_after
        self.is_inverted = is_inverted

    def score(self, contents):
        if self.breaks_after is not None and self.n_scored >= self.breaks_after:
            raise KeyboardInterrupt
        self.n_scored += len(contents)
        return [self._score(content.parts[0].text) for content in contents]

    def _score(self, text):
        values = {name: 0.75 if has(name, text) != self.is_inverted else 0.25 for name in CATEGORIES}
        return Scores(values, self.name)


class SilentListener:
    """Remembers the phases."""

    def __init__(self):
        self.phases = []
        self.counts = []

    def say(self, phase):
        self.phases.append(phase)

    def count(self, done, total):
        self.counts.append((done, total))
