"""The one training loop: batches to a fitted module, in phases, with resume points."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from gooseguard.core.errors import ArtefactError
from gooseguard.training.batches import TokenRows, cut_by_budget, pad, plan_epoch, select
from gooseguard.training.objectives import Targets, make_targets
from gooseguard.training.resume import Reached, ResumePoints
from gooseguard.training.workers import Workers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gooseguard.training.trainee import Trainee


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


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What to fit on."""

    train: TokenRows
    """Training rows."""
    targets: Targets
    """Of the training rows."""
    repeats: NDArray[np.int64]
    """(n,), how often an epoch sees each training row."""
    val: TokenRows
    """Validation rows, for the loss that is shown; nothing is chosen by it."""
    val_sources: NDArray[np.int64]
    """(m,), numbers of their sources."""


def _optimizer(trainee: Trainee, config: LoopConfig) -> torch.optim.AdamW:
    heads: list[nn.Parameter] = []
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, p in trainee.named_parameters():
        is_matrix = p.ndim == 2 and name.startswith("model.") and ".emb." not in name
        kind = heads if name.startswith("model.categories.") else matrices if is_matrix else others
        kind.append(p)
    groups = [
        {"params": heads, "weight_decay": config.weight_decay, "rate": config.head_rate},
        {"params": matrices, "weight_decay": config.weight_decay, "rate": 1.0},
        {"params": others, "weight_decay": 0.0, "rate": 1.0},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-9, fused=True)


def learning_rate(step: int, n_steps: int, peak: float, warmup: int) -> float:
    """Give the learning rate of a phase's step: linear warm-up, then a cosine to 3 % of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(n_steps - warmup, 1)
    return peak * (0.03 + 0.97 * (1 + math.cos(math.pi * min(done, 1.0))) / 2)


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


class _Validation:
    """Measures the loss on some labelled validation rows."""

    def __init__(self, data: TrainingSet, config: LoopConfig) -> None:
        labelled = np.flatnonzero((~np.isnan(data.val.labels)).any(1))
        chosen = labelled[:: max(1, len(labelled) // max(config.validate_rows, 1))]
        self.rows = select(data.val, chosen)
        self.targets = make_targets(self.rows.labels, data.val_sources[chosen])
        self.bfloat16 = config.bfloat16

    @torch.no_grad()
    def loss(self, trainee: Trainee) -> float | None:
        if not len(self.rows):
            return None
        logits = torch.from_numpy(predict(trainee, self.rows, bfloat16=self.bfloat16)).nan_to_num(0.0)
        return trainee.loss(logits, self.targets, np.arange(len(self.rows))).item() / len(self.rows)


@dataclass(frozen=True, slots=True)
class _Step:
    batch: NDArray[np.int64]
    phase: Phase
    learning_rate: float


def _plan(data: TrainingSet, config: LoopConfig) -> list[_Step]:
    """Plan every step; depends on recipe and data alone, so that a resumed run goes on with the same."""
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


class _Pace:
    """Smoothed loss, tokens a second, and what is left of the time."""

    def __init__(self, loss: float) -> None:
        self.loss, self.rate, self.per_step, self.last = loss, math.nan, math.nan, time.monotonic()

    def tick(self, loss: float, n_tokens: int) -> None:
        now = time.monotonic()
        seconds, self.last = now - self.last, now
        for name, value in (("loss", loss), ("rate", n_tokens / max(seconds, 1e-9)), ("per_step", seconds)):
            before = getattr(self, name)
            setattr(self, name, value if math.isnan(before) else 0.98 * before + 0.02 * value)


def fit(
    trainee: Trainee, data: TrainingSet, config: LoopConfig, points: ResumePoints, report: Reporter
) -> dict[str, Any]:
    """Fit a model in place; resume where `points` left off.

    Returns:
        Facts of the run: steps, losses, and seconds over all of its processes.

    Raises:
        ArtefactError: the resume point is of another run, or the loss is no number any more.
    """
    steps = _plan(data, config)
    optimizer = _optimizer(trainee, config)
    reached = points.load(trainee, optimizer)
    first = reached.step
    workers = Workers(trainee, data.train, data.targets, config)
    validation, measured = _Validation(data, config), reached.validation_loss
    pace, begin = _Pace(reached.loss), time.monotonic() - reached.seconds
    saved = time.monotonic()
    for i, step in enumerate(steps[first:], first + 1):
        for replica in workers.replicas:
            replica.model.backbone.is_shallow = step.phase.is_shallow
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * step.learning_rate
        batch_loss = workers.gradients(step.batch, i)
        if math.isnan(batch_loss):
            raise ArtefactError(f"training loss is no number at step {i}; lower the phase's learning_rate")
        nn.utils.clip_grad_norm_(trainee.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        pace.tick(batch_loss, int(np.minimum(data.train.lengths[step.batch], config.longest).sum()))
        is_last = i == len(steps)
        if i % config.validate_steps == 0 or is_last:
            measured = validation.loss(trainee)
        if time.monotonic() - saved > config.resume_s or is_last:
            saved = time.monotonic()
            points.save(Reached(i, pace.loss, saved - begin, measured), trainee, optimizer)
        report(Progress(i, len(steps), pace.loss, pace.rate, pace.per_step * (len(steps) - i), measured))
    seconds = time.monotonic() - begin if first < len(steps) else reached.seconds
    workers.close()
    trainee.model.backbone.is_shallow = False
    return {
        "steps": len(steps),
        "resumed_at": first,
        "train_loss": pace.loss,
        "validation_loss": measured,
        "seconds": round(seconds, 1),
    }
