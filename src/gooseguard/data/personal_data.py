"""Texts -> texts with personal data masked, and how much there was. Patterns and check digits, no model.

| what | mask | taken for it |
| --- | --- | --- |
| email | `[email]` | name, @, domain |
| card | `[card]` | 13 to 19 digits of a known issuer whose Luhn digit is right, grouped or not |
| account | `[iban]` | IBAN, check digits right |
| identity number | `[id]` | US social security, Brazilian CPF, Spanish DNI, Chinese resident number |
| phone | `[phone]` | international with +, or national in the groups it is written in |
| network address | `[ip]` | IPv4 |
| handle | `@user` | @name, as on social networks |

Identity numbers are checked as far as they can be.

Source: ISO/IEC 7812-1 annex B (Luhn); ISO 13616 (IBAN, mod 97); ISO/IEC 7064 mod 11-2 in GB 11643 (Chinese
resident number); Receita Federal's rule for CPF (mod 11); Spanish Interior Ministry's letter of the DNI
(mod 23); SSA, which never issued area 000, 666 and 900 to 999.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

KINDS = ("email", "iban", "card", "id", "phone", "ip", "handle")
"""What is masked; counted as `masked_<kind>`."""

MASKS = {kind: f"[{kind}]" for kind in KINDS} | {"handle": "@user"}
"""Kind to what stands in its place."""

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_CARD = re.compile(r"(?<![\d.,-])(?:\d[ -]?){12,18}\d(?![\d-]|[.,]\d)")
_SSN = re.compile(r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")
_CPF = re.compile(r"(?<![\d.])\d{3}\.\d{3}\.\d{3}-\d{2}(?!\d)")
_DNI = re.compile(r"(?<![A-Za-z0-9])(?:\d{8}|[XYZ]\d{7})-?[A-Z](?![A-Za-z0-9])")
_RESIDENT = re.compile(
    r"(?<![\dA-Za-z])[1-8]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?![\dA-Za-z])"
)
_PHONE = re.compile(
    r"(?<![\w+/.-])(?:"
    # +44 20 7946 0018, 0044 20 …, +1 (555) 010-1234
    r"(?:\+|00)[1-9]\d{0,2}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){1,4}"
    # (555) 010-1234
    r"|\(\d{2,5}\)[ .-]?\d{3,4}[ .-]?\d{3,4}"
    # 555-010-1234, 1-555-010-1234
    r"|(?:1[ .-])?\d{3}([ .-])\d{3}\1\d{4}"
    # 06 12 34 56 78
    r"|0\d(?:([ .-])\d{2})(?:\2\d{2}){3}"
    # 020 7946 0018
    r"|0\d{2,4}[ -]\d{3,4}[ -]\d{3,4}"
    r")(?![\w/-]|[.,]\d)"
)
_IP = re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.]*\d)")
# Placeholders of published sets, such as @USER and @user123, are handles already masked.
_HANDLE = re.compile(r"(?<![\w@./])@(?!user\b)[A-Za-z0-9_](?:[\w.-]{0,38}\w)?(?![@\w])", re.IGNORECASE)

# First digits of issuers, and how long their numbers are (ISO/IEC 7812; issuers' own pages).
_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}|6(?:011|5\d\d|4[4-9]\d)\d{12,15}"
    r"|35\d{14,17}|62\d{14,17}"
)


def mask_personal_data(text: str, counts: Counter[str]) -> str:
    """Mask what identifies people; adds `masked_<kind>` to `counts`."""
    has_digit = any(digit in text for digit in "0123456789")
    if "@" in text:
        text = _mask(text, _EMAIL, "email", counts, None)
    if has_digit:
        text = _mask(text, _IBAN, "iban", counts, is_iban)
        text = _mask(text, _CARD, "card", counts, is_card)
        for pattern, check in ((_SSN, None), (_CPF, is_cpf), (_DNI, is_dni), (_RESIDENT, is_resident_number)):
            text = _mask(text, pattern, "id", counts, check)
        text = _mask(text, _IP, "ip", counts, None)
        text = _mask(text, _PHONE, "phone", counts, _is_phone)
    if "@" in text:
        text = _mask(text, _HANDLE, "handle", counts, None)
    return text


def _mask(
    text: str, pattern: re.Pattern[str], kind: str, counts: Counter[str], check: Callable[[str], bool] | None
) -> str:
    def replace(match: re.Match[str]) -> str:
        if check is not None and not check(match[0]):
            return match[0]
        counts[f"masked_{kind}"] += 1
        return MASKS[kind]

    return pattern.sub(replace, text)


def _digits(text: str) -> list[int]:
    return [int(character) for character in text if character.isascii() and character.isdigit()]


def is_luhn(digits: list[int]) -> bool:
    """Tell whether the last digit checks the others: every second one from the right doubled, sum by 10."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        doubled = digit * 2 if position % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def is_card(text: str) -> bool:
    """Tell whether digits are a payment card's number."""
    digits = _digits(text)
    return bool(_ISSUERS.fullmatch("".join(map(str, digits)))) and is_luhn(digits)


def is_iban(text: str) -> bool:
    """Tell whether an IBAN's check digits are right: first four to the end, letters as 10 to 35, 1 by 97."""
    compact = text.replace(" ", "")
    if not 15 <= len(compact) <= 34:
        return False
    return int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97 == 1


def is_cpf(text: str) -> bool:
    """Tell whether both check digits of a CPF are right."""
    digits = _digits(text)
    if len(set(digits)) == 1:
        return False
    for n in (9, 10):
        total = sum(digit * (n + 1 - position) for position, digit in enumerate(digits[:n]))
        if digits[n] != total * 10 % 11 % 10:
            return False
    return True


def is_dni(text: str) -> bool:
    """Tell whether the letter of a DNI, or of an NIE (X, Y, Z for 0, 1, 2), is right."""
    compact = text.replace("-", "")
    number = int(compact[:-1].translate(str.maketrans("XYZ", "012")))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23] == compact[-1]


def is_resident_number(text: str) -> bool:
    """Tell whether the last character of a Chinese resident number is right."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(weight * int(digit) for weight, digit in zip(weights, text[:17], strict=True))
    return "10X98765432"[total % 11] == text[17].upper()


def _is_phone(text: str) -> bool:
    # E.164 allows 15 digits; with fewer than 9 too much else is written in groups.
    return 9 <= len(_digits(text)) <= 15
