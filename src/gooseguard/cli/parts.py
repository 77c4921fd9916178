"""Words of a command line, and `parts` of a row, to the parts of a content: texts, and images from files.

Errors name the number of a part and never its text; a file's name is told only where the user typed it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gooseguard.codec.image_format import MAX_BYTES, SUFFIXES, decode_data_url, make_image_part
from gooseguard.core.content import Part
from gooseguard.core.errors import ContentError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMS = '{"text": "…"}, {"path": "photo.jpg"} or {"image_url": {"url": "data:…"}}'
"""What a part of a row may be."""

_FORMS = {"text": frozenset({"type", "modality"}), "path": frozenset({"type", "modality", "sha256"})}
_FORMS["image_url"] = _FORMS["text"]


def split_words(words: Sequence[str]) -> tuple[list[str], list[Path]]:
    """Give the texts and the image files among the words of a command line, each in order.

    A word is an image where it is the name of a file with the ending of an image.

    Raises:
        DataError: a word looks like an image's name and no such file is there.
    """
    texts: list[str] = []
    images: list[Path] = []
    for word in words:
        path = Path(word)
        if path.suffix.lower() not in SUFFIXES or any(character.isspace() for character in path.suffix):
            texts.append(word)
        elif path.exists():
            images.append(path)
        elif len(word.split()) == 1:
            raise DataError(
                f"{word}: no such file; expected an image (a text of that form goes in through --input)"
            )
        else:
            texts.append(word)
    return texts, images


def read_image(path: Path) -> Part:
    """Read an image file as a part; its pixels are not looked at yet.

    Raises:
        ContentError: it cannot be read, is too large, or no image; does not say its name.
    """
    try:
        if not path.is_file():
            raise ContentError("no such file; expected an image file")
        with path.open("rb") as stream:
            # One byte more tells that there are more.
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ContentError(f"the file cannot be read ({type(error).__name__}); expected an image") from None
    return make_image_part(data)


def parse_parts(value: Any, folder: Path, max_characters: int) -> tuple[Part, ...]:  # noqa: ANN401  (JSON)
    """Make the parts of a row; texts without anything visible are left out.

    Args:
        value: what the row has under `parts`.
        folder: paths are relative to it.
        max_characters: of each text.

    Raises:
        ContentError: a part is none of `FORMS`, cannot be read or is too long; or none is left.
    """
    if not isinstance(value, list) or not value:
        raise ContentError(f'"parts" is no list, or an empty one; expected a list of {FORMS}')
    parts: list[Part] = []
    for number, entry in enumerate(value):
        try:
            part = _parse_part(entry, folder, max_characters)
        except ContentError as error:
            raise ContentError(f"part {number}: {error}") from None
        if part is not None:
            parts.append(part)
    if not parts:
        raise ContentError("no part has anything visible; expected a text or an image")
    return tuple(parts)


def _parse_part(entry: Any, folder: Path, max_characters: int) -> Part | None:  # noqa: ANN401  (JSON)
    keys = [key for key in _FORMS if isinstance(entry, dict) and key in entry]
    if len(keys) != 1 or not entry.keys() <= {keys[0], *_FORMS[keys[0]]}:
        raise ContentError(f"is of no known form; expected {FORMS}")
    (key,) = keys
    value = entry[key]
    if key == "image_url" and isinstance(value, dict):
        value = value.get("url")
    if not isinstance(value, str):
        raise ContentError(f"{key!r} is no text; expected {FORMS}")
    if key == "path":
        return read_image(folder / value)
    if key == "image_url":
        return make_image_part(decode_data_url(value))
    if len(value) > max_characters:
        raise ContentError(
            f"text has {len(value)} characters, more than {max_characters}; cut it or raise --max-characters"
        )
    return Part.from_text(value) if value.strip() else None
