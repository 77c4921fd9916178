"""The loop that fits a student: batches to a fitted model, in phases, with resume points."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from gooseguard.core.errors import ArtefactError
from gooseguard.training.batches import TokenRows, pad, plan_epoch, select
from gooseguard.training.loop import LoopConfig, Phase, Progress, Reporter, learning_rate, predict
from gooseguard.training.objectives import weighted_bce
from gooseguard.training.pace import Pace
from gooseguard.training.resume import Reached, ResumePoints
from gooseguard.training.workers import drop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from gooseguard.training.student import Goals, Student


@dataclass(frozen=True, slots=True, eq=False)
class StudySet:
    """What a student learns from."""

    train: TokenRows
    """Training rows."""
    goals: Goals
    """Of the training rows."""
    repeats: NDArray[np.int64]
    """(n,), how often an epoch sees each training row."""
    val: TokenRows
    """Validation rows, for the loss that is shown; nothing is chosen by it."""


def fit_student(
    student: Student, data: StudySet, config: LoopConfig, points: ResumePoints, report: Reporter
) -> dict[str, Any]:
    """Fit a student in place; resume where `points` left off.

    Returns:
        Facts of the run: steps, losses, and seconds over all of its processes.

    Raises:
        ArtefactError: the resume point is of another run, or the loss is no number any more.
    """
    torch.set_num_threads(config.threads)
    steps, optimizer = list(_plan(data, config)), _optimizer(student, config)
    reached = points.load(student, optimizer)
    pace, measured = Pace(reached.loss), reached.validation_loss
    begin, saved = time.monotonic() - reached.seconds, time.monotonic()
    for i, (batch, phase, rate) in enumerate(steps[reached.step :], reached.step + 1):
        student.model.backbone.is_shallow = phase.is_shallow
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * rate
        loss = _gradients(student, data, batch, config, i)
        if math.isnan(loss):
            raise ArtefactError(f"training loss is no number at step {i}; lower the phase's learning_rate")
        nn.utils.clip_grad_norm_(student.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        pace.tick(loss, int(np.minimum(data.train.lengths[batch], config.longest).sum()))
        is_last = i == len(steps)
        if i % config.validate_steps == 0 or is_last:
            measured = validation_loss(student, data.val, config)
        if time.monotonic() - saved > config.resume_s or is_last:
            saved = time.monotonic()
            points.save(Reached(i, pace.loss, saved - begin, measured), student, optimizer)
        report(Progress(i, len(steps), pace.loss, pace.rate, pace.per_step * (len(steps) - i), measured))
    student.model.backbone.is_shallow = False
    seconds = reached.seconds if reached.step == len(steps) else time.monotonic() - begin
    return {
        "steps": len(steps),
        "resumed_at": reached.step,
        "train_loss": pace.loss,
        "validation_loss": measured,
        "seconds": round(seconds, 1),
    }


def _plan(data: StudySet, config: LoopConfig) -> Iterator[tuple[NDArray[np.int64], Phase, float]]:
    """Plan every step: rows, phase, learning rate; depends on recipe and data alone."""
    epoch = 0
    for phase in config.phases:
        batches: list[NDArray[np.int64]] = []
        for part in range(math.ceil(phase.epochs)):
            planned = plan_epoch(
                data.train, data.repeats, phase.batch_tokens, config.longest, config.seed, epoch
            )
            batches += planned[: math.ceil(min(phase.epochs - part, 1.0) * len(planned))]
            epoch += 1
        for i, batch in enumerate(batches):
            yield batch, phase, learning_rate(i, len(batches), phase.learning_rate, config.warmup)


def _optimizer(student: Student, config: LoopConfig) -> torch.optim.AdamW:
    """Give the optimiser of `training/loop.py`; projections are matrices among others."""
    heads: list[nn.Parameter] = []
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, p in student.named_parameters():
        is_matrix = p.ndim == 2 and "emb." not in name
        kind = heads if name.startswith("model.categories.") else matrices if is_matrix else others
        kind.append(p)
    groups = [
        {"params": heads, "weight_decay": config.weight_decay, "rate": config.head_rate},
        {"params": matrices, "weight_decay": config.weight_decay, "rate": 1.0},
        {"params": others, "weight_decay": 0.0, "rate": 1.0},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-9, fused=True)


def _gradients(
    student: Student, data: StudySet, batch: NDArray[np.int64], config: LoopConfig, step: int
) -> float:
    """Put the gradient of a batch's mean loss into the parameters; give the loss."""
    tokens, lengths = pad(data.train, batch, config.longest)
    dropped = drop(torch.from_numpy(tokens), config.token_dropout, step, config.seed)
    with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
        logits, features = student(dropped, torch.from_numpy(lengths))
    loss = student.loss(logits, features, data.goals, batch) / len(batch)
    # torch annotates backward only in part.
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.item())


def validation_loss(student: Student, val: TokenRows, config: LoopConfig) -> float | None:
    """Give the cross-entropy a labelled validation row, on people's labels alone; None without any."""
    labelled = np.flatnonzero((~np.isnan(val.labels)).any(1) & (val.lengths > 0))
    if not len(labelled):
        return None
    rows = select(val, labelled[:: max(1, len(labelled) // max(config.validate_rows, 1))])
    logits = torch.from_numpy(predict(student.model, rows, bfloat16=config.bfloat16))
    labels = torch.from_numpy(rows.labels)
    total = weighted_bce(logits, labels.nan_to_num(0.0), (~labels.isnan()).float())
    return total.item() / len(rows)
