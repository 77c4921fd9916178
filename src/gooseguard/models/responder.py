"""An instruction and a content to an answer in words, and to what the answer says. Knows no threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gooseguard.codec.answer import ParsedAnswer, parse_answer
from gooseguard.codec.prompt import encode, render, render_answer_turn
from gooseguard.codec.visual_prompt import place_images, split_content
from gooseguard.models.generate import Finish, Sampling, generate
from gooseguard.models.language import read_frames

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from gooseguard.core.content import Content
    from gooseguard.models.generate import Delta
    from gooseguard.models.language import LanguageModel, Prefix

GREEDY = Sampling()
"""The likeliest token each time: the same answer each time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered."""

    text: str
    """Its words, without what ended them."""
    parsed: ParsedAnswer
    """What they say; `parsed.flagged` is `None` where they are unparsable."""
    finish: Finish
    """Why it ended."""
    n_prompt_token: int
    """Tokens of the prompt."""
    n_token: int
    """Tokens of the answer, its end included."""


class Responder:
    """Answers instructions about contents. Safe to call from several threads at once."""

    def __init__(
        self, model: LanguageModel, *, template: str = "chat", categories: Collection[str] | None = None
    ) -> None:
        """Take a language model.

        Args:
            model: reads and writes.
            template: a layout of `codec/prompt.py`.
            categories: those an answer may name; `None` for the whole taxonomy.
        """
        self._model = model
        self._template = template
        self._categories = categories

    def respond(self, instruction: str, content: Content, sampling: Sampling = GREEDY) -> Answer:
        """Answer, and read the answer; what cannot be read is unparsable, and nothing is guessed.

        Raises:
            ConfigError: the template is unknown, or there is neither instruction nor content.
            ContentError: a part of the content is nothing the model reads, or no whole image.
            EngineError: the model gives what is no number.
        """
        prefix = self.read(instruction, content)
        *_, last = deltas = list(self.write(prefix, sampling))
        text = "".join(delta.text for delta in deltas).rstrip()
        return self.make_answer(text, last, prefix)

    def read(self, instruction: str, content: Content) -> Prefix:
        """Read a prompt; raises as `respond`."""
        text, images = split_content(content, self._model.modalities, "a language model")
        head, *body, tail = render(instruction, text, template=self._template)
        if not images:
            return self._model.read_prompt([head, *body, tail])
        frames = [frame for _, frame in read_frames(self._model, content)]
        turn = place_images(head, body, len(frames), self._model.image_place)
        return self._model.read_prompt([*turn, tail], frames)

    def write(self, prefix: Prefix, sampling: Sampling = GREEDY) -> Iterator[Delta]:
        """Answer a prompt that was read, piece by piece."""
        return generate(self._model, prefix, sampling)

    def weigh(self, prefix: Prefix, answers: Collection[str]) -> dict[str, float]:
        """Give the log-probability of each of some answers, as a whole turn, to a prompt that was read."""
        turns = [encode(render_answer_turn(answer), self._model.tokenizer) for answer in answers]
        return dict(zip(answers, self._model.log_probs(prefix, turns), strict=True))

    def make_answer(self, text: str, last: Delta, prefix: Prefix) -> Answer:
        """Read the text of an answer that ended with `last`."""
        assert last.finish is not None
        parsed = parse_answer(text, self._categories)
        is_cut = last.finish in (Finish.LENGTH, Finish.TIME)
        # "hate" may have been about to become "hate/threatening".
        if is_cut and "\n" not in text and parsed.flagged is not None:
            parsed = ParsedAnswer(None, None, f"the answer was cut ({last.finish}) within its first line")
        return Answer(text, parsed, last.finish, prefix.n_token, last.n_token)
