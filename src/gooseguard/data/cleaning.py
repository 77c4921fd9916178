"""An example -> the same example cleaned, or why it was dropped. Pure: no files, no models, no state.

In this order: encoding repair, HTML, boilerplate, masks of personal data, quality, language. Each step counts
what it did; an example that needs nothing is given back as it is. Parts that are no text pass untouched.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gooseguard.codec.language import UNDETERMINED, detect_language
from gooseguard.core.content import Content, Modality, Part
from gooseguard.data.cleaning_quality import QualityConfig, find_fault
from gooseguard.data.cleaning_text import repair_encoding, strip_boilerplate, strip_html
from gooseguard.data.personal_data import mask_personal_data

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gooseguard.core.example import Example
    from gooseguard.core.scorer import Span


@dataclass(frozen=True, slots=True)
class CleanConfig:
    """Which steps are taken."""

    encoding: bool = True
    """Repair texts that were decoded wrongly."""
    html: bool = True
    """Read entities, and take out tags, scripts and comments."""
    boilerplate: bool = True
    """Take out lines that software wrote, such as "Sent from my phone"; drop texts that hold nothing else."""
    personal_data: bool = True
    """Mask emails, phones, cards, identity numbers, network addresses and handles."""
    language: bool = True
    """Tell the language of texts that name none, and count those that seem to be in another."""
    languages: tuple[str, ...] = ()
    """Languages that are kept, BCP-47; empty for all. A text of unknown language stays."""
    quality: QualityConfig = field(default_factory=QualityConfig)
    """What is too short, too long, or no text."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What became of one example."""

    example: Example | None
    """Cleaned; None where it was dropped."""
    reason: str = ""
    """Why it was dropped, in one word that can be counted; empty where it was not."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """What was done to it: step to how often."""


def clean(example: Example, config: CleanConfig | None = None) -> Cleaned:
    """Clean one example.

    Raises:
        ConfigError: ftfy or pycld2, which a step of `config` needs, is not installed.
    """
    config = config if config is not None else CleanConfig()
    counts: Counter[str] = Counter()
    content = example.content
    # Before anything else: the time that patterns take must not depend on a text nobody keeps.
    if any(
        part.modality is Modality.TEXT and len(part.data) > 4 * config.quality.longest
        for part in (*content.parts, *content.context)
    ):
        return Cleaned(None, "too_long")
    parts = tuple(_clean_part(part, config, counts) for part in content.parts)
    context = tuple(_clean_part(part, config, counts) for part in content.context)
    has_media = any(part.modality is not Modality.TEXT for part in parts)
    texts = [part.text for part in parts if part.modality is Modality.TEXT]
    if reason := find_fault("\n".join(texts), config.quality, has_media=has_media, was_empty=not texts):
        return Cleaned(None, reason, dict(counts))
    language = _tell_language(" ".join(texts), content.language, config, counts)
    if config.languages and language and language.split("-")[0] not in config.languages:
        return Cleaned(None, "language", dict(counts))
    if parts == content.parts and context == content.context and language == content.language:
        return Cleaned(example, "", dict(counts))
    # An empty text beside an image says nothing; without it the image stands alone.
    parts = tuple(part for part in parts if part.modality is not Modality.TEXT or part.data)
    return Cleaned(replace(example, content=Content(parts, context, language)), "", dict(counts))


def clean_text(text: str, config: CleanConfig, counts: Counter[str]) -> str:
    """Clean one text; adds what was done to `counts`."""
    if config.encoding:
        text = repair_encoding(text, counts)
    if config.html:
        text = strip_html(text, counts)
    if config.boilerplate:
        text = strip_boilerplate(text, counts)
    if config.personal_data:
        text = mask_personal_data(text, counts)
    return text


def move_spans(
    spans: Sequence[Span], before: Content, after: Content, config: CleanConfig | None = None
) -> tuple[Span, ...]:
    """Give the spans of a content as they lie in the cleaned one; a span whose words are gone is left out.

    The words of a span are cleaned as the text was, and looked for nearest to where they were expected.
    """
    config = config if config is not None else CleanConfig()
    if before.parts == after.parts:
        return tuple(spans)
    moved = []
    for span in spans:
        old, new = before.parts[span.part].text, after.parts[span.part].text
        words = clean_text(old[span.begin : span.end], config, Counter())
        expected = span.begin * len(new) // max(len(old), 1)
        places = _find_all(words, new)
        if places:
            begin = min(places, key=lambda place: abs(place - expected))
            moved.append(replace(span, begin=begin, end=begin + len(words)))
    return tuple(moved)


def _find_all(words: str, text: str) -> list[int]:
    places: list[int] = []
    at = text.find(words) if words else -1
    while at >= 0:
        places.append(at)
        at = text.find(words, at + 1)
    return places


def _clean_part(part: Part, config: CleanConfig, counts: Counter[str]) -> Part:
    if part.modality is not Modality.TEXT:
        return part
    text = part.text
    cleaned = clean_text(text, config, counts)
    return part if cleaned == text else Part.from_text(cleaned, part.origin)


def _tell_language(text: str, named: str | None, config: CleanConfig, counts: Counter[str]) -> str | None:
    if not config.language or not text:
        return named
    told = detect_language(text)
    if not told.is_sure or told.codes[0] == UNDETERMINED:
        return named
    if named is None:
        counts["language_told"] += 1
        return told.codes[0]
    if told.codes[0].split("-")[0] != named.split("-")[0]:
        # What the publisher says stands: detectors err most on slang, and on languages next to each other.
        counts["language_doubted"] += 1
    return named
