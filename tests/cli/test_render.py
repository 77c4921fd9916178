"""What people read."""

from __future__ import annotations

from collections import Counter

from gooseguard.cli.render import summary_line, to_text, verdict_line, verdict_table, visible
from gooseguard.core.policy import Policy, Threshold

NAMES = ("toxicity", "insult", "threat", "hate")
POLICY = Policy("mine", "1", {name: Threshold(0.5, 0.9) for name in NAMES})


def verdict(scores, action="block", **changes):
    return {
        "id": "1",
        "action": action,
        "scores": scores,
        "model": "m@0",
        "policy": "mine@1",
        "spans": [],
    } | changes


def test_control_and_format_characters_are_not_shown():
    assert visible("a\x1b\n\u200b\u202e\udc80é😀") == "a?????é😀"


def test_a_line_names_three_flagged_categories_at_most():
    line = verdict_line(verdict(dict(zip(NAMES, (0.6, 0.9, 0.5, 0.7), strict=True))), POLICY)
    assert line.plain == "1                 block   insult 0.90, hate 0.70, toxicity 0.60, 1 more"


def test_a_line_without_any_score():
    assert (
        verdict_line(verdict({"hate": None}, "review"), POLICY).plain.rstrip() == "1                 review"
    )


def test_markup_in_an_id_is_text():
    line = verdict_line(verdict({"hate": 0.1}, "allow", id="[red]x[/red]"), POLICY)
    assert to_text(line, is_terminal=False).startswith("[red]x[/red]")


def test_a_table_says_why_there_is_a_review_without_flags():
    table = to_text(verdict_table(verdict({"hate": None}, "review"), POLICY, "t"), is_terminal=False)
    assert table.startswith("REVIEW  a category of the policy has no score\n")


def test_colours_only_on_a_terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    table = verdict_table(verdict({"hate": 0.95}), POLICY, "t")
    assert "\x1b" not in to_text(table, is_terminal=False)
    assert "\x1b[1;31mBLOCK" in to_text(table, is_terminal=True)


def test_a_summary():
    line = summary_line(Counter(block=1, review=2000, allow=30, error=4), "m@0", "p@1")
    assert (
        line.plain
        == "2,031 rows: 1 block, 2,000 review, 30 allow (4 could not be scored); model m@0, policy p@1"
    )
