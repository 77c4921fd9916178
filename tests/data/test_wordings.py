"""Wordings: there are many, each says what it must, and choices depend on their keys alone."""

import re
from collections import Counter

from gooseguard.data.wordings import choose, load_wordings

NEEDED = {
    ("yes_no", "instructions"): {"category", "definition"},
    ("yes_no", "yes"): set(), ("yes_no", "yes_quoted"): {"quotes"}, ("yes_no", "no"): set(),
    ("categories", "instructions"): {"categories"}, ("categories", "some_quoted"): {"quotes"},
    ("action", "instructions"): {"policy"}, ("action", "hit"): {"action", "category"},
    ("action", "hit_quoted"): {"action", "category", "quotes"}, ("policy", "block"): {"categories"},
    ("policy", "review"): {"categories"},
}  # fmt: skip
KNOWN = {"category", "definition", "categories", "policy", "quotes", "action"}


def test_every_wording_says_what_it_must_and_names_nothing_unknown():
    sentences = load_wordings().sentences
    for table, names in sentences.items():
        for name, texts in names.items():
            assert len(set(texts)) == len(texts)
            for text in texts:
                found = set(re.findall(r"\{(\w+)\}", text))
                assert NEEDED.get((table, name), set()) <= found <= KNOWN, (table, name, text)


def test_there_are_many_of_each():
    sentences = load_wordings().sentences
    assert all(len(sentences[table]["instructions"]) >= 8 for table in ("yes_no", "categories", "action"))
    assert set(load_wordings().forms) == {"categories", "action"}


def test_choices_depend_on_their_keys_alone_and_are_even():
    assert choose(1000, "a", 1) == choose(1000, "a", "1")
    # The first 8 bytes of SHA-256 of "a", by sha256sum: ca978112ca1bbdca.
    assert choose(1 << 64, "a") == 0xCA978112CA1BBDCA
    counts = Counter(choose(8, "row", number) for number in range(8000))
    # Binomial: 1000 with a standard deviation of 30.
    assert all(850 < n < 1150 for n in counts.values())
    # Keys do not run into each other.
    assert choose(1 << 64, "a", "b") != choose(1 << 64, "ab")
