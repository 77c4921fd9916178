"""Keys, shingles, MinHash and clusters, against pure Python and by hand."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.data.dedup import (
    Lsh,
    dedup_form,
    dedup_key,
    jaccard,
    literal_form,
    minhash_signatures,
    near_duplicate_clusters,
    shingle_sets,
)

WORDS = [
    "goose",
    "river",
    "moron",
    "guards",
    "bread",
    "loudly",
    "water",
    "never",
    "a",
    "of",
    "kettle",
    "green",
]


def sentences(seed, count, length=12):
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, length)) + f" {index}" for index in range(count)]


def shingles_by_hand(form, width):
    form = form.ljust(5, "\0")
    return {form[at : at + width] for at in range(len(form) - width + 1)}


def jaccard_by_hand(left, right, width=5):
    one, other = shingles_by_hand(left, width), shingles_by_hand(right, width)
    return len(one & other) / len(one | other)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("  Good,  MORNING!! ", "good morning"),
        ("ﬁne ①", "fine 1"),
        ("don't", "don t"),
        ("ß_2", "ß 2"),
        ("हिन्दी।", "हिन्दी"),
        ("你好，世界", "你好 世界"),
        ("❤️ you", "you"),
        ("!?", "!?"),
        ("", ""),
        ("\u200bhi\u200d", "hi"),
    ],
)
def test_form(text, form):
    assert dedup_form(text) == form


def test_literal_form_keeps_symbols_and_nothing_else_more():
    assert literal_form("You are 🐍!") == "you are 🐍"
    assert literal_form("You are 🐍!") != literal_form("You are 👍!")
    assert dedup_form("You are 🐍!") == dedup_form("You are 👍!")


def test_key_is_the_start_of_sha256_of_the_form():
    assert dedup_key("Good -- morning") == hashlib.sha256(b"good morning").hexdigest()[:16]
    assert dedup_key("!?") == hashlib.sha256(b"!?").hexdigest()[:16]


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=30))
def test_key_knows_no_case_spacing_or_punctuation(text):
    capitals = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    # The letter in front makes sure that the form is not the raw text.
    assert dedup_key(f" x {text} ...\n".translate(capitals)) == dedup_key(f"x, {text}")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(alphabet="ab 你好世\0", max_size=14), min_size=1, max_size=8))
def test_shingle_sets_have_the_sizes_of_sets_of_substrings(forms):
    shingles = shingle_sets(forms)
    expected = []
    for form in forms:
        padded = form.ljust(5, "\0")
        is_dense = 2 * sum(character >= "\u2e80" for character in padded) > len(padded)
        expected.append(len(shingles_by_hand(form, 3 if is_dense else 5)))
    assert np.diff(shingles.offsets).tolist() == expected


def test_shingle_sets_do_not_depend_on_chunks(monkeypatch):
    forms = sentences(0, 40)
    whole = shingle_sets(forms)
    monkeypatch.setattr("gooseguard.data.dedup.CHUNK_CODES", 100)
    pieces = shingle_sets(forms)
    np.testing.assert_array_equal(whole.hashes, pieces.hashes)
    np.testing.assert_array_equal(whole.offsets, pieces.offsets)
    left, right = np.repeat(np.arange(40), 40), np.tile(np.arange(40), 40)
    expected = [jaccard_by_hand(forms[i], forms[j]) for i, j in zip(left, right, strict=True)]
    np.testing.assert_allclose(jaccard(pieces, left, right), expected, rtol=1e-12)


def test_jaccard_of_nothing_is_nothing():
    none = np.zeros(0, np.int64)
    assert jaccard(shingle_sets(["good morning"]), none, none).size == 0
    assert shingle_sets([]).offsets.tolist() == [0]


def test_signatures_estimate_jaccard():
    # 4,096 hash functions: a standard deviation of at most 0.008.
    forms = [
        "the goose guards the green river",
        "the goose guards the brown river",
        "never of bread and kettles",
    ]
    signatures = minhash_signatures(shingle_sets(forms), 4096)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        estimate = (signatures[one] == signatures[other]).mean()
        assert abs(estimate - jaccard_by_hand(forms[one], forms[other])) < 0.04


def clusters_by_hand(forms, threshold):
    roots = list(range(len(forms)))
    for i in range(len(forms)):
        for j in range(i):
            if jaccard_by_hand(forms[i], forms[j]) >= threshold and roots[i] != roots[j]:
                low, high = sorted((roots[i], roots[j]))
                roots = [low if root == high else root for root in roots]
    return roots


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.8])
def test_clusters_are_those_of_comparing_all_pairs(threshold):
    generator = np.random.default_rng(3)
    forms = []
    for text in sentences(1, 60):
        forms.append(text)
        words = text.split()
        for _ in range(int(generator.integers(0, 4))):
            words[int(generator.integers(len(words)))] = str(generator.choice(WORDS))
            forms.append(" ".join(words))
    found = near_duplicate_clusters(forms, Lsh(threshold=threshold))
    assert found.tolist() == clusters_by_hand(forms, threshold)
    assert len(set(found.tolist())) < len(forms)


def test_clusters_of_one_huge_bucket():
    # Every text equals the others but for a number at its end, so all share most buckets.
    forms = [f"the goose guards the green river loudly and never sleeps {index}" for index in range(1000)]
    assert near_duplicate_clusters(forms).tolist() == [0] * 1000


@pytest.mark.parametrize("forms", [[], ["alone"]])
def test_clusters_of_hardly_anything(forms):
    assert near_duplicate_clusters(forms).tolist() == list(range(len(forms)))


def test_clusters_of_short_and_equal_texts():
    assert near_duplicate_clusters(["", "a", "a", "b", "你好", "你好"]).tolist() == [0, 1, 1, 3, 4, 4]
