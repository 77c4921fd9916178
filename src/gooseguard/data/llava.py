r"""LLaVA's JSON of conversations about images -> conversations. Knows no prompt layout and no tokens.

The file is one list of

    {"id": "…", "image": "a/b.jpg", "conversations": [{"from": "human", "value": "<image>\n…"},
                                                      {"from": "gpt", "value": "…"}, …]}

`image` may be missing, or a list; as many `<image>` stand in the turns, all in the same one.

Source: haotian-liu/LLaVA, its page on finetuning with custom data; howard-hou/VisualRWKV reads the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gooseguard.core.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = "<image>"
"""What stands for an image in the words of a turn."""

SPEAKERS = ("human", "gpt")
"""Who speaks, in turn."""


@dataclass(frozen=True, slots=True)
class VisualTurn:
    """One question and its answer."""

    question: str
    """Words beside the images; may be blank where there is an image."""
    answer: str
    """What the model should say."""
    images: tuple[Path, ...] = ()
    """Files that stand in the question, in order."""


@dataclass(frozen=True, slots=True)
class VisualConversation:
    """One row."""

    id: str
    """The row's own id, or its number."""
    turns: tuple[VisualTurn, ...]
    """In order, at least one."""


def read_llava(path: Path, images: Path) -> list[VisualConversation]:
    """Read a file whole.

    Args:
        path: the JSON file.
        images: folder that the names of images are relative to.

    Raises:
        DataError: it cannot be read, or a row is wrong: names the row and never its words.
    """
    try:
        table = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read as JSON ({type(error).__name__}); expected a list of conversations"
        ) from None
    if not isinstance(table, list) or not table:
        raise DataError(f"{path}: is no list, or an empty one; expected a list of conversations")
    return [_parse(row, number, path, images) for number, row in enumerate(table)]


def _parse(row: Any, number: int, path: Path, folder: Path) -> VisualConversation:  # noqa: ANN401  (JSON)
    where = f"{path}: row {number}"
    if not isinstance(row, dict):
        raise DataError(f"{where}: is no object; expected id, image and conversations")
    turns = row.get("conversations")
    if not isinstance(turns, list) or not turns or len(turns) % 2:
        raise DataError(f"{where}: conversations is no list of questions and answers")
    names = row.get("image", [])
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise DataError(f"{where}: image is no name of a file, nor a list of them")
    words = [_words(turn, place, where) for place, turn in enumerate(turns)]
    counts = [text.count(IMAGE) for text in words]
    if sum(counts) != len(names) or any(counts[1::2]) or sum(map(bool, counts)) > 1:
        raise DataError(
            f"{where}: has {len(names)} images and {sum(counts)} {IMAGE}; expected as many, in one question"
        )
    files = tuple(_file(folder, name, where) for name in names)
    made = tuple(
        VisualTurn(question.replace(IMAGE, ""), answer, files if count else ())
        for question, answer, count in zip(words[::2], words[1::2], counts[::2], strict=True)
    )
    if any(not turn.answer.strip() or not (turn.question.strip() or turn.images) for turn in made):
        raise DataError(f"{where}: a question or an answer is empty; leave the turn out")
    return VisualConversation(str(row.get("id", number)), made)


def _words(turn: Any, place: int, where: str) -> str:  # noqa: ANN401  (JSON)
    speaker = SPEAKERS[place % 2]
    if not isinstance(turn, dict) or str(turn.get("from", "")).lower() != speaker:
        raise DataError(f"{where}: turn {place} is not from {speaker!r}; expected human and gpt by turns")
    value = turn.get("value")
    if not isinstance(value, str):
        raise DataError(f"{where}: turn {place} has no value; expected its words")
    return value


def _file(folder: Path, name: str, where: str) -> Path:
    file = folder / name
    if not file.is_file():
        raise DataError(
            f"{where}: its image is not in {folder}; expected the folder that names are relative to"
        )
    return file
