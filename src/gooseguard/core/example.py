"""Example: a content with labels, as datasets hold it. Knows nothing of files, splits or models."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from gooseguard.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gooseguard.core.content import Content


@dataclass(frozen=True, slots=True)
class Example:
    """One content and what is known to be true of it."""

    id: str
    """Unique in its dataset."""
    content: Content
    """What is judged."""
    labels: Mapping[str, float | None] = field(default_factory=dict)
    """Category to truth, 0..1; `None` and absent both mean that nobody annotated it. Read-only."""
    subgroups: tuple[str, ...] = ()
    """People the content mentions, for fairness."""
    source: str = ""
    """Name of the published set it comes from."""
    rationale: str | None = None
    """Why the labels hold, in words."""

    def __post_init__(self) -> None:
        checked: dict[str, float | None] = {}
        for category, label in self.labels.items():
            # A NaN fails both comparisons.
            if label is not None and not 0.0 <= label <= 1.0:
                raise DataError(
                    f"example {self.id!r}: label {category!r} is {label!r}, expected 0..1, "
                    "or None when nobody annotated it"
                )
            checked[category] = None if label is None else float(label)
        object.__setattr__(self, "labels", MappingProxyType(checked))

    def __reduce__(self) -> tuple[type[Example], tuple[object, ...]]:
        """Support copying and sending to another process, which a read-only mapping does not."""
        fields = (self.id, self.content, dict(self.labels), self.subgroups, self.source, self.rationale)
        return (type(self), fields)

    @property
    def annotated(self) -> dict[str, float]:
        """Give the labels that somebody annotated."""
        return {category: label for category, label in self.labels.items() if label is not None}
