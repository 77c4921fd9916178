"""What is taken for personal data, and what is left alone."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gooseguard.data.personal_data import KINDS, MASKS, is_luhn, mask_personal_data

MASKED = [
    ("email", "write to jane.doe+x@mail.example.org now", "write to [email] now"),
    ("email", "(bob@example.com)", "([email])"),
    # 4111 1111 1111 1111 is the test number that Visa publishes, 3782… American Express's.
    ("card", "card 4111 1111 1111 1111.", "card [card]."),
    ("card", "4111-1111-1111-1111", "[card]"),
    ("card", "378282246310005", "[card]"),
    # The example of ISO 13616, and Germany's of its bank.
    ("iban", "GB82 WEST 1234 5698 7654 32", "[iban]"),
    ("iban", "DE89370400440532013000", "[iban]"),
    ("id", "my SSN is 219-09-9999", "my SSN is [id]"),
    # By hand: 1*10+1*9+1*8+4*7+4*6+4*5+7*4+7*3+7*2 = 162, 1620 mod 11 = 3; the second digit is 5 likewise.
    ("id", "CPF 111.444.777-35", "CPF [id]"),
    # 12345678 mod 23 is 14, the letter Z.
    ("id", "DNI 12345678Z", "DNI [id]"),
    # The example of GB 11643-1999.
    ("id", "11010519491231002X", "[id]"),
    ("phone", "call +44 20 7946 0018!", "call [phone]!"),
    ("phone", "(555) 010-1234", "[phone]"),
    ("phone", "555-010-1234", "[phone]"),
    ("phone", "06 12 34 56 78", "[phone]"),
    ("ip", "from 203.0.113.7", "from [ip]"),
    ("handle", "hey @some_body, look", "hey @user, look"),
]


@pytest.mark.parametrize(("kind", "text", "expected"), MASKED)
def test_masks_and_counts(kind, text, expected):
    counts = Counter()
    assert mask_personal_data(text, counts) == expected
    assert counts == {f"masked_{kind}": 1}


@pytest.mark.parametrize(
    "text",
    [
        # The last digit is wrong.
        "4111 1111 1111 1112",
        # Right by Luhn, but no issuer begins with 0.
        "0000000000000000",
        "DE89370400440532013001",
        "666-09-9999",
        "111.444.777-36",
        "111.111.111-11",
        "12345678A",
        "110105194912310021",
        "in 1999-2000, 10 000 000 people, 3.14159265358979",
        "at 12:30 on 2024-01-02, 1,000,000,000",
        "version 1.2.3.4.5",
        "@user and @USER wrote",
        "a @ b",
        "user@",
        "",
    ],
)
def test_leaves_alone(text):
    counts = Counter()
    assert mask_personal_data(text, counts) == text
    assert not counts


def test_luhn_is_the_published_example():
    # ISO/IEC 7812-1 annex B: 7992739871 has the check digit 3.
    assert [digit for digit in range(10) if is_luhn([*map(int, "7992739871"), digit])] == [3]


@given(st.text(alphabet="0123456789 -.+()@abXZ/", max_size=80))
def test_masking_twice_changes_nothing(text):
    once = mask_personal_data(text, Counter())
    again = Counter()
    assert mask_personal_data(once, again) == once
    assert not again


def test_every_kind_has_a_mask():
    assert set(MASKS) == set(KINDS)
