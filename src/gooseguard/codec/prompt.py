"""Instruction, content and answer to the pieces of a prompt: the one place where prompts are laid out.

A prompt is a list of pieces, each with a role, so that training knows which tokens are the answer and
generation where to stop. Each piece is encoded by itself: no token spans the border between what the operator
wrote and what a user wrote.

Two layouts, `X` being text and `⏎` a line feed:

| layout | prompt | answer |
| --- | --- | --- |
| `chat` | `User: INSTRUCTION⏎CONTENT⏎⏎Assistant:` | ` ANSWER⏎⏎` |
| `instruction` | `Instruction: INSTRUCTION⏎⏎Input: CONTENT⏎⏎Response:` | ` ANSWER⏎⏎` |

A turn ends at an empty line, token 261 of the World vocabulary, so that no turn may hold one: line ends of
every kind become line feeds, and runs of empty lines one line feed. A line of the content that begins like a
turn (`Assistant:`) is quoted with `> `. So a content cannot end its turn and speak as somebody else.

Known from others: both layouts, the collapsing of empty lines, and that a space follows the colon (RWKV-7
World model card; RWKV wiki, "Prompting Format Guidelines"); that the loss leaves out the user's turn and
`Assistant:` (VisualRWKV, arXiv 2406.13362). Of arXiv 2409.03939 it is known that its 558,958 text pairs are
an instruction with a content, and a response; their exact wording was not published. Ours: that such pairs
are written in the layout `instruction`, the wording of the questions, the quoting, and that a content goes on
a new line of the user's turn in `chat`.

Knows no model and no vocabulary.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from gooseguard.codec.answer import CATEGORIES, NOTHING, RATIONALE
from gooseguard.core.errors import ConfigError
from gooseguard.core.taxonomy import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gooseguard.core.taxonomy import Category

END_OF_TEXT = 0
"""Token id that ends a text; no text encodes to it. Source: RWKV World vocabulary, which begins at 1."""

TURN_END = "\n\n"
"""What ends a turn, and therefore an answer."""

PROMPT_VERSION = 1
"""Raised when any wording or layout changes: scores depend on them."""

YES, NO = "Yes", "No"
"""Answers to the question whether a category fits."""

_LINE_ENDS = re.compile("\r\n|[\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]")
_EMPTY_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")
_MARKER = re.compile(
    r"^(?=[^\S\n]*(?:user|assistant|system|instruction|input|response|text|question)[^\S\n]*[:：])",
    re.IGNORECASE | re.MULTILINE,
)


class Role(StrEnum):
    """Whose words a piece is."""

    FRAME = "frame"
    INSTRUCTION = "instruction"
    CONTENT = "content"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text of one role."""

    role: Role
    """Whose words they are."""
    text: str
    """As it is encoded, leading space included."""


@dataclass(frozen=True, slots=True)
class Template:
    """A layout: what stands before instruction, content and answer."""

    name: str
    """What the command line calls it."""
    before_instruction: str
    """Begins the prompt."""
    before_content: str
    """Ends the instruction; left out where there is no content."""
    before_answer: str
    """Ends the prompt."""
    is_content_spaced: bool
    """Whether a space stands before the content, as after a colon."""


TEMPLATES = {
    template.name: template
    for template in (
        Template("chat", "User:", "\n", "\n\nAssistant:", is_content_spaced=False),
        Template("instruction", "Instruction:", "\n\nInput:", "\n\nResponse:", is_content_spaced=True),
    )
}
"""Name to layout."""


class Encoder(Protocol):
    """What prompts need of a tokenizer."""

    def encode(self, text: str) -> list[int]:
        """Give the token ids of a text."""


def get_template(name: str) -> Template:
    """Give a layout by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in TEMPLATES:
        known = ", ".join(sorted(TEMPLATES))
        raise ConfigError(f"template {name!r} is unknown; expected {known}{nearest(name, TEMPLATES)}")
    return TEMPLATES[name]


def collapse(text: str) -> str:
    """Give a text as one turn may hold it: stripped, without an empty line."""
    return _EMPTY_LINES.sub("\n", _LINE_ENDS.sub("\n", text)).strip()


def quote(text: str) -> str:
    """Give a content as a prompt may hold it: collapsed, and lines that look like a turn quoted."""
    return _MARKER.sub("> ", collapse(text))


def render(
    instruction: str, content: str = "", answer: str | None = None, *, template: str = "chat"
) -> tuple[Piece, ...]:
    """Lay out a prompt, and the answer that is to be learnt.

    Args:
        instruction: the operator's words.
        content: what is judged; may be empty.
        answer: what a model should say; `None` for a prompt to be answered.
        template: a key of `TEMPLATES`.

    Returns:
        The pieces in order; those of the answer, its end included, have the role `ANSWER`.

    Raises:
        ConfigError: the template is unknown, or instruction and content are both blank.
    """
    layout = get_template(template)
    instruction, content = collapse(instruction), quote(content)
    if not instruction and not content:
        raise ConfigError("prompt: instruction and content are both empty; expected at least one of them")
    pieces = [Piece(Role.FRAME, layout.before_instruction)]
    if instruction:
        pieces.append(Piece(Role.INSTRUCTION, f" {instruction}"))
    if content and (instruction or layout.is_content_spaced):
        pieces.append(Piece(Role.FRAME, layout.before_content))
    if content:
        is_spaced = layout.is_content_spaced or not instruction
        pieces.append(Piece(Role.CONTENT, f" {content}" if is_spaced else content))
    pieces.append(Piece(Role.FRAME, layout.before_answer))
    if answer is not None:
        pieces += render_answer_turn(answer)
    return tuple(pieces)


def render_answer_turn(answer: str) -> tuple[Piece, ...]:
    """Lay out an answer as it follows a prompt: after a space, with the end of its turn."""
    return Piece(Role.ANSWER, f" {collapse(answer)}"), Piece(Role.ANSWER, TURN_END)


def write_instruction(categories: Iterable[Category]) -> str:
    """Give the instruction that asks for categories, to be answered in the form of `codec/answer.py`.

    Args:
        categories: what may be named, each with its definition.
    """
    lines = [f"- {category.name}: {collapse(category.definition)}" for category in categories]
    form = (
        f'Answer with "{CATEGORIES}" and their names, separated by commas, or "{CATEGORIES} {NOTHING}"; '
        f'then, on a new line, "{RATIONALE}" and one sentence that says why.'
    )
    return "\n".join(["Say which of these categories the text falls under.", *lines, form])


def render_preamble() -> tuple[Piece, ...]:
    """Lay out what stands before a content that questions are asked about; the same for every content."""
    return (
        Piece(Role.FRAME, "User:"),
        Piece(Role.INSTRUCTION, f" Read the text and answer the question about it with {YES} or {NO}."),
        Piece(Role.FRAME, "\nText:"),
    )


def render_content(content: str) -> tuple[Piece, ...]:
    """Lay out the content after `render_preamble`; what all questions about it share ends here."""
    return (Piece(Role.CONTENT, f" {quote(content)}"),)


def render_question(category: Category) -> tuple[Piece, ...]:
    """Lay out the question whether a category fits the content of `render_content`."""
    words = f" Does the text fall under {category.name!r}? Definition: {collapse(category.definition)}"
    return (
        Piece(Role.FRAME, "\nQuestion:"),
        Piece(Role.INSTRUCTION, words),
        Piece(Role.FRAME, TEMPLATES["chat"].before_answer),
    )


def encode(pieces: Iterable[Piece], tokenizer: Encoder) -> list[int]:
    """Give the token ids of a prompt, each piece encoded by itself."""
    return encode_with_roles(pieces, tokenizer)[0]


def encode_with_roles(pieces: Iterable[Piece], tokenizer: Encoder) -> tuple[list[int], list[Role]]:
    """Give the token ids of a prompt, and the role of each.

    A model learns to predict the tokens whose role is `ANSWER`, the end of the answer included, each from the
    tokens before it.
    """
    ids: list[int] = []
    roles: list[Role] = []
    for piece in pieces:
        tokens = tokenizer.encode(piece.text)
        ids += tokens
        roles += [piece.role] * len(tokens)
    return ids, roles
