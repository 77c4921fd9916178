"""Text to the language it is in, offline: Compact Language Detector 2, and how far to believe it.

Comments are short, and every detector guesses on short text: one word of Spanish comes out as Oromo. A guess
is therefore sure only where the detector calls it reliable and the text has enough letters for that to mean
anything; without letters there is no guess. Figures: docs/design/0016-wire-formats.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gooseguard.core.errors import ConfigError

UNDETERMINED = "und"
"""ISO 639-2's code for a language nobody could tell."""

MOST_CHARACTERS = 4096
"""Code points that are looked at; more say nothing new."""

SURE_LETTERS = 48
"""Letters below which a guess is not sure: the detector's own word "reliable" holds for longer texts."""

SURE_LETTERS_WIDE = 16
"""The same for scripts whose characters are syllables or words."""

_LETTER = re.compile(r"[^\W\d_]")
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")
# The detector refuses control characters and unassigned code points.
_UNREADABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ufdd0-\ufdef\ufff9-\uffff\U000e0000-\U0010ffff]")

# Codes that BCP-47 has given up, and variants that clients know by the language alone.
_CODES = {"iw": "he", "in": "id", "ji": "yi", "jw": "jv", "mo": "ro", "zh-Hant": "zh", "un": UNDETERMINED}


@dataclass(frozen=True, slots=True)
class Language:
    """What language a text is in."""

    codes: tuple[str, ...]
    """BCP-47, most likely first; `UNDETERMINED` alone where there is no guess."""
    is_sure: bool
    """Whether the first is more than a guess."""


def detect_language(text: str) -> Language:
    """Guess the language of a text.

    Raises:
        ConfigError: the detector is not installed.
    """
    try:
        import pycld2  # noqa: PLC0415  (the base install scores without it)
    except ModuleNotFoundError:
        raise ConfigError(
            "telling languages needs the package pycld2; install it with: pip install 'gooseguard[serve]'"
        ) from None
    readable = _UNREADABLE.sub(" ", text[:MOST_CHARACTERS])
    n_letters = len(_LETTER.findall(readable))
    if not n_letters:
        return Language((UNDETERMINED,), is_sure=False)
    is_reliable, _, guesses = pycld2.detect(readable, bestEffort=True)
    codes = [_CODES.get(code, code) for _, code, percent, _ in guesses if percent and code != "un"]
    # Codes such as xx-Latn are scripts, no languages.
    codes = [code for code in dict.fromkeys(codes) if not code.startswith("xx")]
    if not codes:
        return Language((UNDETERMINED,), is_sure=False)
    n_wide = len(_WIDE.findall(readable))
    is_long = n_letters >= SURE_LETTERS or n_wide >= SURE_LETTERS_WIDE
    return Language(tuple(codes), is_sure=bool(is_reliable) and is_long and guesses[0][2] >= 80)
