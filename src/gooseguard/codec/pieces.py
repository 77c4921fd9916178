"""How a normalised text is cut into pieces, which tokens never cross.

Knows nothing of tokens, and needs the standard library only: native/tables/generate.py asks it at build time.
"""

from __future__ import annotations

import re
from functools import cache

PIECE_LIMIT = 25
"""Longest piece in code points."""

# Bodies of character classes. Letters are what the others leave, so that each code point is in exactly one
# class.
_DIGITS = r"\d"
_HAN_KANA = (
    "\u3005-\u3007\u3041-\u3096\u3099-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
# Thai, Lao, Tibetan, Burmese, Khmer.
_UNSPACED = (
    "\u0e00-\u0e3e\u0e40-\u0e4e\u0e80-\u0ecf\u0eda-\u0eff\u0f40-\u0f84\u0f86-\u0fbc"
    "\u1000-\u103f\u1050-\u108f\u109a-\u109d\u1780-\u17d3"
)
_SYMBOLS = (
    r"\x00-\x08\x0e-\x1b!-/:-@\[-`{-\x7f\x80-\x84\x86-\x9f¡-©«-±´¶-¹»-¿×÷"
    # Spacing accents; Armenian, Hebrew and Arabic; Indic, Thai, Tibetan, Burmese and Khmer.
    "\u02c2-\u02c5\u02d2-\u02df\u055a-\u055f\u0589\u058a\u05be\u05c0\u05c3\u05c6\u05f3\u05f4"
    "\u0600-\u060f\u061b-\u061f\u066a-\u066d\u06d4\u06dd\u06de\u0964\u0965\u0970\u0e3f\u0e4f\u0e5a\u0e5b"
    "\u0f01-\u0f17\u0f3a-\u0f3d\u0f85\u104a-\u104f\u17d4-\u17d6\u17d8-\u17db"
    # General punctuation, currencies, arrows, mathematics, dingbats; East Asia; compatibility forms; emoji.
    "\u200b-\u2027\u202a-\u202e\u2030-\u205e\u2060-\u2070\u2074-\u207e\u20a0-\u20cf\u2100-\u2bff\u2e00-\u2fff"
    "\u3001-\u3004\u3008-\u3020\u3030\u3036\u3037\u303d-\u303f\u30a0\u30fb\u3200-\u33ff\ufe00-\ufe19"
    "\ufe30-\ufe6f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\ufff0-\uffff\U0001f000-\U0001faff"
)
_NO_LETTERS = rf"\s{_DIGITS}{_HAN_KANA}{_UNSPACED}{_SYMBOLS}"

CLASSES = (_SYMBOLS, _DIGITS, _HAN_KANA, _UNSPACED, r"\s")
"""Bodies of the character classes, none in two; letters and marks are in none of them."""


@cache
def piece() -> re.Pattern[str]:
    """Give the pattern of one piece of a text; whatever the text, its pieces make it up.

    In this order: letters and marks with the space or apostrophe before them, symbols, digits, Han and kana,
    scripts written without spaces, white space. No alternative looks further than one code point past its
    end, so that only the last piece of a text depends on what may follow.
    """
    return re.compile(
        rf"[ '’]?[^{_NO_LETTERS}]{{1,24}}"
        rf"| ?[{_SYMBOLS}]{{1,4}}"
        rf"| ?{_DIGITS}{{1,3}}"
        rf"|[{_HAN_KANA}]{{1,4}}"
        rf"| ?[{_UNSPACED}]{{1,8}}"
        r"|\s{1,8}"
    )
