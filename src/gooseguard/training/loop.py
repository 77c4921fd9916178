"""The one training loop, with resume points; and how category heads are fitted by it, in phases."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import nn

from gooseguard.core.errors import ArtefactError
from gooseguard.training.batches import TokenRows, cut_by_budget, pad, plan_epoch, select
from gooseguard.training.objectives import category_weights, weighted_bce
from gooseguard.training.pace import Pace
from gooseguard.training.resume import Reached, ResumePoints
from gooseguard.training.workers import Workers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gooseguard.training.objectives import Targets
    from gooseguard.training.student import Goals
    from gooseguard.training.workers import Learner


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of training with a learning rate of its own."""

    epochs: float
    """Passes over the training rows; 0.5 is half a pass."""
    learning_rate: float
    """Peak, reached after the warm-up, then falling along a cosine to 3 % of it."""
    batch_tokens: int = 4096
    """Most padded tokens a batch."""
    is_shallow: bool = False
    """Skip the blocks, whose outputs are zero before they are trained: embedding and heads learn fast."""
    holds_embedding: bool = False
    """Leave the embedding as it is: blocks that are fitted to it do no harm to what it has learnt."""


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """How to fit."""

    phases: tuple[Phase, ...] = (Phase(2, 3e-3, 8192, is_shallow=True), Phase(1, 1e-3))
    """One after another."""
    longest: int = 320
    """Training texts are cut to this many tokens; scoring never cuts."""
    warmup: int = 200
    """Steps of linear warm-up, each phase."""
    head_rate: float = 0.3
    """Share of the learning rate for the heads: their 3 C inputs are correlated, and full steps diverge."""
    weight_decay: float = 0.05
    """On matrices only (AdamW)."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    token_dropout: float = 0.1
    """Share of training tokens replaced by the reserved token 0."""
    bfloat16: bool = True
    """Matrix products in bfloat16 (the recurrence and the heads stay in float32)."""
    resume_s: float = 120.0
    """Seconds between resume points: what a killed run loses at most."""
    validate_steps: int = 500
    """Steps between measurements of the validation loss."""
    validate_rows: int = 3000
    """Labelled validation rows, evenly spread, for that measurement."""
    threads: int = 2
    """Worker threads; each takes a share of every batch."""
    seed: int = 0
    """Of initial weights, order and dropout."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where training stands; handed to the caller's reporter after every step."""

    step: int
    """Steps done."""
    n_steps: int
    """Steps in all."""
    loss: float
    """Training loss a row, smoothed over about 50 steps."""
    tokens_per_s: float
    """Real tokens a second over about the last 50 steps."""
    seconds_left: float
    """Estimated from the pace of this phase."""
    validation_loss: float | None
    """Loss a labelled validation row, labels only; the last measured one."""


Reporter = Callable[[Progress], None]


def learning_rate(step: int, n_steps: int, peak: float, warmup: int) -> float:
    """Give the learning rate of a phase's step: linear warm-up, then a cosine to 3 % of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(n_steps - warmup, 1)
    return peak * (0.03 + 0.97 * (1 + math.cos(math.pi * min(done, 1.0))) / 2)


class RunOptions(Protocol):
    """What the loop has to know of a recipe."""

    @property
    def clip(self) -> float:
        """Give the largest norm of the gradient."""

    @property
    def validate_steps(self) -> int:
        """Give the steps between measurements of the validation loss."""

    @property
    def resume_s(self) -> float:
        """Give the seconds between resume points."""


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """What a run fits, and what a step of it is."""

    module: nn.Module
    """Holds what is learnt."""
    optimizer: torch.optim.Optimizer
    """Of what is learnt."""
    n_steps: int
    """Steps in all."""
    step: Callable[[int], tuple[float, int]]
    """Sets a step's learning rates and puts its gradient into the module; gives its mean loss and its tokens.
    Steps count from 1 and depend on recipe and data alone, so that a resumed run goes on with the same."""
    measure: Callable[[], float | None]
    """Gives the validation loss; None where there is nothing to measure on."""
    is_main: bool = True
    """Whether this process, of those that share the run, writes resume points."""


def run_course(course: Course, options: RunOptions, points: ResumePoints, report: Reporter) -> dict[str, Any]:
    """Fit a module in place; resume where `points` left off.

    Returns:
        Facts of the run: steps, losses, and seconds over all of its processes.

    Raises:
        ArtefactError: the resume point is of another run, or the loss is no number any more.
    """
    module, optimizer, n_steps = course.module, course.optimizer, course.n_steps
    reached = points.load(module, optimizer)
    pace, measured = Pace(reached.loss), reached.validation_loss
    begin, saved = time.monotonic() - reached.seconds, time.monotonic()
    for i in range(reached.step + 1, n_steps + 1):
        loss, n_tokens = course.step(i)
        if not math.isfinite(loss):
            raise ArtefactError(f"training loss is no number at step {i}; lower the recipe's learning_rate")
        nn.utils.clip_grad_norm_(module.parameters(), options.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        pace.tick(loss, n_tokens)
        is_last = i == n_steps
        if i % options.validate_steps == 0 or is_last:
            measured = course.measure()
        if course.is_main and (time.monotonic() - saved > options.resume_s or is_last):
            saved = time.monotonic()
            points.save(Reached(i, pace.loss, saved - begin, measured), module, optimizer)
        report(Progress(i, n_steps, pace.loss, pace.rate, pace.per_step * (n_steps - i), measured))
    seconds = reached.seconds if reached.step == n_steps else time.monotonic() - begin
    return {
        "steps": n_steps,
        "resumed_at": reached.step,
        "train_loss": pace.loss,
        "validation_loss": measured,
        "seconds": round(seconds, 1),
    }


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What to fit on."""

    train: TokenRows
    """Training rows."""
    targets: Targets | Goals
    """Of the training rows, as the learner's loss wants them."""
    repeats: NDArray[np.int64]
    """(n,), how often an epoch sees each training row."""
    val: TokenRows
    """Validation rows, for the loss that is shown; nothing is chosen by it."""


@dataclass(frozen=True, slots=True)
class _Step:
    batch: NDArray[np.int64]
    phase: Phase
    learning_rate: float


def fit(
    learner: Learner, data: TrainingSet, config: LoopConfig, points: ResumePoints, report: Reporter
) -> dict[str, Any]:
    """Fit a model with category heads in place; resume where `points` left off.

    Returns:
        Facts of the run, as `run_course`.

    Raises:
        ArtefactError: the resume point is of another run, or the loss is no number any more.
    """
    steps, optimizer = _plan(data, config), _optimizer(learner, config)
    workers = Workers(learner, data.train, data.targets, config)

    def take(i: int) -> tuple[float, int]:
        step = steps[i - 1]
        for replica in workers.replicas:
            replica.model.backbone.is_shallow = step.phase.is_shallow
            replica.model.backbone.emb.requires_grad_(not step.phase.holds_embedding)
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * step.learning_rate
        loss = workers.gradients(step.batch, i)
        return loss, int(np.minimum(data.train.lengths[step.batch], config.longest).sum())

    course = Course(
        learner, optimizer, len(steps), take, lambda: validation_loss(learner.model, data.val, config)
    )
    try:
        return run_course(course, config, points, report)
    finally:
        workers.close()
        learner.model.backbone.is_shallow = False
        learner.model.backbone.emb.requires_grad_()


def _plan(data: TrainingSet, config: LoopConfig) -> list[_Step]:
    """Plan every step; depends on recipe and data alone."""
    steps: list[_Step] = []
    epoch = 0
    for phase in config.phases:
        batches: list[NDArray[np.int64]] = []
        for part in range(math.ceil(phase.epochs)):
            planned = plan_epoch(
                data.train, data.repeats, phase.batch_tokens, config.longest, config.seed, epoch
            )
            batches += planned[: math.ceil(min(phase.epochs - part, 1.0) * len(planned))]
            epoch += 1
        steps += [
            _Step(batch, phase, learning_rate(i, len(batches), phase.learning_rate, config.warmup))
            for i, batch in enumerate(batches)
        ]
    return steps


def _optimizer(learner: Learner, config: LoopConfig) -> torch.optim.AdamW:
    heads: list[nn.Parameter] = []
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, p in learner.named_parameters():
        is_matrix = p.ndim == 2 and name.startswith("model.") and ".emb." not in name
        kind = heads if name.startswith("model.categories.") else matrices if is_matrix else others
        kind.append(p)
    groups = [
        {"params": heads, "weight_decay": config.weight_decay, "rate": config.head_rate},
        {"params": matrices, "weight_decay": config.weight_decay, "rate": 1.0},
        {"params": others, "weight_decay": 0.0, "rate": 1.0},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-9, fused=True)


def predict(
    model: nn.Module, rows: TokenRows, *, batch_tokens: int = 16384, bfloat16: bool = False
) -> NDArray[np.float32]:
    """Give the logits of rows, float32 (n, K), texts uncut, NaN for a text without tokens."""
    lengths = rows.lengths
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    logits = np.full(rows.labels.shape, np.nan, np.float32)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        for batch in cut_by_budget(order, lengths[order], batch_tokens):
            tokens, real = pad(rows, batch, int(lengths.max()))
            logits[batch] = model(torch.from_numpy(tokens), torch.from_numpy(real)).numpy()
    return logits


def validation_loss(model: nn.Module, val: TokenRows, config: LoopConfig) -> float | None:
    """Give the loss a labelled validation row, on people's labels alone; None without any."""
    labelled = np.flatnonzero((~np.isnan(val.labels)).any(1) & (val.lengths > 0))
    if not len(labelled):
        return None
    rows = select(val, labelled[:: max(1, len(labelled) // max(config.validate_rows, 1))])
    logits, labels = torch.from_numpy(predict(model, rows, bfloat16=config.bfloat16)), rows.labels
    weights = np.where(np.isnan(labels), np.float32(0.0), category_weights(labels))
    total = weighted_bce(logits, torch.from_numpy(np.nan_to_num(labels)), torch.from_numpy(weights))
    return total.item() / len(rows)
