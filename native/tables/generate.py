"""Writes the tables of the C++ normaliser and tokenizer: what the Python ones say of every code point.

    python -S native/tables/generate.py OUTPUT

CMake runs it with the Python that the extension is built for, so that both know the same letters. The modules
of `gooseguard.codec` that it asks are free of anything but the standard library, and so is it.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

# The path comes first.
from gooseguard.codec import homoglyphs, normalize, pieces

N_CODES = 0x110000
ALL = "".join(map(chr, range(N_CODES)))
BLOCK = 128
"""Code points that share an entry of the first stage."""

# Sequences of the mappings, each behind its length; place 0 stands for "the code point itself".
Sequences = list[int]


def main() -> None:
    """Write everything."""
    special = [code for code in range(N_CODES) if not is_simple(chr(code))]
    records, numbers = number(describe_all(special))
    sequences: Sequences = [0]
    places: dict[str, int] = {}
    lines = [f'const char kUnicodeVersion[] = "{unicodedata.unidata_version}";']
    lines += [f"const Record kRecords[] = {{{', '.join(map(write_record, records))}}};"]
    lines += write_stages("Record", numbers)
    for name, function in (("Nfkd", nfkd), ("Small", small), ("Normal", normalize.normalize_cluster)):
        mapping = {code: function(chr(code)) for code in special}
        lines += write_stages(name, place_all(mapping, sequences, places))
    lines += [f"const char32_t kSequences[] = {{{', '.join(map(hex, sequences))}}};"]
    rows = [f"{{{first:#x}, {second:#x}, {whole:#x}}}" for first, second, whole in sorted(compositions())]
    lines += [f"const Composition kCompositions[] = {{{', '.join(rows)}}};"]
    looks = [ord(homoglyphs.CYRILLIC_LOOKS.get(chr(0x61 + i), "\0")) for i in range(26)]
    lines += [f"const char32_t kCyrillicLooks[] = {{{', '.join(map(hex, looks))}}};"]
    Path(sys.argv[1]).write_text("\n".join(lines) + "\n", "ascii")


def is_simple(character: str) -> bool:
    """Whether it is its own normal form and no mark, as nearly all are; Hangul syllables count as simple."""
    if "\uac00" <= character <= "\ud7a3":
        return True
    return (
        unicodedata.category(character)[0] != "M"
        and unicodedata.normalize("NFKD", character) == character
        and small(character) == character
        and not normalize.DROPPED.match(character)
    )


def nfkd(character: str) -> str:
    """Give its full compatibility decomposition."""
    return unicodedata.normalize("NFKD", character)


def small(character: str) -> str:
    """Give what `normalize_cluster` makes of a decomposed letter before it composes."""
    return "".join(homoglyphs.LETTER_LIKE.get(part, part) for part in character.lower())


def describe_all(special: list[int]) -> list[tuple[int, ...]]:
    """Give the record of every code point, in the order of `Record` in src/unicode.h."""
    described = {code: normalize.describe(chr(code)) for code in special}
    plain, flags = matching(normalize.plain()), flags_of_all()
    classes = [0] * N_CODES
    for place, body in enumerate(pieces.CLASSES, 1):
        for code in matching(re.compile(f"[{body}]+")):
            assert not classes[code], f"U+{code:04X} is in two classes"
            classes[code] = place
    seconds = {second for _, second, _ in compositions()} | {*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)}
    records = []
    for code in range(N_CODES):
        character = chr(code)
        if "\uac00" <= character <= "\ud7a3":
            parts = nfkd(character)
            kind, first, last, marks = normalize.START, parts[0], parts[-1], 0
        else:
            kind, first, last, marks = described.get(code, (normalize.START, character, character, 0))
        is_inert = (
            (code not in described or (nfkd(character) == small(character) == character))
            and not normalize.DROPPED.match(character)
            and code not in seconds
            and character not in homoglyphs.CASED_CAPITALS
        )
        records.append(
            (
                kind,
                0 if code in plain else marks,
                first_class(first),
                last_class(last),
                unicodedata.combining(character),
                flags[code] | is_inert << 6,
                classes[code],
                ord(homoglyphs.look(character) or "\0") if flags[code] & 2 else 0,
            )
        )
    return records


def flags_of_all() -> list[int]:
    """Give the flags of every code point but the last, in the order of `Flag` in src/unicode.h."""
    flags = [0] * N_CODES
    patterns = (
        normalize.WORD_CHARACTER,
        normalize.FOREIGN_CHARACTER,
        normalize.DROPPED,
        homoglyphs.LATIN,
        homoglyphs.CYRILLIC,
        homoglyphs.OTHER_LETTERS,
    )
    for place, pattern in enumerate(patterns):
        for code in matching(pattern):
            flags[code] |= 1 << place
    return flags


def matching(pattern: re.Pattern[str]) -> set[int]:
    """Give the code points that are in a match; the pattern is of one class, repeated or not."""
    return {code for match in pattern.finditer(ALL) for code in range(*match.span())}


def first_class(first: str) -> int:
    """Give what the first code point of a decomposition may compose with before it, a bit each."""
    tests = ("\u1100", "\u1161", "\U00016d63")
    return sum(1 << place for place, last in enumerate(tests) if first and normalize.composes(last, first))


def last_class(last: str) -> int:
    """Give which of those the last code point of a decomposition is, a bit each."""
    tests = ("\u1161", "\u11a8", "\U00016d63")
    return sum(1 << place for place, first in enumerate(tests) if last and normalize.composes(last, first))


def compositions() -> list[tuple[int, int, int]]:
    """Give the primary composites, Hangul aside: first, second, whole."""
    found = []
    for code in range(N_CODES):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            first, second = (int(part, 16) for part in parts)
            if unicodedata.normalize("NFC", chr(first) + chr(second)) == chr(code):
                found.append((first, second, code))
    return found


def number(values: list[tuple[int, ...]]) -> tuple[list[tuple[int, ...]], list[int]]:
    """Give the different values in order, and for each value its place among them."""
    different = sorted(set(values))
    places = {value: place for place, value in enumerate(different)}
    return different, [places[value] for value in values]


def place_all(mapping: dict[int, str], sequences: Sequences, places: dict[str, int]) -> list[int]:
    """Append what a mapping gives to `sequences`; give the place for every code point."""
    entries = [0] * N_CODES
    for code, text in mapping.items():
        if text != chr(code):
            if text not in places:
                places[text] = len(sequences)
                sequences += [len(text), *map(ord, text)]
            entries[code] = places[text]
    return entries


def write_stages(name: str, entries: list[int]) -> list[str]:
    """Write a table in two stages, equal blocks once."""
    blocks: dict[tuple[int, ...], int] = {}
    first = [
        blocks.setdefault(tuple(entries[begin : begin + BLOCK]), len(blocks))
        for begin in range(0, N_CODES, BLOCK)
    ]
    second = [entry for block in blocks for entry in block]
    assert max(first) < 1 << 16
    assert max(second) < 1 << 16
    return [
        f"const std::uint16_t k{name}Blocks[] = {{{', '.join(map(str, first))}}};",
        f"const std::uint16_t k{name}Entries[] = {{{', '.join(map(str, second))}}};",
    ]


def write_record(record: tuple[int, ...]) -> str:
    """Write a record as an initialiser."""
    kind, marks, first, last, combining, flags, piece, look = record
    return (
        f"{{Kind{{{kind}}}, {marks}, {first}, {last}, {combining}, {flags}, PieceClass{{{piece}}}, {look}}}"
    )


if __name__ == "__main__":
    main()
