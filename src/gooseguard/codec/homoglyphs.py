"""Look-alike letters: a word of mixed alphabets to the word a reader sees.

Works on words that are normalised and lower case already, one code point for one code point. Knows nothing of
offsets and streams.

Source: the idea of confusable letters and mixed-script words is UTS #39, sections 4 and 5. The tables are our
own: letters that people put for Latin ones, judged by shape in either case. Unlike UTS #39, words that are
wholly in another alphabet stay as they are, and so do loan words such as a Latin abbreviation with a
Cyrillic ending.
"""

from __future__ import annotations

import re
import unicodedata

LETTER_LIKE = {
    # Latin letters without a dot or of phonetic alphabets, and small capitals.
    **dict(zip("ıȷɡɑƒɩ", "ijgafi", strict=True)),
    **dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnopqrstuvwyz", strict=True)),
    # Negative circled and negative squared letters.
    **{chr(0x1F150 + i): chr(0x61 + i) for i in range(26)},
    **{chr(0x1F170 + i): chr(0x61 + i) for i in range(26)},
}
"""Variants of Latin letters that NFKC leaves alone, to the letter; folded in every word."""

CASED_CAPITALS = {"Ν": "n", "Η": "h", "Υ": "y", "Μ": "m"}
"""Greek capitals that look like another Latin letter than their small form does."""

LOOK_ALIKES = {
    **CASED_CAPITALS,
    # Cyrillic, Greek, Armenian, Coptic.
    **dict(zip("авсԁегғԍһніјкӏмпорԛѕтѵԝѡхҳуүұҽқ", "abcderfghhijklmnopqstvwwxxyyyek", strict=True)),
    **dict(zip("αβγεζηικνορτυχωμϳ", "abyeznikvoptuxwuj", strict=True)),
    **dict(zip("օոսհցզյլ", "onuhgqjl", strict=True)),
    **dict(zip("ⲁⲃⲏⲓⲕⲙⲛⲟⲣⲥⲧⲩⲭ", "abhikmnopctyx", strict=True)),
    # Cherokee, in capitals for the eye; stored as small letters below.
    **{
        cherokee.lower(): latin
        for cherokee, latin in zip(
            "ᎠᎡᎢᎥᎩᎪᎫᎬᎳᎷᎻᎽᏀᏂᏃᏏᏒᏔᏕᏙᏚᏞᏟᏢᏦᏧᏳᏴ", "drtiyajewmhyghzbrwsvslcpkdgb", strict=True
        )
    },
    # Lisu and Canadian syllabics.
    **dict(zip("ꓐꓑꓓꓔꓖꓗꓙꓚꓜꓝꓟꓠꓡꓢꓣꓦꓧꓪꓫꓬꓮꓰꓲꓳꓴ", "bpdtgkjczfmnlsrvhwxyaeiou", strict=True)),
    **dict(zip("ᗩᗷᑕᗪᖴᕼᒍᒪᗰᑎᑭᑫᖇᔕᑌᐯᗯᘔ", "abcdfhjlmnpqrsuvwz", strict=True)),
}
"""Letters of other alphabets to the Latin letter they look like; folded in words with Latin letters."""

CYRILLIC_LOOKS = dict(zip("abcehkmoptxy", "авсенкмортху", strict=True))
"""Latin letters to the Cyrillic letter they look like; folded in Cyrillic words."""

FOREIGN = (
    "\u0370-\u03ff\u0400-\u052f\u0530-\u058f\u13a0-\u13ff\u1400-\u167f\u1f00-\u1fff\u2c80-\u2cff\ua4d0-\ua4ff"
    "\uab70-\uabbf\U0001f1e6-\U0001f1ff"
)
"""Body of a character class: blocks of the tables and regional indicators; only these need folding."""

_LATIN_LETTERS = (
    "a-z\u00df-\u00f6\u00f8-\u02af\u1d00-\u1dbf\u1e00-\u1eff\u2c60-\u2c7f\ua722-\ua7ff\uab30-\uab64"
)
LATIN = re.compile(f"[{_LATIN_LETTERS}]")
CYRILLIC = re.compile("[\u0400-\u052f]+")
OTHER_LETTERS = re.compile(rf"[^\W\d{_LATIN_LETTERS}]+")
_INDICATORS = re.compile("[\U0001f1e6-\U0001f1ff]+")
_TO_CYRILLIC = str.maketrans(CYRILLIC_LOOKS)
_LOWER_CAPITALS = str.maketrans({capital: capital.lower() for capital in CASED_CAPITALS})


def fold_word(word: str) -> str:
    """Give `word` with its look-alikes replaced, code point for code point.

    - A run of regional indicators becomes Latin letters, but for a run of two, which is a flag.
    - In a word with Cyrillic letters that no Latin letter looks like, whose Latin letters all look
      Cyrillic, the Latin letters become Cyrillic.
    - In any other word with Latin letters, a run of other letters that all look Latin becomes Latin.

    Args:
        word: letters, digits and regional indicators; lower case but for `CASED_CAPITALS`.
    """
    word = _INDICATORS.sub(_spell_indicators, word)
    latin = LATIN.findall(word)
    if latin:
        cyrillic = "".join(CYRILLIC.findall(word))
        if all(letter in CYRILLIC_LOOKS for letter in latin) and not all(map(look, cyrillic)):
            word = word.translate(_TO_CYRILLIC)
        else:
            word = OTHER_LETTERS.sub(_fold_run, word)
    return word.translate(_LOWER_CAPITALS)


def look(letter: str) -> str:
    """Give the Latin letter that `letter` looks like, accents aside; empty where there is none."""
    return LOOK_ALIKES.get(letter) or LOOK_ALIKES.get(unicodedata.normalize("NFD", letter)[0], "")


def _fold_run(run: re.Match[str]) -> str:
    looks = [look(letter) for letter in run[0]]
    return "".join(looks) if all(looks) else run[0]


def _spell_indicators(run: re.Match[str]) -> str:
    # Two make a flag.
    if len(run[0]) == 2:
        return run[0]
    return "".join(chr(ord(indicator) - 0x1F1E6 + 0x61) for indicator in run[0])
