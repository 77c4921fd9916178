"""A teacher's answer -> why it must not be learnt, in one word. Pure; never repeats the answer.

| reason | the answer |
| --- | --- |
| `cut_off` | did not end by itself |
| `malformed` | is not of the form that was asked for |
| `refuses` | declines, or speaks as an assistant |
| `contradicts` | decides otherwise than the labels do |
| `no_reason` | gives no reason, or the form's own words |
| `leaks` | repeats what the teacher was told, or that it was told the labels |
| `repeats` | says offensive words otherwise than by quoting what was marked |

What is offensive is learnt from the dataset (`offensive_words.py`): no list of slurs is packaged.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gooseguard.codec.answer import ParsedAnswer
from gooseguard.core.verdict import Action
from gooseguard.data.questions import LONGEST_QUOTE, Kind, Question, parse_verdict

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

REASONS = ("cut_off", "malformed", "refuses", "contradicts", "no_reason", "leaks", "repeats")
"""Every reason, in the order in which they are looked for."""

LEAKED_WORDS = 7
"""Words in a row that an answer and the teacher's own instruction must not share."""

_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am)? (?:can(?:no|')t|unable to|not able to|won't|will not|must decline)"
    r"|(?:i(?:'m| am) )?sorry,? (?:but )?i\b|as an? (?:ai|artificial|language model)|i(?:'m| am) an ai\b"
    r"|against (?:my|our) (?:guidelines|programming)|i (?:apologi[sz]e|decline))",
    re.IGNORECASE,
)
_TOLD = re.compile(
    r"\b(?:(?:given|provided|correct|gold|true|known) labels?|labels? (?:you|that were|which were|i was)"
    r"|(?:i was|i've been|i have been|you) (?:told|given|instructed|asked)|(?:system|user) (?:prompt|message)"
    r"|(?:my|your|these|the) instructions|json)\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r'"([^"]*)"|“([^”]*)”|«([^»]*)»|‘([^’]*)’|„([^“]*)“')
_WORD = re.compile(r"[^\W_]+(?:['’*][^\W_]+)*")
_FEWEST_WORDS = 4


def find_problem(question: Question, text: str, finish: str, told: str, offensive: AbstractSet[str]) -> str:
    """Say why an answer is rejected; empty where it is kept.

    Args:
        question: what was asked.
        text: the answer.
        finish: how it ended.
        told: the teacher's instruction.
        offensive: words of the dataset, lower case, that are not to be repeated.
    """
    if finish != "stop":
        return "cut_off"
    if _REFUSAL.search(text):
        return "refuses"
    verdict = parse_verdict(question, text)
    if isinstance(verdict, str) and not isinstance(verdict, Action):
        return "malformed"
    if _contradicts(question, verdict):
        return "contradicts"
    reason = reason_of(question, text)
    if len(_WORD.findall(reason)) < _FEWEST_WORDS:
        return "no_reason"
    if _TOLD.search(reason) or shares_run(reason, told, LEAKED_WORDS):
        return "leaks"
    return "repeats" if repeats(question, reason, offensive) else ""


def reason_of(question: Question, text: str) -> str:
    """Give the part of an answer that says why."""
    stripped = text.strip()
    if question.kind is Kind.YES_NO:
        return stripped.partition(" ")[2].strip()
    return stripped.partition("Rationale:")[2].strip()


def shares_run(text: str, other: str, n_words: int) -> bool:
    """Tell whether two texts have so many words in a row in common."""
    words = [[word.lower() for word in _WORD.findall(one)] for one in (text, other)]
    runs = [{tuple(one[at : at + n_words]) for at in range(len(one) - n_words + 1)} for one in words]
    return not runs[0].isdisjoint(runs[1])


def repeats(question: Question, reason: str, offensive: AbstractSet[str]) -> bool:
    """Tell whether a reason repeats offensive words other than by quoting what was marked.

    Where annotators marked words, only those may be quoted; elsewhere a short run of the content's words.
    """
    marked = [" ".join(span.lower().split()) for spans in question.row.quotes.values() for span in spans]
    content = " ".join(question.row.text.lower().split())

    def is_allowed(quote: str) -> bool:
        quote = " ".join(quote.lower().split())
        if marked:
            return any(quote in span for span in marked)
        return len(quote.split()) <= LONGEST_QUOTE and quote in content

    def blank(match: re.Match[str]) -> str:
        quote = next(group for group in match.groups() if group is not None)
        return " " if is_allowed(quote) else match[0]

    rest = _QUOTED.sub(blank, reason)
    return any(word.lower() in offensive for word in _WORD.findall(rest))


def _contradicts(question: Question, verdict: ParsedAnswer | Action) -> bool:
    if isinstance(verdict, ParsedAnswer):
        return set(verdict.flagged or ()) != set(question.flagged)
    return verdict is not question.action
