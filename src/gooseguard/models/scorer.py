"""A language model as a scorer: how much likelier it answers Yes than No, category by category.

The content is read once; the question about each category goes on from its state. The logit of a category is

    log P(" Yes" | content, question) - log P(" No" | content, question)

and its score what the calibration makes of that. Without a calibration the score is the model's own
probability of Yes among the two, which nobody checked against people: the name of the scorer then ends in
`-uncalibrated`. Knows no threshold.

Source: weighing the answers Yes and No of a language model is how ShieldGemma (arXiv 2407.21772, equation 1)
scores; reading the content before the question, and the wording, are ours.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gooseguard.codec.prompt import (
    NO,
    PROMPT_VERSION,
    TEMPLATES,
    YES,
    encode,
    render_content,
    render_preamble,
    render_question,
)
from gooseguard.codec.scores import Calibration, applied_modalities, to_scores
from gooseguard.codec.visual_prompt import render_sight, render_sight_question, split_content
from gooseguard.core.content import Modality
from gooseguard.core.errors import ArtefactError, ConfigError, ContentError, EngineError
from gooseguard.core.manifest import canonical_json
from gooseguard.core.scorer import ScoreError, Scores
from gooseguard.core.taxonomy import load_taxonomy, nearest
from gooseguard.models.language import DIGEST_DIGITS, read_frames

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from gooseguard.core.content import Content
    from gooseguard.models.language import LanguageModel, Prefix

QUESTIONS_AT_ONCE = 8
"""Questions that go on from a content's state together: bounds the states that are held."""

ANY_LANGUAGE = "und"
"""BCP-47 for undetermined: a checkpoint does not say what it was trained on."""


class LanguageScorer:
    """A `Scorer` of texts, and of images where the model reads them. Safe to call from several threads."""

    backend = "torch"
    """What runs the numbers."""

    def __init__(
        self,
        model: LanguageModel,
        calibration: Calibration | None = None,
        categories: Collection[str] | None = None,
    ) -> None:
        """Take a language model.

        Args:
            model: reads and weighs.
            calibration: of exactly this model with these questions; its categories are what is scored.
            categories: those to ask about, each of which costs a question; `None` for all that apply to what
                the model reads.

        Raises:
            ConfigError: no category is left to ask about.
        """
        taxonomy = load_taxonomy()
        seen = model.modalities
        known = (
            [name for name, category in taxonomy.items() if not seen.isdisjoint(category.modalities)]
            if calibration is None
            else list(calibration.categories)
        )
        asked = known if categories is None else [name for name in known if name in set(categories)]
        if not asked:
            raise ConfigError(
                f"language scorer: no category to ask about; expected some of {', '.join(known)}"
            )
        self.categories: frozenset[str] = frozenset(asked)
        self.modalities: frozenset[Modality] = model.modalities
        self.languages: frozenset[str] = frozenset({ANY_LANGUAGE})
        self.is_calibrated = calibration is not None
        self._model = model
        self._full_calibration = calibration
        self._calibration = _narrow(calibration, asked)
        self._questions = [encode(render_question(taxonomy[name]), model.tokenizer) for name in asked]
        end = TEMPLATES["chat"].before_answer
        sights = (render_sight_question(taxonomy[name], end) for name in asked)
        self._sight_questions = [encode(pieces, model.tokenizer) for pieces in sights]
        self._answers = [model.tokenizer.encode(f" {answer}") for answer in (YES, NO)]
        self._preamble = model.read(encode(render_preamble(), model.tokenizer))

    @cached_property
    def name(self) -> str:
        """Give "name@digest"; the name says where there is no calibration."""
        name = f"{self._model.family}-{self._model.version}"
        return f"{name}{'' if self.is_calibrated else '-uncalibrated'}@{self.digest[:DIGEST_DIGITS]}"

    @cached_property
    def digest(self) -> str:
        """Give the SHA-256 (hex) of all that a score depends on: weights, calibration, wording."""
        calibration = self._full_calibration
        table = {
            "weights": self._model.digest,
            "calibration": None if calibration is None else calibration.to_json(),
            "prompt": PROMPT_VERSION,
            "definitions": {name: category.definition for name, category in load_taxonomy().items()},
        }
        return hashlib.sha256(canonical_json(table).encode()).hexdigest()

    @property
    def card(self) -> Mapping[str, Any]:
        """Give facts for people, JSON-ready."""
        family = {"llava": "LLaVA"}.get(self._model.family, "RWKV")
        return {
            "architecture": f"{family} {self._model.version}, language head"
            + (", CLIP tower" if Modality.IMAGE in self.modalities else ""),
            **self._model.sizes,
            "parameters": sum(parameter.numel() for parameter in self._model.module.parameters()),
            "calibration": "given" if self.is_calibrated else "none: scores are not probabilities of a label",
        }

    def score(self, contents: Sequence[Content]) -> list[Scores | ScoreError]:
        """Score contents: same order, same length.

        A content with a part that the model does not read, or that shows nothing, gives a `ScoreError`. A
        category that applies to nothing in a content has no score.
        """
        results: list[Scores | ScoreError] = []
        for content in contents:
            try:
                found = self._found(content)
                results.append(to_scores(self.logits(content), self._calibration, self.name, found=found))
            except (ContentError, EngineError) as error:
                results.append(ScoreError(type(error).__name__, str(error)))
        return results

    def logits(self, content: Content) -> npt.NDArray[np.float64]:
        """Give the logits of one content, float64 (K,), as `ordered_categories` orders them.

        Each image, and each frame of an animation, is read with the text by itself; the highest logit counts.
        NaN where a category applies to nothing in the content: it is not asked about.

        Raises:
            ContentError: a part is nothing the model reads, or no whole image; or there is nothing to see.
            EngineError: the model gives what is no number.
        """
        text, images = split_content(content, self.modalities, "a language model")
        if not images and not text.strip():
            raise ContentError("text is empty or shows nothing; expected at least one visible character")
        applied = applied_modalities(self.ordered_categories, self._found(content))
        places = [place for place, name in enumerate(self.ordered_categories) if applied[name]]
        logits = np.full(len(self.ordered_categories), np.nan)
        if not images:
            prefix = self._model.read(encode(render_content(text), self._model.tokenizer), self._preamble)
            logits[places] = self._ask(prefix, [self._questions[place] for place in places])
            return logits
        items = render_sight(text, 1, self._model.image_place)
        questions = [self._sight_questions[place] for place in places]
        for _, frame in read_frames(self._model, content):
            asked = self._ask(self._model.read_prompt(items, [frame]), questions)
            # The first one takes the place of NaN.
            logits[places] = np.fmax(logits[places], asked)
        return logits

    @staticmethod
    def _found(content: Content) -> frozenset[Modality]:
        return frozenset(
            part.modality for part in content.parts if part.modality is not Modality.TEXT or part.text.strip()
        )

    def _ask(self, prefix: Prefix, questions: Sequence[Sequence[int]]) -> list[float]:
        """Give the logit of each question that goes on from a prefix."""
        logits: list[float] = []
        for begin in range(0, len(questions), QUESTIONS_AT_ONCE):
            branches = self._model.branch(prefix, questions[begin : begin + QUESTIONS_AT_ONCE])
            logits += [self._weigh(branch) for branch in branches]
        return logits

    @property
    def ordered_categories(self) -> tuple[str, ...]:
        """Give the categories in the order of `logits`."""
        return self._calibration.categories

    def count_tokens(self, text: str) -> int:
        """Give how many tokens the text itself is."""
        return len(encode(render_content(text), self._model.tokenizer))

    def _weigh(self, prefix: Prefix) -> float:
        yes, no = self._model.log_probs(prefix, self._answers)
        return yes - no


def read_calibration(path: Path) -> Calibration:
    """Read a calibration file: JSON, {category: {"scale": …, "bias": …}}.

    Raises:
        ArtefactError: it cannot be read, names what is no category, or an entry is no pair of numbers.
    """
    try:
        table = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ArtefactError(
            f"calibration {path}: cannot be read ({type(error).__name__}); "
            'expected JSON such as {"insult": {"scale": 1.0, "bias": 0.0}}'
        ) from None
    taxonomy = load_taxonomy()
    names = list(table) if isinstance(table, dict) else []
    unknown = [f"{name!r} is no category{nearest(name, taxonomy)}" for name in names if name not in taxonomy]
    if unknown or not names:
        raise ArtefactError(f"calibration {path}: {'; '.join(unknown) or 'names no category'}")
    return Calibration.from_json(table, names)


def _narrow(calibration: Calibration | None, categories: Sequence[str]) -> Calibration:
    if calibration is None:
        return Calibration(tuple(categories), np.ones(len(categories)), np.zeros(len(categories)))
    places = [calibration.categories.index(name) for name in categories]
    return Calibration(tuple(categories), calibration.scale[places], calibration.bias[places])
