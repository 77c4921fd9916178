"""What OpenAI's derived categories are worth, on the validation rows of a built dataset.

Usage: python benchmarks/wire_rules.py DATASET [--model FILE] [--policy default] [--ordinary 3000]

Nobody annotated `harassment`, `violence` or `hate/threatening` in our sources. The rules of wire/openai.toml
are checked against what was annotated: rows with both a hate and a threat label for the rule that needs both,
rows with an insult label for `harassment`, and ordinary text for what each rule flags that nobody meant.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import gooseguard
from gooseguard.core.scorer import Scores
from gooseguard.data.shards import read_split
from gooseguard.metrics.ranking import average_precision, roc_auc
from gooseguard.serving.wire import is_flagged, load_rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from gooseguard.core.example import Example
    from gooseguard.core.policy import Policy

ORDINARY = "benign_"
"""Begins the names of sources that nobody picked for being bad."""

DERIVED = ("harassment", "harassment/threatening", "hate/threatening", "violence")


def column(scored: Sequence[Scores], category: str) -> npt.NDArray[np.float64]:
    """Give the scores of one category."""
    return np.array([scores.values[category] for scores in scored], np.float64)


def score_all(scorer: gooseguard.Scorer, examples: Sequence[Example]) -> list[Scores]:
    """Score examples; one that cannot be scored ends the run."""
    results = scorer.score([example.content for example in examples])
    scored = [scores for scores in results if isinstance(scores, Scores)]
    if len(scored) != len(examples):
        raise SystemExit("error: some rows could not be scored")
    return scored


def print_both(examples: Sequence[Example], scored: Sequence[Scores]) -> None:
    """Compare ways to score "hateful and threatening" on rows where both were annotated."""
    hate, threat = column(scored, "hate"), column(scored, "threat")
    labels = np.array([min(e.annotated["hate"], e.annotated["threat"]) for e in examples])
    print(f"hate and threat both annotated: {len(labels)} rows, {(labels >= 0.5).sum()} are both")
    ways = {
        "min": np.minimum(hate, threat), "product": hate * threat, "mean": (hate + threat) / 2,
        "max": np.maximum(hate, threat), "hate alone": hate, "threat alone": threat,
    }  # fmt: skip
    for name, values in ways.items():
        print(f"  {name:12} AUC {roc_auc(labels, values):.3f}  AP {average_precision(labels, values):.3f}")


def flagged_by(policy: Policy, scores: Scores) -> set[str]:
    """Give the categories that a policy flags."""
    return {category for category, is_over in gooseguard.decide(scores, policy).flagged.items() if is_over}


def print_flagged(
    name: str, scored: Sequence[Scores], policy: Policy, rows: Sequence[bool] | None = None
) -> None:
    """Tell how often each derived category is flagged."""
    rules = load_rules("openai", frozenset(scored[0].values))
    chosen = [s for s, is_in in zip(scored, rows or [True] * len(scored), strict=True) if is_in]
    shares = {}
    for category in DERIVED:
        rule = rules.usable[category]
        n_flagged = sum(is_flagged(rule, flagged_by(policy, one)) for one in chosen)
        shares[category] = n_flagged / max(len(chosen), 1)
    told = ", ".join(f"{category} {share:.1%}" for category, share in shares.items())
    print(f"{name} ({len(chosen)} rows): {told}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--policy", default="default")
    parser.add_argument("--ordinary", type=int, default=3000)
    arguments = parser.parse_args()
    scorer, policy = gooseguard.load(arguments.model), gooseguard.load_policy(arguments.policy)
    examples = [row.example for row in read_split(arguments.dataset, "val")]
    print(f"model {scorer.name}, policy {policy.name}")
    both = [e for e in examples if {"hate", "threat"} <= e.annotated.keys()]
    print_both(both, score_all(scorer, both))
    threats = [e for e in examples if "threat" in e.annotated]
    scored = score_all(scorer, threats)
    is_threat = [e.annotated["threat"] >= 0.5 for e in threats]
    print_flagged("threats", scored, policy, is_threat)
    print_flagged("annotated, no threat", scored, policy, [not is_one for is_one in is_threat])
    insults = [e for e in examples if e.annotated.get("insult", 0) >= 0.5]
    print_flagged("insults", score_all(scorer, insults), policy)
    ordinary = [e for e in examples if e.source.startswith(ORDINARY)][: arguments.ordinary]
    print_flagged("ordinary text", score_all(scorer, ordinary), policy)


if __name__ == "__main__":
    main()
