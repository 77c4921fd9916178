"""Conversations -> tokens, and which of them are answers; which rows each step of a run sees.

Plans depend on seed and data alone, never on how many processes share the work, so that a resumed run and one
on other hardware see the same rows in the same steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gooseguard.codec.prompt import Encoder, Role, encode_with_roles, render
from gooseguard.core.errors import DataError
from gooseguard.training.batches import MULTIPLE, cut_by_budget

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from gooseguard.data.instructions import Conversation


@dataclass(frozen=True, slots=True)
class AnswerRows:
    """Tokenised conversations."""

    tokens: NDArray[np.int32]
    """(n_tokens,): all rows, one after another."""
    is_answer: NDArray[np.bool_]
    """(n_tokens,): whether a token is of an answer, its end included, and is learnt."""
    offsets: NDArray[np.int64]
    """(n + 1,): where each row begins; the last is n_tokens."""
    n_too_long: int = 0
    """Rows left out because they are longer than was allowed: cut, they would teach half an answer."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Give the tokens of each row, (n,)."""
        return np.diff(self.offsets)

    def n_answer(self, index: NDArray[np.int64]) -> int:
        """Give the answer tokens of some rows."""
        spans = (slice(self.offsets[row], self.offsets[row + 1]) for row in index)
        return sum(int(self.is_answer[span].sum()) for span in spans)


def encode_conversation(conversation: Conversation, tokenizer: Encoder) -> tuple[list[int], list[bool]]:
    """Give the token ids of a conversation, and whether each is of an answer."""
    ids: list[int] = []
    is_answer: list[bool] = []
    for turn in conversation.turns:
        pieces = render(turn.instruction, turn.content, turn.answer, template=conversation.template)
        tokens, roles = encode_with_roles(pieces, tokenizer)
        ids += tokens
        is_answer += [role is Role.ANSWER for role in roles]
    return ids, is_answer


def encode_rows(conversations: Iterable[Conversation], tokenizer: Encoder, longest: int) -> AnswerRows:
    """Encode conversations; those of more than `longest` tokens are left out and counted.

    Raises:
        DataError: a conversation begins with an answer token, before which there is nothing to learn from.
    """
    tokens: list[NDArray[np.int32]] = []
    flags: list[NDArray[np.bool_]] = []
    n_too_long = 0
    for conversation in conversations:
        ids, is_answer = encode_conversation(conversation, tokenizer)
        if len(ids) > longest:
            n_too_long += 1
            continue
        if is_answer[0]:
            raise DataError(f"row {conversation.id}: begins with its answer; expected a question before it")
        tokens.append(np.array(ids, np.int32))
        flags.append(np.array(is_answer, np.bool_))
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in tokens])]).astype(np.int64)
    joined = np.concatenate([np.empty(0, np.int32), *tokens])
    return AnswerRows(joined, np.concatenate([np.empty(0, np.bool_), *flags]), offsets, n_too_long)


def pad_rows(
    rows: AnswerRows, index: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """Give rows padded at the end: tokens (B, T), whether each is an answer (B, T), lengths (B,)."""
    lengths = rows.lengths[index]
    width = -(-int(lengths.max(initial=1)) // MULTIPLE) * MULTIPLE
    tokens = np.zeros((len(index), width), np.int64)
    is_answer = np.zeros((len(index), width), np.bool_)
    for i, row in enumerate(index):
        span = slice(rows.offsets[row], rows.offsets[row + 1])
        tokens[i, : lengths[i]] = rows.tokens[span]
        is_answer[i, : lengths[i]] = rows.is_answer[span]
    return tokens, is_answer, lengths


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the optimiser."""

    parts: tuple[NDArray[np.int64], ...]
    """Rows that are run together; their gradients are summed."""
    n_answer: int
    """Answer tokens of all parts; the loss is a mean over them."""
    n_token: int
    """Tokens of all parts."""


def plan_steps(rows: AnswerRows, epochs: float, step_rows: int, part_tokens: int, seed: int) -> list[Step]:
    """Plan a run: each epoch sees every row once, in an order of its own.

    Args:
        rows: what to train on.
        epochs: passes; 0.5 is half a pass.
        step_rows: rows a step of the optimiser.
        part_tokens: most padded tokens that are run together (one row may exceed it).
        seed: of the run.
    """
    steps = []
    for epoch in range(int(np.ceil(epochs))):
        order = np.random.default_rng([seed, epoch]).permutation(len(rows))
        order = order[: int(np.ceil(min(epochs - epoch, 1.0) * len(rows)))]
        for begin in range(0, len(order), step_rows):
            index = order[begin : begin + step_rows]
            index = index[np.argsort(rows.lengths[index], kind="stable")]
            lengths = rows.lengths[index]
            parts = tuple(cut_by_budget(index, lengths, part_tokens))
            steps.append(Step(parts, rows.n_answer(index), int(lengths.sum())))
    return steps
