"""The benchmark: shares, what each case says, and that nothing else gives a case away."""

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from gooseguard.core.content import Modality
from gooseguard.core.errors import ConfigError
from gooseguard.experiment.scenes import (
    HARMFUL,
    LANDSCAPES,
    PEOPLES,
    SIDE,
    WORDS,
    Case,
    Facts,
    draw_facts,
    draw_items,
    draw_picture,
    is_pair,
)

SHARES = {"text": 0.2, "image": 0.1, "combination": 0.05}


def rng(seed=0):
    return np.random.default_rng(seed)


def test_cases_come_in_their_shares_and_in_random_order():
    items = draw_items(200, SHARES, rng())
    cases = [item.case for item in items]
    assert Counter(cases) == {Case.TEXT: 40, Case.IMAGE: 20, Case.BOTH: 10, Case.NONE: 130}
    assert cases != sorted(cases)
    assert all(item.case is item.facts.case() for item in items)


def test_the_seed_makes_the_benchmark():
    one, same, other = (draw_items(20, SHARES, rng(seed)) for seed in (1, 1, 2))
    assert [item.content.digest() for item in one] == [item.content.digest() for item in same]
    assert [item.content.digest() for item in one] != [item.content.digest() for item in other]


def test_captions_say_what_the_facts_are():
    for item in draw_items(60, SHARES, rng()):
        text, image = item.content.parts
        assert (text.modality, image.modality) == (Modality.TEXT, Modality.IMAGE)
        words = text.text.split()
        assert PEOPLES[item.facts.people] in words
        assert f"<{WORDS[item.facts.word]}>" in words
        assert any(word in words for word in ("nobody", "removed", "not", "wrote")) == item.facts.is_reported
        assert Image.open(io.BytesIO(image.data)).size == (SIDE, SIDE)


BASE = {
    "people": 0,
    "word": 1,
    "is_reported": False,
    "landscape": 2,
    "badge": 1,
    "is_crossed": False,
    "overlay": None,
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Case.NONE),
        ({"word": 0}, Case.TEXT),
        ({"word": 0, "is_reported": True}, Case.NONE),
        ({"badge": 2}, Case.IMAGE),
        ({"badge": 2, "is_crossed": True}, Case.NONE),
        ({"overlay": 4}, Case.IMAGE),
        ({"overlay": 5}, Case.NONE),
        ({"landscape": 0}, Case.BOTH),
        ({"landscape": 1}, Case.BOTH),
        ({"landscape": 3}, Case.NONE),
        ({"people": 3, "landscape": 0}, Case.NONE),
        ({"people": 3, "landscape": 2}, Case.BOTH),
    ],
)
def test_where_the_harm_lies(changes, expected):
    assert Facts(**BASE | changes).case() is expected


def test_neither_half_of_a_pair_says_anything():
    table = np.array([[is_pair(p, s) for s in range(len(LANDSCAPES))] for p in range(len(PEOPLES))])
    assert table.mean(0).tolist() == [0.5] * 4
    assert table.mean(1).tolist() == [0.5] * 4


@pytest.mark.parametrize("case", list(Case))
def test_what_has_nothing_to_do_with_a_case_is_as_often_as_in_harmless_items(case):
    """Shares of 2,000 draws: five standard deviations are 0.06."""
    drawn, harmless = (
        [draw_facts(one, np.random.default_rng([3, number])) for number in range(2000)]
        for one in (case, Case.NONE)
    )
    views = {
        "people": lambda f: f.people,
        "landscape": lambda f: f.landscape,
        "overlaid": lambda f: f.overlay is not None,
    }
    if case is not Case.TEXT:
        views |= {"word": lambda f: f.word, "reported": lambda f: f.is_reported}
    if case is not Case.IMAGE:
        views |= {
            "badge": lambda f: f.badge,
            "crossed": lambda f: f.is_crossed,
            "overlay": lambda f: f.overlay,
        }
    for name, view in views.items():
        one, other = (Counter(map(view, facts)) for facts in (drawn, harmless))
        for value in {*one, *other}:
            assert one[value] / 2000 == pytest.approx(other[value] / 2000, abs=0.06), (name, value)


def test_a_picture_shows_its_facts():
    """The badge's tile is white, and red only where it is crossed out; each landscape has its own colours."""
    means = []
    for landscape in range(4):
        pixels = {}
        for is_crossed in (False, True):
            facts = Facts(**BASE | {"landscape": landscape, "is_crossed": is_crossed})
            picture = Image.open(io.BytesIO(draw_picture(facts, rng(5))))
            pixels[is_crossed] = np.asarray(picture).astype(int)
            is_red = (pixels[is_crossed] == (220, 20, 20)).all(-1)
            assert (is_red.sum() > 20) == is_crossed
            assert (pixels[is_crossed] == 255).all(-1).sum() > 100
        means.append(pixels[False][:8].mean((0, 1)))
    gaps = [np.abs(means[i] - means[j]).max() for i in range(4) for j in range(i)]
    assert min(gaps) > 10


def test_labels_name_what_is_shown():
    facts = Facts(**BASE | {"overlay": 7, "is_crossed": True})
    assert np.flatnonzero(facts.text_labels()).tolist() == [0, 5]
    assert np.flatnonzero(facts.image_labels()).tolist() == [2, 5, 12, 20]
    assert len(facts.text_labels()) == 13
    assert len(facts.image_labels()) == 21


@pytest.mark.parametrize("shares", [{"txt": 0.1}, {"text": -0.1}, {"text": 0.6, "image": 0.5}])
def test_shares_that_are_none(shares):
    with pytest.raises(ConfigError, match="shares of cases"):
        draw_items(5, shares, rng())


def test_every_case_but_one_is_harmful():
    assert set(HARMFUL) == set(Case) - {Case.NONE}
