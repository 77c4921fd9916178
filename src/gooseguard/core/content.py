"""Content: what is judged. Knows nothing of ids, labels or models."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from gooseguard.core.errors import ContentError


class Modality(StrEnum):
    """What kind of thing a part is."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"


@dataclass(frozen=True, slots=True)
class Part:
    """One text, image, sound or film."""

    modality: Modality
    """What kind of thing `data` is."""
    data: bytes
    """The part itself; text is UTF-8."""
    media_type: str = "text/plain"
    """IANA media type of `data`."""
    origin: str = ""
    """Where the part came from, for people; never read by a model."""

    @classmethod
    def from_text(cls, text: str, origin: str = "") -> Part:
        """Make a text part.

        Raises:
            ContentError: `text` holds a lone surrogate, which no encoding can carry.
        """
        try:
            data = text.encode("utf-8")
        except UnicodeEncodeError as error:
            code = ord(text[error.start])
            raise ContentError(
                f"text has a lone surrogate U+{code:04X} at code point {error.start}; "
                "expected valid Unicode; decode the source as UTF-16 or replace it"
            ) from None
        return cls(Modality.TEXT, data, "text/plain", origin)

    @property
    def text(self) -> str:
        """Give the text of a text part.

        Raises:
            ContentError: the part is not text, or not UTF-8.
        """
        if self.modality is not Modality.TEXT:
            raise ContentError(f"part is {self.modality}, expected text")
        try:
            return self.data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ContentError(
                f"text part is not UTF-8 at byte {error.start}; expected UTF-8; decode it before scoring"
            ) from None


@dataclass(frozen=True, slots=True)
class Content:
    """What is judged as one: texts and images together. Hashable, without an id: the key for caches."""

    parts: tuple[Part, ...]
    """What is scored, in order."""
    context: tuple[Part, ...] = ()
    """Earlier parts that the content replies to; read, never scored."""
    language: str | None = None
    """BCP-47 tag, where the caller knows it."""

    @classmethod
    def from_text(cls, text: str, language: str | None = None) -> Content:
        """Make a content of one text.

        Raises:
            ContentError: `text` holds a lone surrogate.
        """
        return cls((Part.from_text(text),), (), language)

    def join_texts(self, reader: str) -> str:
        """Give the text of all parts, joined by line feeds.

        Args:
            reader: who reads text only, for the error.

        Raises:
            ContentError: a part is not text, or not UTF-8.
        """
        texts = []
        for number, part in enumerate(self.parts):
            if part.modality is not Modality.TEXT:
                raise ContentError(
                    f"part {number} is {part.modality}; {reader} reads text only; leave the part out, "
                    f"or use a model that reads {part.modality}"
                )
            try:
                texts.append(part.text)
            except ContentError as error:
                raise ContentError(f"part {number}: {error}") from None
        return "\n".join(texts)

    def digest(self) -> str:
        """Give the SHA-256 (hex) of parts, context and language: equal contents, equal digests."""
        pieces = []
        for group in (self.parts, self.context):
            pieces.append(len(group).to_bytes(8, "big"))
            for part in group:
                for field in (part.modality.encode(), part.media_type.encode(), part.data):
                    pieces += (len(field).to_bytes(8, "big"), field)
        pieces.append((self.language or "").encode())
        return hashlib.sha256(b"".join(pieces)).hexdigest()
