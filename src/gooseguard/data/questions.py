"""A labelled row -> questions about it, with the answers that its labels and spans alone give. Pure.

Three kinds: is it this category (`yes_no`), which of these categories (`categories`), and what to do under a
written policy (`action`). Only categories that somebody annotated, and agreed on, are asked for: what nobody
annotated is not 0, so that no answer may say that it is not there.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from gooseguard.codec.answer import ParsedAnswer, parse_answer, write_answer
from gooseguard.codec.prompt import NO, YES
from gooseguard.core.errors import ConfigError
from gooseguard.core.manifest import canonical_json
from gooseguard.core.taxonomy import load_taxonomy
from gooseguard.core.verdict import Action
from gooseguard.data.wordings import Wordings, choose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LONGEST_QUOTE = 8
"""Words of a span that an answer quotes; a longer one says little about where the harm is."""

ACTION = "Action:"
"""First word of the answer to an action question."""

IMAGE = "<image>"
"""Stands for an image in a content, as in LLaVA's format."""


EARLIER, JUDGED = "Earlier, for context only:", "To be judged:"
"""Stand before what a content replies to, and before the content then."""


def without_images(text: str) -> str:
    """Give a text in which nothing stands for an image: people write `<image>` too."""
    return text.replace(IMAGE, "[image]")


class Kind(StrEnum):
    """What a question asks for."""

    YES_NO = "yes_no"
    CATEGORIES = "categories"
    ACTION = "action"


@dataclass(frozen=True, slots=True)
class Medium:
    """A part of a content that is no text."""

    modality: str
    """`image`, `audio` or `video`."""
    path: str
    """File, relative to the dataset."""


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """What is known of one content of a dataset."""

    id: str
    """Unique in the dataset."""
    text: str
    """Its text parts, joined; may be empty beside media."""
    labels: Mapping[str, float]
    """Category to label, 0..1, of those that were annotated."""
    quotes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Category to the words that annotators marked."""
    media: tuple[Medium, ...] = ()
    """Its other parts, in order."""
    context: str = ""
    """What the content replies to; shown, not judged."""
    source: str = ""
    """Name of the published set."""
    language: str | None = None
    """BCP-47."""

    @property
    def content(self) -> str:
        """Give the content as a question shows it: a line for each image, what it replies to, the text."""
        images = [IMAGE for medium in self.media if medium.modality == "image"]
        return "\n".join([*images, *([self.words] if self.words else [])])

    @property
    def words(self) -> str:
        """Give the text, after what it replies to where there is such; it names no image of its own."""
        text = f"{EARLIER}\n{self.context}\n{JUDGED}\n{self.text}" if self.context else self.text
        return without_images(text)


@dataclass(frozen=True, slots=True)
class QuestionConfig:
    """Which questions are asked."""

    kinds: tuple[str, ...] = tuple(Kind)
    """Of `yes_no`, `categories` and `action`."""
    per_row: int = 1
    """Questions about each row, of different kinds; at most as many as there are kinds."""
    sure_low: float = 0.3
    """A label of at most this is a no."""
    sure_high: float = 0.6
    """A label of at least this is a yes; between, annotators disagree, and it is not asked for."""
    seed: int = 0
    """Chooses other questions and wordings."""

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in tuple(Kind):
                raise ConfigError(f"questions.kinds has {kind!r}, expected some of {', '.join(Kind)}")
        if not 1 <= self.per_row <= max(len(set(self.kinds)), 1) or not self.kinds:
            raise ConfigError(
                f"questions.per_row is {self.per_row}, expected 1 to the number of kinds ({len(self.kinds)})"
            )
        if not 0 <= self.sure_low < self.sure_high <= 1:
            raise ConfigError(
                f"questions: sure_low {self.sure_low} and sure_high {self.sure_high}; "
                "expected 0 <= low < high <= 1"
            )


@dataclass(frozen=True, slots=True)
class Question:
    """One question about a row, and what its labels answer."""

    row: LabelledRow
    """What it is about."""
    kind: Kind
    """What it asks for."""
    wording: str
    """Kind and number of the instruction's wording, such as `yes_no/3`."""
    instruction: str
    """The operator's words."""
    asked: tuple[str, ...]
    """Categories that it names, in the taxonomy's order."""
    flagged: tuple[str, ...]
    """Those of them that apply, by the labels."""
    action: Action | None
    """What the policy says, for an action question."""
    answer: str
    """By labels and spans alone."""

    def digest(self) -> str:
        """Give the SHA-256 (hex) of instruction and content."""
        return hashlib.sha256(canonical_json([self.instruction, self.row.content]).encode()).hexdigest()


def make_questions(row: LabelledRow, config: QuestionConfig, wordings: Wordings) -> list[Question]:
    """Make the questions about a row; none where nothing sure is known of it."""
    known = [name for name in load_taxonomy() if name in row.labels]
    positive = [name for name in known if row.labels[name] >= config.sure_high]
    negative = [name for name in known if row.labels[name] <= config.sure_low]
    asked = [name for name in known if name in positive or name in negative]
    if not asked:
        return []
    kinds = sorted(config.kinds, key=lambda kind: choose(1 << 32, "kind", kind, row.id, config.seed))
    return [
        _MAKERS[Kind(kind)](row, asked, positive, config.seed, wordings) for kind in kinds[: config.per_row]
    ]


def _yes_no(
    row: LabelledRow, asked: Sequence[str], positive: Sequence[str], seed: int, wordings: Wordings
) -> Question:
    negative = [name for name in asked if name not in positive]
    # A row with a positive label is asked about either, so that Yes does not follow from being asked.
    pool = positive if positive and (not negative or choose(2, "pool", row.id, seed)) else negative
    category = pool[choose(len(pool), "category", row.id, seed)]
    number, sentence = wordings.pick("yes_no", "instructions", row.id, seed)
    flagged = (category,) if category in positive else ()
    quotes = _quotes(row, flagged)
    name = "no" if not flagged else "yes_quoted" if quotes else "yes"
    answer = wordings.pick("yes_no", name, row.id, seed)[1]
    return Question(
        row,
        Kind.YES_NO,
        f"{Kind.YES_NO}/{number}",
        _fill(sentence, category=category, definition=load_taxonomy()[category].definition),
        (category,),
        flagged,
        None,
        _fill(answer, category=category, quotes=quotes),
    )


def _categories(
    row: LabelledRow, asked: Sequence[str], positive: Sequence[str], seed: int, wordings: Wordings
) -> Question:
    number, sentence = wordings.pick("categories", "instructions", row.id, seed)
    quotes = _quotes(row, positive)
    name = "none" if not positive else "some_quoted" if quotes else "some"
    rationale = _fill(
        wordings.pick("categories", name, row.id, seed)[1], category=_listed(positive), quotes=quotes
    )
    return Question(
        row,
        Kind.CATEGORIES,
        f"{Kind.CATEGORIES}/{number}",
        f"{_fill(sentence, categories=_defined(asked))}\n{wordings.forms['categories']}",
        tuple(asked),
        tuple(positive),
        None,
        write_answer(positive, rationale),
    )


def _action(
    row: LabelledRow, asked: Sequence[str], positive: Sequence[str], seed: int, wordings: Wordings
) -> Question:
    order = (Action.BLOCK, Action.REVIEW, Action.ALLOW)
    of = {name: order[choose(3, "action", name, row.id, seed)] for name in asked}
    if all(action is Action.ALLOW for action in of.values()):
        # A policy that allows everything teaches nothing.
        of[asked[choose(len(asked), "strict", row.id, seed)]] = Action.BLOCK
    hits = sorted((name for name in positive), key=lambda name: (order.index(of[name]), asked.index(name)))
    action = of[hits[0]] if hits else Action.ALLOW
    number, sentence = wordings.pick("action", "instructions", row.id, seed)
    quotes = _quotes(row, hits[:1])
    name = "miss" if action is Action.ALLOW else "hit_quoted" if quotes else "hit"
    rationale = _fill(
        wordings.pick("action", name, row.id, seed)[1],
        category=hits[0] if hits else "",
        quotes=quotes,
        action=str(action),
    )
    return Question(
        row,
        Kind.ACTION,
        f"{Kind.ACTION}/{number}",
        f"{_fill(sentence, policy=_policy(of, row.id, seed, wordings))}\n{wordings.forms['action']}",
        tuple(asked),
        tuple(positive),
        action,
        f"{ACTION} {action}\nRationale: {rationale}",
    )


_MAKERS = {Kind.YES_NO: _yes_no, Kind.CATEGORIES: _categories, Kind.ACTION: _action}


def _policy(of: Mapping[str, Action], row_id: str, seed: int, wordings: Wordings) -> str:
    lines = []
    for action in (Action.BLOCK, Action.REVIEW, Action.ALLOW):
        names = [name for name in of if of[name] is action]
        sentence = wordings.pick("policy", str(action), row_id, seed)[1]
        if names or action is Action.ALLOW:
            if not names and "{categories}" in sentence:
                sentence = wordings.sentences["policy"]["allow"][0]
            lines.append(_fill(sentence, categories=_listed(names)))
    return "\n".join([*lines, "What counts:", _defined(list(of))])


def _defined(names: Sequence[str]) -> str:
    return "\n".join(f"- {name}: {load_taxonomy()[name].definition}" for name in names)


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else list(names))


def _quotes(row: LabelledRow, categories: Sequence[str]) -> str:
    """Give up to three marked runs of words, in quotation marks; empty where there is none to quote."""
    spans = [span for name in categories for span in row.quotes.get(name, ())]
    short = [" ".join(span.split()) for span in spans if 0 < len(span.split()) <= LONGEST_QUOTE]
    return _listed([f'"{span}"' for span in dict.fromkeys(short)][:3])


def _fill(sentence: str, **values: str) -> str:
    """Fill in names in braces; what is filled in is not read again."""
    pieces: list[str] = []
    rest = sentence
    while True:
        before, opened, after = rest.partition("{")
        name, closed, after_name = after.partition("}")
        if not opened or not closed or name not in values:
            return "".join(pieces) + rest
        pieces += [before, values[name]]
        rest = after_name


def parse_verdict(question: Question, text: str) -> ParsedAnswer | Action | str:
    """Read what an answer decides: flagged categories, or an action; a text says why it cannot be read."""
    if question.kind is Kind.CATEGORIES:
        parsed = parse_answer(text, question.asked)
        return parsed if parsed.flagged is not None else str(parsed.problem)
    stripped = text.strip()
    if question.kind is Kind.ACTION:
        first, _, rest = stripped.partition("\n")
        word = first.removeprefix(ACTION).strip().rstrip(".").lower()
        if (
            not first.startswith(ACTION)
            or word not in tuple(Action)
            or not rest.strip().startswith("Rationale:")
        ):
            return "is not of the form that was asked for"
        return Action(word)
    word = stripped.split(maxsplit=1)[0].rstrip(".,:;!") if stripped else ""
    if word not in (YES, NO):
        return f"does not begin with {YES} or {NO}"
    return ParsedAnswer(question.asked if word == YES else (), stripped)
