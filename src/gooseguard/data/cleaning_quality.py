"""A cleaned text -> why it is not worth keeping, in one word. Knows no labels and no language."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

REASONS = ("empty", "too_short", "too_long", "no_letters", "link_only", "repetition", "not_text")
"""Every reason that `find_fault` gives, in the order in which they are looked for."""


@dataclass(frozen=True, slots=True)
class QualityConfig:
    """What is kept. The defaults drop only what nobody could judge: short insults matter."""

    shortest: int = 1
    """Least characters."""
    longest: int = 20_000
    """Most characters."""
    letters: bool = True
    """Drop texts without a letter, digit or symbol of meaning, such as "...!"; emoji are symbols."""
    links: bool = True
    """Drop texts that hold links only."""
    most_repeated: float = 0.9
    """Most of a long text that one word, or one character, may make up, 0..1; 1 keeps all."""
    not_text: bool = True
    """Drop encoded or damaged data: base64, hexadecimal dumps, replacement characters."""


_LINK = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_MEANING = re.compile(r"[^\W_]|[\U0001f000-\U0001faff\u2600-\u27bf]")
_ENCODED = re.compile(r"[A-Za-z0-9+/=_-]{200,}")
LONG_CHARACTERS, LONG_WORDS = 100, 30
"""From which length repetition is looked at: shorter ones are how people write."""


def find_fault(text: str, config: QualityConfig, *, has_media: bool = False, was_empty: bool = False) -> str:
    """Say why a text is dropped; empty where it is kept.

    Args:
        text: cleaned; the texts of a content, joined.
        config: what is kept.
        has_media: whether an image, sound or video stands beside it: then a text may be empty or short.
        was_empty: whether there is no text part at all.
    """
    stripped = text.strip()
    if has_media and (was_empty or not stripped):
        return ""
    if not stripped:
        return "empty"
    if len(stripped) < config.shortest and not has_media:
        return "too_short"
    if len(text) > config.longest:
        return "too_long"
    if has_media:
        return ""
    if config.letters and not _MEANING.search(stripped):
        return "no_letters"
    if config.links and _LINK.search(stripped) and not _MEANING.search(_LINK.sub("", stripped)):
        return "link_only"
    if config.most_repeated < 1 and _is_repetition(stripped, config.most_repeated):
        return "repetition"
    if config.not_text and _is_no_text(stripped):
        return "not_text"
    return ""


def _is_repetition(text: str, most: float) -> bool:
    if len(text) < LONG_CHARACTERS:
        return False
    characters = Counter(text)
    characters.pop(" ", None)
    if characters and characters.most_common(1)[0][1] > most * sum(characters.values()):
        return True
    words = text.lower().split()
    return len(words) >= LONG_WORDS and Counter(words).most_common(1)[0][1] > most * len(words)


def _is_no_text(text: str) -> bool:
    if text.count("\ufffd") * 10 > len(text):
        return True
    encoded = sum(len(run) for run in _ENCODED.findall(text))
    return encoded * 2 > len(text)
