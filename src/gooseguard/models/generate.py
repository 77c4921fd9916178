"""A read prompt to an answer, token by token: greedy or sampled, freely or out of given labels.

Text leaves as soon as it is certain: half a UTF-8 character, or what may become a stop string, is held back.
Knows no layout of prompts and no categories.
"""

from __future__ import annotations

import codecs
import itertools
import math
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gooseguard.codec.prompt import END_OF_TEXT, TURN_END
from gooseguard.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gooseguard.models.language import LanguageModel, Prefix


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen, and when to stop."""

    temperature: float = 0.0
    """Logits are divided by it; 0 always takes the likeliest token."""
    top_p: float = 1.0
    """Only the fewest likeliest tokens that together reach this probability, above 0, at most 1, are drawn
    from; reckoned after the temperature."""
    max_tokens: int = 256
    """Most tokens of an answer, at least 1; a label is written whole."""
    time_limit_s: float | None = None
    """Seconds after which no further token is begun; `None`: no limit."""
    stop: tuple[str, ...] = (TURN_END,)
    """Texts that end an answer; not part of it."""
    labels: tuple[str, ...] = ()
    """Where given, the answer is exactly one of these."""
    seed: int = 0
    """Of what is drawn; the same seed draws the same answer."""

    def __post_init__(self) -> None:
        findings = []
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            findings.append(f"temperature is {self.temperature}, expected a finite number, at least 0")
        if not 0 < self.top_p <= 1:
            findings.append(f"top_p is {self.top_p}, expected above 0, at most 1")
        if self.max_tokens < 1:
            findings.append(f"max_tokens is {self.max_tokens}, expected at least 1")
        if self.time_limit_s is not None and not self.time_limit_s > 0:
            findings.append(f"time limit is {self.time_limit_s} s, expected above 0")
        if not all(self.stop):
            findings.append("a stop string is empty; expected text, or none at all")
        labels = [label.strip() for label in self.labels]
        if not all(labels) or len(set(labels)) < len(labels):
            findings.append("labels are empty or equal; expected different texts")
        if findings:
            raise ConfigError(f"sampling: {'; '.join(findings)}")


class Finish(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    """A stop string, or the end of text."""
    LABEL = "label"
    """One of the given labels is complete."""
    LENGTH = "length"
    """As many tokens as were allowed: the answer is cut."""
    TIME = "time"
    """The time is up: the answer is cut."""


@dataclass(frozen=True, slots=True)
class Delta:
    """The next bit of an answer."""

    text: str
    """Whole characters; may be empty."""
    n_token: int
    """Tokens so far."""
    finish: Finish | None = None
    """On the last one, why it ended."""


class TextFilter:
    """Bytes of tokens to the text that is certain: whole characters, without stop strings."""

    __slots__ = ("_decoder", "_held", "_stop", "is_stopped")

    def __init__(self, stop: Sequence[str]) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = stop
        self._held = ""
        self.is_stopped = False
        """Whether a stop string came; what is pushed after it is nothing."""

    def push(self, data: bytes) -> str:
        """Take the bytes of a token; give what is now certain."""
        if self.is_stopped:
            return ""
        text = self._held + self._decoder.decode(data)
        found = [place for stop in self._stop if (place := text.find(stop)) >= 0]
        if found:
            self.is_stopped, self._held = True, ""
            return text[: min(found)]
        n_held = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - n_held :]
        return text[: len(text) - n_held]

    def finish(self) -> str:
        """Give what was held back as a possible stop string; half a character is dropped."""
        text, self._held = self._held, ""
        return text


def _overlap(text: str, stop: str) -> int:
    """Give how many characters at the end of `text` are the beginning of `stop`."""
    sizes = range(min(len(text), len(stop) - 1), 0, -1)
    return next((size for size in sizes if text.endswith(stop[:size])), 0)


class LabelWalk:
    """Which tokens may come next so that one of the labels comes out."""

    __slots__ = ("_ends", "_labels", "_path")

    def __init__(self, labels: Sequence[Sequence[int]], ends: Sequence[int]) -> None:
        """Take the token ids of each label, and those that end one that another label begins like."""
        self._labels = [tuple(label) for label in labels]
        self._ends = tuple(ends)
        self._path: tuple[int, ...] = ()

    def allowed(self) -> list[int]:
        """Give the ids that may come next; none: a label is complete."""
        size = len(self._path)
        fitting = [label for label in self._labels if label[:size] == self._path]
        onward = sorted({label[size] for label in fitting if len(label) > size})
        return [*onward, *self._ends] if onward and self._path in fitting else onward

    def advance(self, token: int) -> bool:
        """Take one of `allowed`; tell whether a label is complete."""
        is_ended = self._path in self._labels and token in self._ends
        if not is_ended:
            self._path = (*self._path, token)
        return is_ended or not self.allowed()


def choose(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """Choose a token.

    Args:
        logits: float32, (V,); -inf for what may not be chosen, one at least is finite.
        sampling: how.
        generator: what is drawn from; unused at temperature 0.

    Source: top-p is nucleus sampling, Holtzman et al., *The Curious Case of Neural Text Degeneration* (arXiv
        1904.09751), section 3.1.
    """
    if sampling.temperature == 0:
        return int(logits.argmax())
    # Shifted first: a small temperature would overflow otherwise.
    probabilities = torch.softmax((logits - logits.max()).double() / sampling.temperature, -1)
    ordered, order = probabilities.sort(descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    # The likeliest token always stays: nothing stands before it.
    ordered = ordered.masked_fill(before >= sampling.top_p, 0.0)
    return int(order[torch.multinomial(ordered, 1, generator=generator)])


def generate(model: LanguageModel, prefix: Prefix, sampling: Sampling) -> Iterator[Delta]:
    """Write an answer to a prompt that was read.

    Yields:
        A delta whenever text is certain; the last one, and only that, has `finish`. White space before the
        answer is left out.

    Raises:
        EngineError: the model gives what is no number.
    """
    deltas = (
        _generate_label(model, prefix, sampling) if sampling.labels else _generate(model, prefix, sampling)
    )
    has_begun = False
    for delta in deltas:
        text = delta.text if has_begun else delta.text.lstrip()
        has_begun = has_begun or bool(text)
        if text or delta.finish:
            yield Delta(text, delta.n_token, delta.finish)


def _generate(model: LanguageModel, prefix: Prefix, sampling: Sampling) -> Iterator[Delta]:
    generator = torch.Generator().manual_seed(sampling.seed)
    deadline = _deadline(sampling)
    texts = TextFilter(sampling.stop)
    for n_token in range(sampling.max_tokens):
        if time.monotonic() >= deadline:
            yield Delta(texts.finish(), n_token, Finish.TIME)
            return
        token = choose(prefix.logits.masked_fill(~model.writable, -torch.inf), sampling, generator)
        text = "" if token == END_OF_TEXT else texts.push(model.tokenizer.decode([token]))
        if token == END_OF_TEXT or texts.is_stopped:
            yield Delta(text + texts.finish(), n_token + 1, Finish.STOP)
            return
        yield Delta(text, n_token + 1)
        if n_token + 1 < sampling.max_tokens:
            prefix = model.read([token], prefix)
    yield Delta(texts.finish(), sampling.max_tokens, Finish.LENGTH)


def _generate_label(model: LanguageModel, prefix: Prefix, sampling: Sampling) -> Iterator[Delta]:
    """Write one of the labels; it is as long as it is, whatever `max_tokens` says."""
    generator = torch.Generator().manual_seed(sampling.seed)
    deadline = _deadline(sampling)
    turn_end = model.tokenizer.encode(TURN_END)
    ends = [END_OF_TEXT, *turn_end[:1]]
    walk = LabelWalk([model.tokenizer.encode(f" {label.strip()}") for label in sampling.labels], ends)
    texts = TextFilter(())
    for n_token in itertools.count():
        if time.monotonic() >= deadline:
            yield Delta(texts.finish(), n_token, Finish.TIME)
            return
        allowed = torch.zeros_like(prefix.logits, dtype=torch.bool)
        allowed[walk.allowed()] = True
        token = choose(prefix.logits.masked_fill(~allowed, -torch.inf), sampling, generator)
        is_complete = walk.advance(token)
        text = "" if token in ends else texts.push(model.tokenizer.decode([token]))
        yield Delta(text, n_token + 1, Finish.LABEL if is_complete else None)
        if is_complete:
            return
        prefix = model.read([token], prefix)


def _deadline(sampling: Sampling) -> float:
    limit = math.inf if sampling.time_limit_s is None else sampling.time_limit_s
    return time.monotonic() + limit
