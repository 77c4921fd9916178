"""Conversations about images -> tokens, with a place for each row of an image; and the loss of their answers.

A token id below 0 is a row of an image: -1 - n of image n of the run. So plans, padding and steps are those
of `answers.py`, which see rows and their lengths only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gooseguard.codec.prompt import TEMPLATES, Encoder, Piece, Role, render, render_answer_turn
from gooseguard.codec.visual_prompt import Tokens, encode_prompt, place_images
from gooseguard.core.errors import DataError
from gooseguard.training.answer_loop import AnswerLoss
from gooseguard.training.answers import AnswerRows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gooseguard.codec.visual_prompt import ImageSlot
    from gooseguard.data.llava import VisualConversation, VisualTurn
    from gooseguard.models.mod_visual_rwkv import VisualRwkv

CHAT = TEMPLATES["chat"]


@dataclass(frozen=True, slots=True)
class VisualRows:
    """Tokenised conversations and their images."""

    rows: AnswerRows
    """Tokens; those below 0 are rows of images."""
    images: tuple[Path, ...]
    """Image n is what tokens -1 - n stand for."""


def render_turn(turn: VisualTurn, place: str) -> tuple[Piece | ImageSlot, ...]:
    """Lay out a question, with its images where `place` says, and its answer."""
    answer = render_answer_turn(turn.answer)
    if not turn.images:
        return render(turn.question, answer=turn.answer)
    end = Piece(Role.FRAME, CHAT.before_answer)
    if not turn.question.strip():
        return (
            *place_images(Piece(Role.FRAME, CHAT.before_instruction), [], len(turn.images), place),
            end,
            *answer,
        )
    head, *body, tail = render(turn.question)
    return (*place_images(head, body, len(turn.images), place), tail, *answer)


def encode_visual(
    conversations: Sequence[VisualConversation], tokenizer: Encoder, place: str, n_row: int, longest: int
) -> VisualRows:
    """Encode conversations; those of more than `longest` rows are left out and counted.

    Args:
        conversations: what is learnt.
        tokenizer: the vocabulary of the backbone.
        place: an `ImagePlace`.
        n_row: rows an image becomes, the class token included.
        longest: tokens and rows of images together.
    """
    images: list[Path] = []
    tokens: list[int] = []
    flags: list[bool] = []
    offsets, n_too_long = [0], 0
    for conversation in conversations:
        ids: list[int] = []
        is_answer: list[bool] = []
        files: list[Path] = []
        for turn in conversation.turns:
            for run in encode_prompt(render_turn(turn, place), tokenizer):
                if isinstance(run, Tokens):
                    ids += run.ids
                    is_answer += [role is Role.ANSWER for role in run.roles]
                else:
                    ids += [-1 - len(images) - len(files) - run.number] * n_row
                    is_answer += [False] * n_row
            files += turn.images
        if len(ids) > longest:
            n_too_long += 1
            continue
        images += files
        tokens += ids
        flags += is_answer
        offsets.append(len(tokens))
    rows = AnswerRows(
        np.array(tokens, np.int32), np.array(flags, np.bool_), np.array(offsets, np.int64), n_too_long
    )
    return VisualRows(rows, tuple(images))


class VisualAnswerLoss(AnswerLoss):
    """A Mod-VisualRWKV model and what of it is learnt: padded conversations to the loss of their answers."""

    def __init__(
        self,
        visual: VisualRwkv,
        features: Callable[[int], Tensor],
        *,
        is_checkpointed: bool = False,
        autocast: torch.dtype | None = None,
    ) -> None:
        """Take a model and where the pooled features of image n, (L, D), come from.

        Args:
            visual: changed in place.
            features: by number of the image.
            is_checkpointed: run each layer again for its gradient.
            autocast: dtype of matrix products, where it is not that of the matrices.
        """
        super().__init__(visual.rwkv, is_checkpointed=is_checkpointed)
        self.visual = visual
        self._features = features
        self._autocast = autocast

    def hidden(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Run conversations: int64 (B, T), below 0 for rows of images, to hidden, float32 (B, T, C)."""
        device = tokens.device
        spans = image_spans(tokens)
        # Before anything is rounded: features are kept.
        images = [self._features(-1 - int(tokens[row, begin])).to(device) for row, begin, _ in spans]
        mirror = torch.arange(tokens.shape[1], device=device).repeat(len(tokens), 1)
        is_rounded = self._autocast is not None
        with torch.autocast(device.type, self._autocast or torch.bfloat16, enabled=is_rounded):
            x = self.model.emb(tokens.clamp(min=0)).float()
            for (row, begin, end), image in zip(spans, images, strict=True):
                x[row, begin:end] = self.visual.project(image)
                # The class token, the last row, stays where it is.
                mirror[row, begin : end - 1] = mirror[row, begin : end - 1].flip(0)
            is_reversed = self.visual.config.settings.is_reversed
            hidden, _ = self.model.run(x, lengths, None, mirror if is_reversed else None)
        return hidden.float()


def image_spans(tokens: Tensor) -> list[tuple[int, int, int]]:
    """Give row, begin and end of each image among padded tokens, int64 (B, T)."""
    spans = []
    for row, ids in enumerate(tokens.tolist()):
        begin = 0
        while begin < len(ids):
            end = begin + 1
            while end < len(ids) and ids[end] == ids[begin] and ids[begin] < 0:
                end += 1
            if ids[begin] < 0:
                spans.append((row, begin, end))
            begin = end
    return spans


def digest_images(images: Sequence[Path]) -> str:
    """Give the SHA-256 (hex) of the images of a run, in order.

    Raises:
        DataError: one cannot be read.
    """
    state = hashlib.sha256()
    for path in images:
        try:
            state.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({type(error).__name__}); expected an image") from None
    return state.hexdigest()
