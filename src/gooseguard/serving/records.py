"""Log entries to rows: a verdict each, or a suggestion of better scores.

Content itself is in a row only where the operator asks for it, or the caller suggests scores for it; never
where the caller forbade to store. An author is kept as a keyed digest: it finds their rows.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gooseguard.core.content import Modality
from gooseguard.core.scorer import ScoreError

if TYPE_CHECKING:
    from gooseguard.core.content import Content, Part
    from gooseguard.serving.hooks import LogEntry

SUGGEST = "suggest"
"""The `api` of entries that suggest scores."""


def is_suggestion(entry: LogEntry) -> bool:
    """Tell whether an entry suggests scores, even such as none of our categories has."""
    return entry.api == SUGGEST or bool(entry.suggested)


@dataclass(frozen=True, slots=True)
class RowMaker:
    """Makes rows of `serving/tables.py`."""

    salt: bytes
    """Key of the author digests; its database's own."""
    keeps_content: bool = False
    """Whether the operator asked for contents to be kept beside verdicts."""

    def verdict(self, entry: LogEntry, now: float) -> dict[str, Any]:
        """Give a row of the table `verdicts`; `now` in seconds since 1970."""
        content = entry.content if entry.may_store else None
        outcome = entry.outcome
        row = self._origin(entry, now)
        row["position"] = entry.place
        row["api"] = entry.api
        row["model"] = entry.model
        row["policy"] = entry.policy
        row["digest"] = None if content is None else content.digest()
        row["content"] = None if content is None or not self.keeps_content else content_json(content)
        if isinstance(outcome, ScoreError):
            row["action"] = row["flagged"] = row["scores"] = None
            row["error"] = outcome.type
        else:
            row["action"] = str(outcome.action)
            row["flagged"] = [category for category, is_flagged in outcome.flagged.items() if is_flagged]
            row["scores"] = dict(outcome.scores.values)
            row["error"] = None
        return row

    def suggestion(self, entry: LogEntry, now: float) -> dict[str, Any]:
        """Give a row of the table `suggestions`, content included: training needs it."""
        return self._origin(entry, now) | {
            "language": entry.content.language,
            "scores": dict(entry.suggested),
            "digest": entry.content.digest(),
            "content": content_json(entry.content),
        }

    def author_digest(self, author: str) -> str | None:
        """Give what an author's id is kept as: HMAC-SHA-256, hex; `None` for no author."""
        if not author:
            return None
        return hmac.new(self.salt, author.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    def _origin(self, entry: LogEntry, now: float) -> dict[str, Any]:
        return {
            "created": now,
            "request": entry.request,
            "key": entry.key or None,
            "item": storable(entry.id),
            "author": self.author_digest(entry.author),
            "community": storable(entry.community),
        }


def content_json(content: Content) -> str:
    """Give a content as ASCII JSON: `{"parts": [{"modality", "media_type", "text" or "base64"}], …}`."""
    table: dict[str, Any] = {"parts": [_part(part) for part in content.parts]}
    if content.context:
        table["context"] = [_part(part) for part in content.context]
    if content.language is not None:
        table["language"] = content.language
    return json.dumps(table, separators=(",", ":"))


def storable(word: str) -> str | None:
    """Give a caller's word as any database takes it: NUL and lone surrogates replaced; `None` for none."""
    if not word:
        return None
    return word.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _part(part: Part) -> dict[str, str]:
    about = {"modality": part.modality.value, "media_type": part.media_type}
    if part.modality is Modality.TEXT:
        return about | {"text": part.text}
    return about | {"base64": base64.b64encode(part.data).decode("ascii")}
