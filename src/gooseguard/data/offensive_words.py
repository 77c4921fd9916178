"""A dataset -> the words that stand in its harmful texts and hardly anywhere else.

What an answer must not repeat is learnt rather than listed: words are compared between texts with and
without a positive label by their weighted log-odds ratio with an informative Dirichlet prior, the counts of
both together. A word counts where it is told apart with some certainty and is much more frequent among
harmful texts.

Source: Monroe, Colaresi and Quinn, "Fightin' Words", Political Analysis 16(4), 2008, equations 15, 16 and
22.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CATEGORIES = ("toxicity", "insult", "profanity", "hate", "harassment", "sexual")
"""Whose words are offensive by themselves: threats, self-harm and wrongdoing are said in ordinary words."""

LEAST_Z = 3.0
"""Standard deviations by which a word must be told apart."""
LEAST_RATIO = 8.0
"""How many times as frequent a word must be among harmful texts."""
PRIOR = 500.0
"""Words that the prior weighs as much as."""
MOST_WORDS = 2_000_000
"""Different words that are counted; rarer ones are forgotten on the way, so that memory is bounded."""

_WORD = re.compile(r"[^\W_]+(?:['’*][^\W_]+)*")


class WordCounts:
    """Counts words of harmful and of harmless texts."""

    def __init__(self) -> None:
        self.harmful: Counter[str] = Counter()
        self.harmless: Counter[str] = Counter()

    def add(self, text: str, labels: Mapping[str, float]) -> None:
        """Count a text: harmful with a positive label, harmless where all known ones are 0; else not."""
        known = [labels[name] for name in CATEGORIES if name in labels]
        if not known:
            return
        side = self.harmful if max(known) >= 0.5 else self.harmless if max(known) == 0 else None
        if side is None:
            return
        # Each word once a text: one text must not make a word.
        side.update({word.lower() for word in _WORD.findall(text)})
        if len(side) > MOST_WORDS:
            for word in [word for word, n in side.items() if n == 1]:
                del side[word]

    def offensive(self) -> frozenset[str]:
        """Give the words that tell harmful texts apart."""
        n_harmful, n_harmless = self.harmful.total(), self.harmless.total()
        total = n_harmful + n_harmless
        if not n_harmful or not n_harmless:
            return frozenset()
        found = []
        for word, n in self.harmful.items():
            other = self.harmless[word]
            prior = PRIOR * (n + other) / total
            odds = math.log((n + prior) / (n_harmful + PRIOR - n - prior)) - math.log(
                (other + prior) / (n_harmless + PRIOR - other - prior)
            )
            z = odds / math.sqrt(1 / (n + prior) + 1 / (other + prior))
            if z >= LEAST_Z and n * n_harmless >= LEAST_RATIO * max(other, 0.5) * n_harmful:
                found.append(word)
        return frozenset(found)


def offensive_words(rows: Iterable[tuple[str, Mapping[str, float]]]) -> frozenset[str]:
    """Give the offensive words of texts with their labels."""
    counts = WordCounts()
    for text, labels in rows:
        counts.add(text, labels)
    return counts.offensive()
