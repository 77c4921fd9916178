"""Prompts that hold images: where an image stands among the pieces of `codec/prompt.py`.

| place | the user's turn, `⏎` a line feed |
| --- | --- |
| `first` | `User: IMAGE⏎TEXT` |
| `middle` | `User: TEXT⏎IMAGE⏎TEXT`, the "sandwich" |
| `last` | `User: TEXT⏎IMAGE` |

Several images stand one below the other. The layouts are VisualRWKV's; ours are the wording of the questions,
and that pieces are encoded one by one, as everywhere here. Knows no model and no vocabulary.

Source: VisualRWKV, `VisualRWKV-v6/v6.0/src/dataset.py`, `process_image_tokens_in_conversations`, and
`VisualRWKV-v7`, whose prompts repeat `<image>` and a line feed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gooseguard.codec.prompt import NO, YES, Encoder, Piece, Role, collapse, encode_with_roles, quote
from gooseguard.codec.visual_layout import ImagePlace
from gooseguard.core.content import Modality, Part
from gooseguard.core.errors import ContentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from gooseguard.core.content import Content
    from gooseguard.core.taxonomy import Category

VISUAL_PROMPT_VERSION = 1
"""Raised when any wording or layout here changes: scores depend on them."""

LINE = Piece(Role.FRAME, "\n")


@dataclass(frozen=True, slots=True)
class ImageSlot:
    """Where an image goes."""

    number: int
    """Of the image, from 0."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A run of tokens between images."""

    ids: tuple[int, ...]
    """Token ids, at least one."""
    roles: tuple[Role, ...]
    """Whose words each is."""


def split_content(content: Content, modalities: AbstractSet[Modality], reader: str) -> tuple[str, list[Part]]:
    """Give the texts of a content, joined by line feeds, and its images.

    Args:
        content: what is judged.
        modalities: what `reader` reads.
        reader: for the error.

    Raises:
        ContentError: a part is of another modality, a text is not UTF-8, or there is nothing to see.
    """
    texts, images = [], []
    for number, part in enumerate(content.parts):
        if part.modality not in modalities or part.modality not in (Modality.TEXT, Modality.IMAGE):
            known = " and ".join(sorted(modalities))
            raise ContentError(
                f"part {number} is {part.modality}; {reader} reads {known} only; leave the part out, "
                f"or use a model that reads {part.modality}"
            )
        if part.modality is Modality.IMAGE:
            images.append(part)
            continue
        try:
            texts.append(part.text)
        except ContentError as error:
            raise ContentError(f"part {number}: {error}") from None
    return "\n".join(texts), images


def place_images(
    head: Piece, body: Sequence[Piece], n_image: int, place: str
) -> tuple[Piece | ImageSlot, ...]:
    """Lay out a turn with images.

    Args:
        head: what begins the turn, such as `User:`.
        body: the rest of the turn; the first piece begins with a space. May be empty.
        n_image: how many images, at least one.
        place: an `ImagePlace`.
    """
    images: list[Piece | ImageSlot] = []
    for number in range(n_image):
        images += [LINE, ImageSlot(number)] if number else [ImageSlot(number)]
    spaced = Piece(head.role, f"{head.text} ")
    if not body:
        return (spaced, *images)
    unspaced = (Piece(body[0].role, body[0].text.removeprefix(" ")), *body[1:])
    if place == ImagePlace.FIRST:
        return (spaced, *images, LINE, *unspaced)
    if place == ImagePlace.MIDDLE:
        return (head, *body, LINE, *images, LINE, *unspaced)
    return (head, *body, LINE, *images)


def render_sight(text: str, n_image: int, place: str) -> tuple[Piece | ImageSlot, ...]:
    """Lay out a content with images that questions are asked about; `render_sight_question` goes on.

    Args:
        text: beside the images; may be blank.
        n_image: how many.
        place: an `ImagePlace`.
    """
    subject, what = (
        ("Look at the image, read the text", "them") if text.strip() else ("Look at the image", "it")
    )
    body = [Piece(Role.INSTRUCTION, f" {subject} and answer the question about {what} with {YES} or {NO}.")]
    if text.strip():
        body += [Piece(Role.FRAME, "\nText:"), Piece(Role.CONTENT, f" {quote(text)}")]
    return place_images(Piece(Role.FRAME, "User:"), body, n_image, place)


def render_sight_question(category: Category, before_answer: str) -> tuple[Piece, ...]:
    """Lay out the question whether a category fits the content of `render_sight`."""
    words = f" Does the content fall under {category.name!r}? Definition: {collapse(category.definition)}"
    return (
        Piece(Role.FRAME, "\nQuestion:"),
        Piece(Role.INSTRUCTION, words),
        Piece(Role.FRAME, before_answer),
    )


def encode_prompt(items: Iterable[Piece | ImageSlot], tokenizer: Encoder) -> list[Tokens | ImageSlot]:
    """Give the runs of tokens of a prompt, each piece encoded by itself, and the images between them."""
    runs: list[Tokens | ImageSlot] = []
    waiting: list[Piece] = []

    def flush() -> None:
        ids, roles = encode_with_roles(waiting, tokenizer)
        waiting.clear()
        if ids:
            runs.append(Tokens(tuple(ids), tuple(roles)))

    for item in items:
        if isinstance(item, Piece):
            waiting.append(item)
        else:
            flush()
            runs.append(item)
    flush()
    return runs
