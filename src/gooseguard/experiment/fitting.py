"""Small modules fitted on rows in memory, through the one training loop: planned steps, resumable."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from gooseguard.training.loop import Course, Reporter, learning_rate, run_course

if TYPE_CHECKING:
    from gooseguard.training.resume import ResumePoints

Loss = Callable[[Tensor, torch.Generator], Tensor]
"""Rows of a batch, int64, (B,), and randomness of the step, to the mean loss, a scalar."""


@dataclass(frozen=True, slots=True)
class FitConfig:
    """How to fit: AdamW, a linear warm-up, then a cosine to 3 % of the peak."""

    epochs: int = 10
    """Passes over the rows."""
    learning_rate: float = 1e-3
    """Peak."""
    batch: int = 64
    """Rows a step."""
    warmup: int = 50
    """Steps."""
    weight_decay: float = 0.05
    """On matrices only."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    resume_s: float = 60.0
    """Seconds between resume points: what a killed run loses at most."""

    @property
    def validate_steps(self) -> int:
        """Give the steps between measurements of the validation loss: none is measured while fitting."""
        return 1 << 30


def fit_rows(
    module: nn.Module,
    n_row: int,
    loss: Loss,
    config: FitConfig,
    seed: int,
    points: ResumePoints,
    report: Reporter,
) -> dict[str, Any]:
    """Fit what is learnt of a module in place; resume where `points` left off.

    Args:
        module: holds what is learnt.
        n_row: training rows; each is seen once an epoch.
        loss: of the rows of a batch.
        config: how.
        seed: of order and of what is random in a step.
        points: where it goes on.
        report: told where it stands, after every step.

    Returns:
        Facts of the run, as `run_course`.

    Raises:
        ArtefactError: the resume point is of another run, or the loss is no number any more.
    """
    per_epoch = math.ceil(n_row / config.batch)
    n_steps = per_epoch * config.epochs
    matrices = [p for p in module.parameters() if p.requires_grad and p.ndim >= 2]
    others = [p for p in module.parameters() if p.requires_grad and p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)

    def take(i: int) -> tuple[float, int]:
        epoch, place = divmod(i - 1, per_epoch)
        order = np.random.default_rng([seed, epoch]).permutation(n_row)
        rows = torch.from_numpy(order[place * config.batch : (place + 1) * config.batch])
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(i - 1, n_steps, config.learning_rate, config.warmup)
        value = loss(rows, torch.Generator().manual_seed(seed * 1_000_003 + i))
        # torch annotates backward only in part.
        value.backward()  # type: ignore[no-untyped-call]
        return value.item(), len(rows)

    return run_course(Course(module, optimizer, n_steps, take, lambda: None), config, points, report)
