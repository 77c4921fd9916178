"""A backbone with its language head and its vocabulary: token ids to what may follow them.

A prompt is read once, at constant memory, and what follows goes on from its state, alone or many at once.
Knows no layout of prompts and no categories.

| letter | what |
| --- | --- |
| B T V | sequences, tokens, rows of the vocabulary |
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from gooseguard.codec.prompt import END_OF_TEXT
from gooseguard.codec.scores import TEXT_ONLY
from gooseguard.codec.visual_layout import ImagePlace
from gooseguard.codec.visual_prompt import ImageSlot, Tokens, encode_prompt
from gooseguard.codec.world import WorldTokenizer
from gooseguard.core.content import Modality
from gooseguard.core.errors import ArtefactError, ConfigError, ContentError, DataError, EngineError
from gooseguard.core.manifest import digest_file
from gooseguard.models.official import load_official
from gooseguard.models.rwkv import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from gooseguard.codec.prompt import Piece
    from gooseguard.core.content import Content
    from gooseguard.models.rwkv import Rwkv

DIGEST_DIGITS = 12
"""Hex digits of a digest that are shown."""


class Vocabulary(Protocol):
    """What a language model needs of a tokenizer."""

    @property
    def vocab_size(self) -> int:
        """Give one more than the largest token id."""

    def encode(self, text: str) -> list[int]:
        """Give the token ids of a text."""

    def decode(self, ids: Iterable[int]) -> bytes:
        """Give the bytes of tokens."""


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """What was read so far."""

    logits: Tensor
    """float32, (V,): of the token that comes next."""
    state: State
    """Of one sequence."""
    n_token: int
    """Tokens read."""


class LanguageModel:
    """Reads prompts and weighs what may follow. Safe to call from several threads: it holds no state."""

    family = "rwkv"
    """How its names begin."""
    modalities: frozenset[Modality] = TEXT_ONLY
    """What its prompts may hold."""

    def __init__(self, model: Rwkv, tokenizer: Vocabulary, path: Path | None = None) -> None:
        """Take a backbone that has a language head, and the vocabulary it was trained with.

        Args:
            model: on the CPU.
            tokenizer: gives ids that the model has rows for.
            path: the file that the weights are in, unchanged; where there is one.

        Raises:
            ConfigError: the vocabulary has tokens that the model has no row for.
        """
        rows = model.config.vocab_size
        if tokenizer.vocab_size > rows:
            raise ConfigError(
                f"the vocabulary has token ids up to {tokenizer.vocab_size - 1}, the model only {rows} rows; "
                "expected the vocabulary that it was trained with; pass --vocabulary FILE"
            )
        self.model = model.eval()
        self.tokenizer = tokenizer
        self._path = path

    @cached_property
    def digest(self) -> str:
        """Give the SHA-256 (hex) of the file of the weights, or else of the tensors; reads them all, once."""
        return self._digest_weights()

    def _digest_weights(self) -> str:
        if self._path is not None:
            return digest_file(self._path)
        state = hashlib.sha256()
        for name, tensor in sorted(self.module.state_dict().items()):
            state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            state.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
        return state.hexdigest()

    @property
    def module(self) -> nn.Module:
        """Give all that has weights."""
        return self.model

    @property
    def version(self) -> str:
        """Give the version in names."""
        return self.model.config.version

    @property
    def sizes(self) -> dict[str, int]:
        """Give layers and width of the language model."""
        return {"layers": self.model.config.n_layer, "width": self.model.config.n_embd}

    @property
    def n_row(self) -> int:
        """Give the rows of the vocabulary."""
        return self.model.config.vocab_size

    @property
    def image_place(self) -> str:
        """Give where images stand in a prompt, an `ImagePlace`; without sight there are none."""
        return ImagePlace.FIRST

    def frames(self, data: bytes) -> Tensor:
        """Give the rows of each frame of an image file, float32, (F, L, C), for `read_prompt`.

        Raises:
            ContentError: the model reads no images, or this is no whole one.
        """
        raise ContentError(f"{self.name} reads no images; use a model that does; got {len(data)} bytes")

    def read_prompt(
        self, items: Iterable[Piece | ImageSlot], frames: Sequence[Tensor] = (), prefix: Prefix | None = None
    ) -> Prefix:
        """Read a prompt, from the beginning or from where `prefix` ends.

        Args:
            items: pieces, at least one, and slots of images where the model reads those.
            frames: the rows of each image, (L, C), by its number.
            prefix: where to go on.

        Raises:
            EngineError: the model gives what is no number.
        """
        for run in encode_prompt(items, self.tokenizer):
            prefix = (
                self.read(run.ids, prefix)
                if isinstance(run, Tokens)
                else self.look(frames[run.number], prefix)
            )
        assert prefix is not None
        return prefix

    def look(self, rows: Tensor, prefix: Prefix | None = None) -> Prefix:
        """Read the rows of one frame, (L, C), whole, from the beginning or from where `prefix` ends.

        Raises:
            EngineError: the model reads no images, or gives what is no number.
        """
        raise EngineError(f"{self.name} reads no images; got {len(rows)} rows")

    @property
    def name(self) -> str:
        """Give "FAMILY-VERSION@digest"; the digest is not of what is asked."""
        return f"{self.family}-{self.version}@{self.digest[:DIGEST_DIGITS]}"

    @torch.inference_mode()
    def read(self, ids: Sequence[int], prefix: Prefix | None = None) -> Prefix:
        """Read tokens, at least one, from the beginning or from where `prefix` ends.

        Raises:
            EngineError: there is no token, or the model gives what is no number.
        """
        tokens = torch.tensor([list(ids)], dtype=torch.long)
        hidden, state = self.model.prefill(tokens, None, None if prefix is None else prefix.state)
        n_before = 0 if prefix is None else prefix.n_token
        return Prefix(self._logits(hidden)[0], state, n_before + tokens.shape[1])

    @torch.inference_mode()
    def branch(self, prefix: Prefix, suffixes: Sequence[Sequence[int]]) -> list[Prefix]:
        """Read several continuations of one prefix, all at once, each from the same state.

        Args:
            prefix: what they share.
            suffixes: token ids, each at least one, of like length at best: shorter ones are padded.
        """
        tokens, lengths = _pad(suffixes)
        hidden, state = self.model.prefill(tokens, lengths, repeat_state(prefix.state, len(suffixes)))
        logits = self._logits(hidden)
        return [
            Prefix(logits[i], select_state(state, i), prefix.n_token + len(suffix))
            for i, suffix in enumerate(suffixes)
        ]

    @torch.inference_mode()
    def log_probs(self, prefix: Prefix, answers: Sequence[Sequence[int]]) -> list[float]:
        """Give the natural logarithm of the probability that the model goes on with each answer.

        Args:
            prefix: a prompt, read once; its state is shared.
            answers: token ids, each at least one; with what ends them, such as `prompt.TURN_END`, where one
                answer begins like another.

        Returns:
            One number an answer, at most 0, the sum over its tokens.
        """
        tokens, lengths = _pad(answers)
        first = torch.log_softmax(prefix.logits, -1)[tokens[:, 0]].double()
        if tokens.shape[1] == 1:
            return first.tolist()
        hidden, _ = self.model(tokens[:, :-1], lengths - 1, repeat_state(prefix.state, len(answers)))
        rows, places = torch.nonzero(torch.arange(1, tokens.shape[1]) < lengths.unsqueeze(-1), as_tuple=True)
        chosen = torch.log_softmax(self._logits(hidden[rows, places]), -1)
        chosen = chosen.gather(1, tokens[rows, places + 1].unsqueeze(-1)).squeeze(-1).double()
        return first.index_add(0, rows, chosen).tolist()

    def _logits(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.model.logits(hidden).float()
        if not bool(torch.isfinite(logits).all()):
            raise EngineError("language model: a logit is not finite; is the checkpoint damaged?")
        return logits

    @cached_property
    def writable(self) -> Tensor:
        """Tell which ids an answer may hold, bool, (V,): tokens that have bytes, and the end of text."""
        writable = torch.zeros(self.n_row, dtype=torch.bool)
        writable[[END_OF_TEXT, *filter(self._has_bytes, range(self.tokenizer.vocab_size))]] = True
        return writable

    def _has_bytes(self, token: int) -> bool:
        try:
            return bool(self.tokenizer.decode([token]))
        except DataError:
            # The World vocabulary has gaps.
            return False


def load(path: Path, vocabulary: Path | None, threads: int) -> LanguageModel:
    """Load an official checkpoint as a language model; weights stay in the dtype of the file, mapped from it.

    Args:
        path: .pth or safetensors.
        vocabulary: World vocabulary file; `None` for that of the installed `rwkv` package.
        threads: of torch; set for the whole process, since torch has no other setting.

    Raises:
        ArtefactError: it is no whole official checkpoint, has no language head, or the vocabulary is damaged.
        ConfigError: there is no vocabulary, or it does not fit the model.
    """
    torch.set_num_threads(threads)
    model = load_official(path)
    if model.head is None:
        raise ArtefactError(
            f"{path}: has no language head (head.weight); expected the checkpoint as it was published"
        )
    tokenizer = WorldTokenizer.from_package() if vocabulary is None else WorldTokenizer.from_file(vocabulary)
    return LanguageModel(model, tokenizer, path)


def read_frames(model: LanguageModel, content: Content) -> list[tuple[int, Tensor]]:
    """Give the frames of all images of a content, each with the number of its part, (L, C).

    Raises:
        ContentError: an image is damaged or too large, or the model reads none; names the part.
    """
    frames: list[tuple[int, Tensor]] = []
    for number, part in enumerate(content.parts):
        if part.modality is Modality.IMAGE:
            try:
                frames += [(number, frame) for frame in model.frames(part.data)]
            except ContentError as error:
                raise ContentError(f"part {number}: {error}") from None
    return frames


def repeat_state(state: State, n_sequence: int) -> State:
    """Give the state of one sequence to many."""
    return State(
        *(getattr(state, field.name).repeat_interleave(n_sequence, dim=1) for field in fields(state))
    )


def select_state(state: State, sequence: int) -> State:
    """Give the state of one of many sequences."""
    return State(*(getattr(state, field.name)[:, sequence : sequence + 1] for field in fields(state)))


def _pad(sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Give token ids, int64 (B, T), padded at the end, and lengths, int64 (B,)."""
    if not sequences or not all(sequences):
        raise EngineError("language model: an answer has no token; expected at least one")
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    tokens = torch.zeros(len(sequences), int(lengths.max()), dtype=torch.long)
    for i, sequence in enumerate(sequences):
        tokens[i, : len(sequence)] = torch.tensor(sequence)
    return tokens, lengths
