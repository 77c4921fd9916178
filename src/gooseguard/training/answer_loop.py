"""How answers are learnt beside a frozen base: conversations to a loss, and its steps for the one loop."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from gooseguard.core.errors import ConfigError
from gooseguard.training.answers import AnswerRows, Step, pad_rows, plan_steps
from gooseguard.training.loop import Course, Reporter, learning_rate, run_course
from gooseguard.training.processes import mixes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gooseguard.models.adapter import InitialStates
    from gooseguard.models.rwkv import Rwkv
    from gooseguard.training.processes import Processes
    from gooseguard.training.resume import ResumePoints

POSITIONS = 1024
"""Answer tokens whose logits exist at once: of 65,536 tokens they take 256 MB."""


class Precision(StrEnum):
    """What the base is held and multiplied in; what is learnt is float32 in any case."""

    BF16 = "bf16"
    F32 = "f32"


@dataclass(frozen=True, slots=True)
class TuneConfig:
    """How to fine-tune."""

    epochs: float = 1.0
    """Passes over the training rows; 0.5 is half a pass."""
    learning_rate: float = 1e-4
    """Peak, reached after the warm-up, then falling along a cosine to 3 % of it."""
    warmup: int = 50
    """Steps of linear warm-up."""
    step_rows: int = 32
    """Rows a step of the optimiser, over all processes; accumulated over as many parts as they need."""
    part_tokens: int = 8192
    """Most padded tokens that are run together, over all processes: bounds memory, changes no result."""
    longest: int = 1024
    """Rows of more tokens are left out and counted."""
    weight_decay: float = 0.0
    """AdamW's, on what is learnt."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    precision: Precision = Precision.BF16
    """Of the base."""
    is_checkpointed: bool = True
    """Keep only the input of each mix, and run it again for its gradient: less memory, more time."""
    is_sharded: bool = False
    """Divide the base among the processes, where one cannot hold it."""
    resume_s: float = 120.0
    """Seconds between resume points: what a killed run loses at most."""
    validate_steps: int = 200
    """Steps between measurements of the validation loss."""
    validate_rows: int = 500
    """Validation rows, evenly spread, for that measurement."""
    seed: int = 0
    """Of initial values and order."""

    def __post_init__(self) -> None:
        for name in ("epochs", "learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"recipe: loop: {name} is {getattr(self, name)}, expected more than 0")
        for name in ("step_rows", "part_tokens", "longest", "validate_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"recipe: loop: {name} is {getattr(self, name)}, expected at least 1")


class AnswerLoss(nn.Module):
    """A model and what is learnt beside it: padded conversations to the loss of their answers."""

    def __init__(
        self, model: Rwkv, states: InitialStates | None = None, *, is_checkpointed: bool = False
    ) -> None:
        super().__init__()
        self.model, self.states, self.is_checkpointed = model, states, is_checkpointed
        if is_checkpointed:
            for mix in mixes(model):
                # The module stays what it is, and so do the names of its parameters.
                forward = functools.partial(checkpoint, mix.forward, use_reentrant=False)
                mix.forward = forward  # of this instance only

    def forward(self, tokens: Tensor, is_answer: Tensor, lengths: Tensor) -> Tensor:
        """Give the sum of the cross-entropies of all answer tokens, each from the tokens before it.

        Args:
            tokens: int64, (B, T), padded at the end.
            is_answer: bool, (B, T), False at padding and in the first column.
            lengths: int64, (B,).

        Returns:
            A scalar, float32.
        """
        hidden = self.hidden(tokens, lengths)
        rows, places = torch.nonzero(is_answer[:, 1:], as_tuple=True)
        total: Tensor = hidden.new_zeros(())
        before, wanted = hidden[rows, places], tokens[rows, places + 1]
        for begin in range(0, len(wanted), POSITIONS):
            span = slice(begin, begin + POSITIONS)
            if self.is_checkpointed:
                total = total + checkpoint(self._loss, before[span], wanted[span], use_reentrant=False)
            else:
                total = total + self._loss(before[span], wanted[span])
        return total

    def hidden(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Run conversations: int64, (B, T), to hidden states, float32, (B, T, C)."""
        state = None if self.states is None else self.states(len(tokens))
        hidden: Tensor = self.model(tokens, lengths, state)[0]
        return hidden

    def _loss(self, hidden: Tensor, wanted: Tensor) -> Tensor:
        return functional.cross_entropy(self.model.logits(hidden), wanted, reduction="sum")

    @property
    def learnt(self) -> list[nn.Parameter]:
        """Give the parameters that are learnt."""
        return [p for p in self.parameters() if p.requires_grad]


@dataclass(frozen=True, slots=True)
class TuneSet:
    """What to fine-tune on."""

    train: AnswerRows
    """Training rows, at least one."""
    val: AnswerRows
    """Validation rows, for the loss that is shown; nothing is chosen by it."""


class _Runner:
    """Runs parts of a step on this process's share."""

    def __init__(self, loss: AnswerLoss, rows: AnswerRows, processes: Processes) -> None:
        self.loss, self.rows, self.processes = loss, rows, processes

    def run(self, part: NDArray[np.int64]) -> Tensor:
        """Give the loss of this process's rows of a part, a scalar."""
        own, counts = self.processes.share(part)
        arrays = pad_rows(self.rows, own)
        tokens, is_answer, lengths = (torch.from_numpy(x).to(self.processes.device) for x in arrays)
        total: Tensor = self.loss(tokens, is_answer, lengths)
        return total if counts else total * 0.0

    def gradients(self, step: Step) -> float:
        """Put the gradient of a step's mean loss into what is learnt, in every process; give the loss."""
        total = 0.0
        for part in step.parts:
            mean = self.run(part) / max(step.n_answer, 1)
            # torch annotates backward only in part.
            mean.backward()  # type: ignore[no-untyped-call]
            total += mean.item()
        self.processes.sum_gradients(self.loss.learnt)
        return self.processes.sum(total)

    def mean_loss(self, steps: list[Step]) -> float | None:
        """Give the loss an answer token over some rows, without gradients; None where there are none."""
        n_answer = sum(step.n_answer for step in steps)
        if not n_answer:
            return None
        with torch.no_grad():
            total = sum(self.run(part).item() for step in steps for part in step.parts)
        return self.processes.sum(total) / n_answer


def tune(
    loss: AnswerLoss,
    data: TuneSet,
    config: TuneConfig,
    points: ResumePoints,
    report: Reporter,
    processes: Processes,
) -> dict[str, Any]:
    """Fit what is learnt in place; resume where `points` left off.

    Returns:
        Facts of the run: steps, losses an answer token, and seconds over all starts.

    Raises:
        ArtefactError: the resume point is of another run, or the loss is no number any more.
    """
    steps = plan_steps(data.train, config.epochs, config.step_rows, config.part_tokens, config.seed)
    optimizer = torch.optim.AdamW(
        loss.learnt, lr=0.0, betas=(0.9, 0.99), eps=1e-8, weight_decay=config.weight_decay, fused=True
    )
    runner, validation = _Runner(loss, data.train, processes), _Runner(loss, data.val, processes)
    shown = _shown(data.val, config)

    def take(i: int) -> tuple[float, int]:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(i - 1, len(steps), config.learning_rate, config.warmup)
        return runner.gradients(steps[i - 1]), steps[i - 1].n_token

    course = Course(loss, optimizer, len(steps), take, lambda: validation.mean_loss(shown), processes.is_main)
    facts = run_course(course, config, points, report)
    processes.wait()
    return {**facts, "processes": processes.count}


def _shown(val: AnswerRows, config: TuneConfig) -> list[Step]:
    """Plan the measurement: validation rows, evenly spread."""
    every = max(1, len(val) // max(config.validate_rows, 1))
    steps = plan_steps(val, 1.0, config.step_rows, config.part_tokens, 0)
    return steps[::every] if every > 1 else steps
