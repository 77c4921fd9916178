"""Contents to worse ones: a modality absent, another item's, or corrupted, at five strengths, by a seed.

Knows no scorer, and no label: an item whose harmful picture was swapped for a harmless one keeps its label.

Source: kinds and strengths of JPEG, blur, noise and low resolution are those of ImageNet-C (Hendrycks and
Dietterich 2019, arXiv 1903.12261, and its published code), blur as a share of the edge, since its images have
224 pixels; all others are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gooseguard.core.content import Content, Modality, Part
from gooseguard.core.errors import ConfigError
from gooseguard.core.taxonomy import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STRENGTHS = (1, 2, 3, 4, 5)
"""From hardly noticeable to hardly recognisable."""

ABSENT, REPLACED = "absent", "replaced"
"""These happen to a share of the items: a fifth at strength 1, all of them at 5."""

CHARACTER_NOISE, TRUNCATION = "character-noise", "truncation"

NOISE_SHARES = (0.02, 0.05, 0.1, 0.2, 0.3)
"""Of the characters that are no white space."""

KEPT_SHARES = (0.9, 0.75, 0.5, 0.35, 0.2)
"""Of the characters, from the beginning."""

LETTERS = "abcdefghijklmnopqrstuvwxyz"

KINDS: dict[Modality, tuple[str, ...]] = {
    Modality.TEXT: (ABSENT, REPLACED, CHARACTER_NOISE, TRUNCATION),
    Modality.IMAGE: (
        *(ABSENT, REPLACED, "jpeg", "blur", "noise", "occlusion", "low-resolution", "overlaid-text"),
    ),
}
"""What can happen to each modality."""


@dataclass(frozen=True, slots=True)
class Degradation:
    """What happens to contents."""

    modality: Modality
    """Which parts it happens to."""
    kind: str
    """One of the modality's `KINDS`."""
    strength: int
    """One of `STRENGTHS`."""

    def __post_init__(self) -> None:
        kinds = KINDS.get(self.modality, ())
        if self.kind not in kinds:
            raise ConfigError(
                f"degradation of {self.modality}: kind is {self.kind!r}, expected one of {', '.join(kinds)}"
                f"{nearest(self.kind, kinds)}"
            )
        if self.strength not in STRENGTHS:
            raise ConfigError(f"degradation: strength is {self.strength}, expected 1 to {STRENGTHS[-1]}")


def degrade(contents: Sequence[Content], degradation: Degradation, seed: int) -> list[Content | None]:
    """Give the contents as they are after a degradation, in order; `None` where nothing would be left.

    The same seed hits the same items at every strength, and those hit at one are hit at the next.

    Raises:
        ContentError: an image to be corrupted cannot be decoded.
        ConfigError: images are to be corrupted, and Pillow is not installed.
    """
    kinds = KINDS[degradation.modality]
    rng = np.random.default_rng(
        [seed, list(KINDS).index(degradation.modality), kinds.index(degradation.kind)]
    )
    if degradation.kind == ABSENT:
        is_hit = _hit(len(contents), degradation.strength, rng)
        return [
            _without(content, degradation.modality) if hit else content
            for content, hit in zip(contents, is_hit, strict=True)
        ]
    if degradation.kind == REPLACED:
        return list(_replace(contents, degradation, rng))
    corrupt = _corruption(degradation)
    return [
        replace(
            content,
            parts=tuple(
                corrupt(part, np.random.default_rng([seed, row, number]))
                if part.modality is degradation.modality
                else part
                for number, part in enumerate(content.parts)
            ),
        )
        for row, content in enumerate(contents)
    ]


def _hit(n: int, strength: int, rng: np.random.Generator) -> list[bool]:
    """Pick a share of n items exactly, a fifth a strength."""
    places = rng.permutation(n)
    return [bool(place < round(n * strength / len(STRENGTHS))) for place in places]


def _without(content: Content, modality: Modality) -> Content | None:
    parts = tuple(part for part in content.parts if part.modality is not modality)
    return replace(content, parts=parts) if parts else None


def _replace(
    contents: Sequence[Content], degradation: Degradation, rng: np.random.Generator
) -> list[Content]:
    """Give hit items the parts of another item that has the modality, which keeps its own unless hit too."""
    modality = degradation.modality
    having = [row for row, content in enumerate(contents) if _parts(content, modality)]
    # A ring in random order: the next one is never the item itself, unless it is alone.
    ring = [having[place] for place in rng.permutation(len(having))]
    next_one = dict(zip(ring, ring[1:] + ring[:1], strict=True))
    is_hit = dict(zip(having, _hit(len(having), degradation.strength, rng), strict=True))
    replaced = []
    for row, content in enumerate(contents):
        if not is_hit.get(row):
            replaced.append(content)
            continue
        # Where the first of its own stood, since some models read parts in order.
        place = next(i for i, part in enumerate(content.parts) if part.modality is modality)
        others = [part for part in content.parts if part.modality is not modality]
        parts = (*others[:place], *_parts(contents[next_one[row]], modality), *others[place:])
        replaced.append(replace(content, parts=parts))
    return replaced


def _parts(content: Content, modality: Modality) -> tuple[Part, ...]:
    return tuple(part for part in content.parts if part.modality is modality)


def _corruption(degradation: Degradation) -> Callable[[Part, np.random.Generator], Part]:
    level = degradation.strength - 1
    if degradation.modality is Modality.TEXT:
        edit = {CHARACTER_NOISE: _add_noise, TRUNCATION: _truncate}[degradation.kind]
        return lambda part, rng: Part.from_text(edit(part.text, level, rng), part.origin)
    # Here, since images need Pillow, which an extra brings.
    from gooseguard.evaluation.image_corruption import corrupt_image  # noqa: PLC0415

    return lambda part, rng: corrupt_image(part, degradation.kind, level, rng)


def _add_noise(text: str, level: int, rng: np.random.Generator) -> str:
    """Swap, drop, double or replace characters, either as often."""
    characters = list(text)
    made = []
    place = 0
    while place < len(characters):
        one = characters[place]
        place += 1
        if one.isspace() or rng.random() >= NOISE_SHARES[level]:
            made.append(one)
            continue
        how = int(rng.integers(4))
        if how == 0 and place < len(characters) and not characters[place].isspace():
            made += [characters[place], one]
            place += 1
        elif how == 1:
            made += [one, one]
        elif how == 2:
            made.append(LETTERS[int(rng.integers(len(LETTERS)))])
        # Else it is dropped.
    return "".join(made) or text


def _truncate(text: str, level: int, rng: np.random.Generator) -> str:
    del rng
    return text[: max(1, round(len(text) * KEPT_SHARES[level]))]
