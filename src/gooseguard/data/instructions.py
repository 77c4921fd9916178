"""JSON Lines of instructions and answers -> conversations. Knows no prompt layout beyond its name, no tokens.

A row is one of

    {"instruction": "…", "content": "…", "answer": "…"}
    {"messages": [{"role": "system" | "user" | "assistant", "content": "…"}, …]}

and may name its `id` and the `template` it is laid out with; further keys (`teacher`, `prompt_digest`,
`seed`, labels) are not read here. In `messages` a leading system message is the
instruction and what the user says is content; without one, what the user says is an instruction.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Any

from gooseguard.codec.prompt import get_template
from gooseguard.core.errors import ConfigError, DataError
from gooseguard.core.manifest import canonical_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIXES = (".jsonl", ".jsonl.gz")
"""What a file of instructions is called."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer."""

    instruction: str
    """The operator's words; may be empty."""
    content: str
    """What is judged; may be empty, but not both."""
    answer: str
    """What the model should say."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One row: the turns of one conversation, all of whose answers are learnt."""

    id: str
    """The row's own id, or "file:line"."""
    turns: tuple[Turn, ...]
    """In order, at least one."""
    template: str
    """A key of `codec.prompt.TEMPLATES`."""

    def digest(self) -> str:
        """Give the SHA-256 (hex) of turns and template: equal conversations, equal digests."""
        turns = [asdict(turn) for turn in self.turns]
        return hashlib.sha256(canonical_json([self.template, turns]).encode()).hexdigest()


def instruction_files(path: Path, split: str) -> list[Path]:
    """Give the files of a split: `path` itself for train, or `train*.jsonl`, `val*.jsonl` within a folder.

    Raises:
        DataError: there is no such file or folder, or the folder has none for train.
    """
    if path.is_file():
        return [path] if split == "train" else []
    if not path.is_dir():
        raise DataError(f"{path}: no such file or folder; expected JSON Lines of instructions")
    files = sorted(
        file
        for file in path.iterdir()
        if file.name.startswith(split) and file.name.endswith(SUFFIXES) and file.is_file()
    )
    if split == "train" and not files:
        raise DataError(f"{path}: holds no train*.jsonl or train*.jsonl.gz; expected at least one")
    return files


def read_instructions(path: Path, template: str) -> Iterator[Conversation]:
    """Read one file, in order.

    Args:
        path: `.jsonl`, or gzipped `.jsonl.gz`.
        template: layout of the rows that name none.

    Raises:
        DataError: the file is missing or damaged, or a row is not of a layout above; names file and line.
    """
    number = 0
    try:
        with _open(path) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _read_row(line, f"{path.name}, line {number}", f"{path.name}:{number}", template)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(
            f"{path.name}, after line {number}: {type(error).__name__}; expected UTF-8 JSON Lines"
        ) from None


def _open(path: Path) -> IO[str]:
    if path.name.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8", newline="\n")
    return path.open("r", encoding="utf-8", newline="\n")


def _read_row(line: str, place: str, default_id: str, template: str) -> Conversation:
    try:
        row = json.loads(line)
    except ValueError:
        raise DataError(f"{place}: is no JSON; expected one object a line") from None
    if not isinstance(row, dict):
        raise DataError(f"{place}: is a {type(row).__name__}, expected an object")
    template, row_id = row.get("template", template), row.get("id", default_id)
    if not isinstance(template, str) or not isinstance(row_id, str):
        raise DataError(f"{place}: id or template is no text")
    try:
        get_template(template)
    except ConfigError as error:
        raise DataError(f"{place}: {error}") from None
    turns = _from_messages(row["messages"], place) if "messages" in row else (_from_fields(row, place),)
    for turn in turns:
        if not (turn.instruction.strip() or turn.content.strip()) or not turn.answer.strip():
            raise DataError(f"{place}: a turn has no words to answer, or an empty answer; expected both")
    return Conversation(row_id, turns, template)


def _from_fields(row: dict[str, Any], place: str) -> Turn:
    missing = [name for name in ("instruction", "answer") if name not in row]
    if missing:
        raise DataError(
            f"{place}: has no {' and no '.join(missing)}; expected messages, or "
            "instruction, content and answer"
        )
    values = [row.get(name, "") for name in ("instruction", "content", "answer")]
    if not all(isinstance(value, str) for value in values):
        raise DataError(f"{place}: instruction, content and answer must be texts")
    return Turn(*values)


def _from_messages(messages: object, place: str) -> tuple[Turn, ...]:
    if not isinstance(messages, list) or not all(_is_message(message) for message in messages):
        raise DataError(f"{place}: messages is no list of {{role, content}}, both texts")
    roles = [message["role"] for message in messages]
    texts = [message["content"] for message in messages]
    is_led = roles[:1] == ["system"]
    system, texts, roles = (texts[0], texts[1:], roles[1:]) if is_led else ("", texts, roles)
    if not roles or len(roles) % 2 or roles != ["user", "assistant"] * (len(roles) // 2):
        raise DataError(
            f"{place}: messages must be user and assistant in turn, after at most one system message, "
            f"and end with the assistant's; found {', '.join(roles[:6]) or 'none'}"
        )
    pairs = zip(texts[::2], texts[1::2], strict=True)
    if not is_led:
        return tuple(Turn(question, "", answer) for question, answer in pairs)
    return tuple(
        Turn(system if number == 0 else "", question, answer)
        for number, (question, answer) in enumerate(pairs)
    )


def _is_message(message: object) -> bool:
    return (
        isinstance(message, dict)
        and isinstance(message.get("role"), str)
        and isinstance(message.get("content"), str)
    )
