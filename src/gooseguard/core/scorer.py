"""Scores, and the one seam to every model: the Scorer protocol. Knows no threshold and no policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from gooseguard.core.errors import ContentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from gooseguard.core.content import Content, Modality


@dataclass(frozen=True, slots=True)
class Span:
    """Where in a text part a category was found."""

    part: int
    """Index of the part."""
    begin: int
    """First code point of the original text."""
    end: int
    """One past the last code point."""
    category: str
    """The category found there."""
    score: float
    """Calibrated score of the span alone, 0..1."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model says of one content: calibrated, without a verdict."""

    values: Mapping[str, float | None]
    """Category to score, 0..1; None where the category does not apply to the content's modalities."""
    model: str
    """"name@digest" of the model that gave them."""
    spans: tuple[Span, ...] = ()
    """Where, if the scorer was asked."""
    applied: Mapping[str, frozenset[Modality]] = field(default_factory=dict)
    """Category to the modalities that were read for it."""
    rationale: str | None = None
    """Why, in words, if the model writes."""

    def __post_init__(self) -> None:
        for category, value in self.values.items():
            if value is not None and not 0.0 <= value <= 1.0:
                raise ContentError(
                    f"score of {category!r} is {value}, expected 0..1 or None; the model is broken"
                )


@dataclass(frozen=True, slots=True)
class ScoreError:
    """Why one content could not be scored; the contents beside it were."""

    type: str
    """Name of the exception's class, such as "ContentError"."""
    message: str
    """What was found, where, what was expected, what to do; never content."""


@runtime_checkable
class Scorer(Protocol):
    """Anything that scores contents: an engine, a torch model, a remote model, a baseline."""

    @property
    def name(self) -> str:
        """Give "name@digest"."""

    @property
    def categories(self) -> AbstractSet[str]:
        """Give the categories it can score."""

    @property
    def modalities(self) -> AbstractSet[Modality]:
        """Give the modalities it reads."""

    @property
    def languages(self) -> AbstractSet[str]:
        """Give the languages (BCP-47) its training data held."""

    def score(self, contents: Sequence[Content]) -> list[Scores | ScoreError]:
        """Score contents: same order, same length; one that fails does not stop the others."""


class StreamingScorer(Scorer, Protocol):
    """A scorer that reads one text in pieces, with the memory of a single state."""

    def open(self) -> Any:  # noqa: ANN401  (the state is the scorer's own and opaque to callers)
        """Give the state before the first piece."""

    def append(self, state: Any, text: str) -> Scores:  # noqa: ANN401  (as above)
        """Read a piece and score all that came so far; an unfinished word is held back."""

    def finish(self, state: Any) -> Scores:  # noqa: ANN401  (as above)
        """Read what was held back; the scores equal those of one call with the whole text."""

    def dump(self, state: Any) -> bytes:  # noqa: ANN401  (as above)
        """Give a state as bytes, for `load`, in this process or another."""

    def load(self, data: bytes) -> Any:  # noqa: ANN401  (as above)
        """Give the state that `dump` gave as bytes; of another model it is refused."""


def is_probability(value: object) -> bool:
    """Tell whether `value` is a number within 0..1 (NaN and booleans are not)."""
    # A NaN fails both comparisons.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
