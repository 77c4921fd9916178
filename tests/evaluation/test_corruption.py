"""What happens to contents, counted and compared; pixels are in test_image_corruption.py."""

import itertools

import numpy as np
import pytest

from gooseguard.core.content import Content, Modality, Part
from gooseguard.core.errors import ConfigError
from gooseguard.evaluation.corruption import KINDS, STRENGTHS, Degradation, degrade

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE


def picture(name):
    return Part(IMAGE, name.encode(), "image/png")


CONTENTS = [
    Content((Part.from_text(f"caption {i}"), picture(f"image {i}")), language="en") for i in range(50)
]


@pytest.mark.parametrize("modality", [TEXT, IMAGE])
def test_absent_hits_a_fifth_more_at_each_strength_and_nests(modality):
    before = set()
    for strength in STRENGTHS:
        left = degrade(CONTENTS, Degradation(modality, "absent", strength), seed=3)
        hit = {i for i, content in enumerate(left) if content != CONTENTS[i]}
        assert len(hit) == 10 * strength
        assert hit >= before
        before = hit
        for i in hit:
            assert left[i].parts == tuple(part for part in CONTENTS[i].parts if part.modality is not modality)
            assert left[i].language == "en"


def test_nothing_left_is_none():
    assert degrade([Content.from_text("alone")], Degradation(TEXT, "absent", 5), 0) == [None]


@pytest.mark.parametrize("modality", [TEXT, IMAGE])
def test_replaced_gives_another_items_part_and_each_is_used_once(modality):
    place = (TEXT, IMAGE).index(modality)
    swapped = degrade(CONTENTS, Degradation(modality, "replaced", 5), seed=3)

    def find(content):
        return next(part for part in content.parts if part.modality is modality)

    own = [content.parts[place] for content in CONTENTS]
    assert sorted(part.data for part in own) == sorted(find(content).data for content in swapped)
    assert all(find(content) != part for content, part in zip(swapped, own, strict=True))
    for content, before in zip(swapped, CONTENTS, strict=True):
        assert before.parts[1 - place] == content.parts[1 - place]
        assert len(content.parts) == 2
    hits = [
        {
            i
            for i, content in enumerate(degrade(CONTENTS, Degradation(modality, "replaced", s), 3))
            if content != CONTENTS[i]
        }
        for s in STRENGTHS
    ]
    assert [len(hit) for hit in hits] == [10, 20, 30, 40, 50]
    assert all(one <= two for one, two in itertools.pairwise(hits))


def test_an_item_without_the_modality_is_left_alone():
    contents = [Content.from_text("no picture"), *CONTENTS[:2]]
    assert degrade(contents, Degradation(IMAGE, "replaced", 5), 0)[0] == contents[0]


def edit_distance(one, two):
    """Levenshtein, by its recurrence."""
    row = list(range(len(two) + 1))
    for i, a in enumerate(one, 1):
        above, row = row, [i]
        for j, b in enumerate(two, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (a != b)))
    return row[-1]


def test_character_noise_grows_with_strength():
    texts = [f"some words of a caption number {i}" for i in range(40)]
    shares = []
    for strength in STRENGTHS:
        noisy = degrade(
            [Content.from_text(text) for text in texts], Degradation(TEXT, "character-noise", strength), 1
        )
        edits = sum(edit_distance(a, b.parts[0].text) for a, b in zip(texts, noisy, strict=True))
        shares.append(edits / sum(len(text.replace(" ", "")) for text in texts))
    # A swap is two edits, and a quarter of them are swaps: 1.25 edits a character that was hit.
    assert shares == pytest.approx(np.array((0.02, 0.05, 0.1, 0.2, 0.3)) * 1.25, rel=0.35)
    assert all(one < two for one, two in itertools.pairwise(shares))


def test_truncation_keeps_the_beginning():
    (short,) = degrade([Content.from_text("0123456789" * 2)], Degradation(TEXT, "truncation", 3), 0)
    assert short.parts[0].text == "0123456789"
    (one,) = degrade([Content.from_text("é")], Degradation(TEXT, "truncation", 5), 0)
    assert one.parts[0].text == "é"


def test_the_seed_decides():
    noise = Degradation(TEXT, "character-noise", 5)
    assert degrade(CONTENTS, noise, 1) == degrade(CONTENTS, noise, 1)
    assert degrade(CONTENTS, noise, 1) != degrade(CONTENTS, noise, 2)
    # An item suffers the same whatever stands before it.
    assert degrade(CONTENTS, noise, 1)[0] == degrade(CONTENTS[:1], noise, 1)[0]


def test_what_is_not_known_is_refused():
    with pytest.raises(ConfigError, match=r"expected one of absent, .*did you mean 'truncation'"):
        Degradation(TEXT, "truncated", 1)
    with pytest.raises(ConfigError, match="strength is 6"):
        Degradation(TEXT, "absent", 6)
    with pytest.raises(ConfigError, match="kind is 'absent'"):
        Degradation(Modality.AUDIO, "absent", 1)
    assert set(KINDS) == {TEXT, IMAGE}
