"""The one training loop: batches to a fitted module, with checkpoints that a killed run resumes from."""

from __future__ import annotations

import copy
import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from gooseguard.core.errors import ArtefactError
from gooseguard.training.batches import TokenRows, cut_by_budget, pad, plan_epoch
from gooseguard.training.objectives import masked_bce


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """How to fit."""

    epochs: int = 2
    """Passes over the training rows."""
    batch_tokens: int = 4096
    """Most padded tokens a batch."""
    longest: int = 320
    """Training texts are cut to this many tokens; scoring never cuts."""
    learning_rate: float = 2e-3
    """Peak, reached after `warmup` steps, then falling along a cosine to 3 % of it."""
    warmup: int = 200
    """Steps of linear warm-up."""
    weight_decay: float = 0.05
    """On matrices only (AdamW)."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    token_dropout: float = 0.1
    """Share of training tokens replaced by the reserved token 0."""
    bfloat16: bool = True
    """Matrix products in bfloat16 (the recurrence and the head stay in float32)."""
    checkpoint_s: float = 120.0
    """Seconds between checkpoints: what a killed run loses at most."""
    validate_steps: int = 500
    """Steps between measurements of the validation loss."""
    validate_rows: int = 3000
    """Validation rows, the first ones, for that measurement."""
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
    """Training loss, smoothed over about 50 steps."""
    tokens_per_s: float
    """Real tokens a second, since this process began."""
    seconds_left: float
    """Estimated from this process's pace."""
    validation_loss: float | None
    """The last measured one."""


Reporter = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What to fit on."""

    train: TokenRows
    """Training rows."""
    val: TokenRows
    """Validation rows, for the loss that is shown; nothing is chosen by it."""
    repeats: NDArray[np.int64]
    """(n,), how often an epoch sees each training row."""
    weights: NDArray[np.float32]
    """(K,), weight of each category in the loss."""


HEAD_RATE = 0.1
"""Share of the learning rate that the category heads get: their 3 C inputs are correlated, so a full Adam step moves a logit by several
units, and training diverges (seen at 3e-3)."""


def _optimizer(model: nn.Module, config: LoopConfig) -> torch.optim.AdamW:
    heads, matrices, others = [], [], []
    for name, p in model.named_parameters():
        kind = heads if name.startswith("categories.") else matrices if p.ndim == 2 and "emb." not in name else others
        kind.append(p)
    groups = [
        {"params": heads, "weight_decay": config.weight_decay, "rate": HEAD_RATE},
        {"params": matrices, "weight_decay": config.weight_decay, "rate": 1.0},
        {"params": others, "weight_decay": 0.0, "rate": 1.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), eps=1e-9, fused=True)


def learning_rate(step: int, n_steps: int, config: LoopConfig) -> float:
    """Give the learning rate of a step: linear warm-up, then a cosine to 3 % of the peak."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    done = (step - config.warmup) / max(n_steps - config.warmup, 1)
    return config.learning_rate * (0.03 + 0.97 * (1 + math.cos(math.pi * min(done, 1.0))) / 2)


class Checkpoints:
    """The resume points of one run: parameters and optimiser moments; `progress.json` names the valid one."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        """Use `folder`; `fingerprint` names config and data, so that another run's points are refused."""
        self.folder, self.fingerprint = folder, fingerprint
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, loss: float) -> None:
        """Write a resume point beside the last one, then point to it, then drop the last one."""
        tensors = {f"model.{name}": p.detach() for name, p in model.named_parameters()}
        for name, p in model.named_parameters():
            for moment in ("exp_avg", "exp_avg_sq"):
                tensors[f"{moment}.{name}"] = optimizer.state[p][moment]
        name = f"step-{step:07d}.safetensors"
        save_file(
            {key: value.contiguous() for key, value in tensors.items()}, self.folder / f"{name}.partial"
        )
        (self.folder / f"{name}.partial").replace(self.folder / name)
        state = {"step": step, "file": name, "loss": loss, "fingerprint": self.fingerprint}
        partial = self.folder / "progress.json.partial"
        partial.write_text(json.dumps(state), "utf-8")
        partial.replace(self.folder / "progress.json")
        for other in self.folder.glob("step-*.safetensors*"):
            if other.name != name:
                other.unlink()

    def load(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
        """Restore the last resume point into model and optimiser; give its step and loss, or (0, NaN) where there is none.

        Raises:
            ArtefactError: the resume point is of another config or other data, or is not whole.
        """
        pointer = self.folder / "progress.json"
        if not pointer.is_file():
            return 0, math.nan
        state: dict[str, Any] = json.loads(pointer.read_text("utf-8"))
        if state["fingerprint"] != self.fingerprint:
            raise ArtefactError(
                f"{self.folder}: was begun with another recipe or other data; give another --output, or remove it to begin again"
            )
        with safe_open(self.folder / state["file"], "pt") as tensors, torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(tensors.get_tensor(f"model.{name}"))
                optimizer.state[p] = {
                    "step": torch.tensor(float(state["step"])),
                    "exp_avg": tensors.get_tensor(f"exp_avg.{name}"),
                    "exp_avg_sq": tensors.get_tensor(f"exp_avg_sq.{name}"),
                }
        return int(state["step"]), float(state["loss"])

    def clear(self) -> None:
        """Remove all resume points: the run is done."""
        shutil.rmtree(self.folder)


def _drop(tokens: torch.Tensor, share: float, seed: int) -> torch.Tensor:
    """Replace a share of the tokens by 0; depends on the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    return tokens.masked_fill(torch.rand(tokens.shape, generator=generator) < share, 0)


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


def _validation_loss(model: nn.Module, data: TrainingSet, config: LoopConfig) -> float:
    n = min(config.validate_rows, len(data.val))
    rows = TokenRows(data.val.tokens, data.val.offsets[: n + 1], data.val.labels[:n])
    logits = torch.from_numpy(predict(model, rows, bfloat16=config.bfloat16)).nan_to_num(0.0)
    return masked_bce(logits, torch.from_numpy(rows.labels), torch.from_numpy(data.weights)).item()


class Workers:
    """Data parallelism by threads: each takes a share of a batch through a replica of the module that shares its parameters.

    One synchronisation a step instead of one an operation: on a machine whose cores are shared with other work, OpenMP's barriers cost
    more than they gain (docs/design/0003-training-threads.md).
    """

    def __init__(self, model: nn.Module, weights: NDArray[np.float32], config: LoopConfig) -> None:
        torch.set_num_threads(1)
        self.config, self.weights = config, torch.from_numpy(weights)
        self.replicas = [model, *(copy.deepcopy(model) for _ in range(config.threads - 1))]
        for replica in self.replicas[1:]:
            for own, shared in zip(replica.parameters(), model.parameters(), strict=True):
                own.data = shared.data
        self.pool = ThreadPoolExecutor(config.threads)

    def _share(self, rank: int, rows: TokenRows, batch: NDArray[np.int64], step: int, n_annotated: int) -> float:
        index = batch[rank :: len(self.replicas)]
        if not len(index):
            return 0.0
        replica = self.replicas[rank]
        tokens, lengths = pad(rows, index, self.config.longest)
        seed = (self.config.seed * 1_000_003 + step) * 64 + rank
        dropped = _drop(torch.from_numpy(tokens), self.config.token_dropout, seed)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.bfloat16):
            logits = replica(dropped, torch.from_numpy(lengths))
        loss = masked_bce(logits, torch.from_numpy(rows.labels[index]), self.weights, n_annotated)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def gradients(self, rows: TokenRows, batch: NDArray[np.int64], step: int) -> float:
        """Put the gradient of a batch into the module's parameters; give the loss."""
        n_annotated = int((~np.isnan(rows.labels[batch])).sum())
        jobs = [
            self.pool.submit(self._share, rank, rows, batch, step, n_annotated) for rank in range(len(self.replicas))
        ]
        loss = sum(job.result() for job in jobs)
        for parameters in zip(*(replica.parameters() for replica in self.replicas), strict=True):
            _gather(parameters)
        return loss


def _gather(parameters: Sequence[nn.Parameter]) -> None:
    """Add the replicas' gradients of one parameter into the first's, and clear them."""
    first = parameters[0]
    for other in parameters[1:]:
        if other.grad is not None:
            first.grad = other.grad if first.grad is None else first.grad.add_(other.grad)
            other.grad = None


def fit(model: nn.Module, data: TrainingSet, config: LoopConfig, checkpoints: Checkpoints, report: Reporter) -> dict[str, Any]:
    """Fit a module that maps (tokens, lengths) to logits, in place; resume where `checkpoints` left off.

    Returns:
        Facts of the run: steps, losses, seconds and tokens a second of this process.
    """
    batches = [
        batch
        for epoch in range(config.epochs)
        for batch in plan_epoch(data.train, data.repeats, config.batch_tokens, config.longest, config.seed, epoch)
    ]
    optimizer = _optimizer(model, config)
    first, loss = checkpoints.load(model, optimizer)
    workers = Workers(model, data.weights, config)
    begin = saved = time.monotonic()
    n_tokens, validation_loss = 0, None
    for step in range(first, len(batches)):
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * learning_rate(step, len(batches), config)
        batch_loss = workers.gradients(data.train, batches[step], step)
        if math.isnan(batch_loss):
            raise ArtefactError(f"training loss is not a number at step {step}; lower loop.learning_rate and begin again")
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss = batch_loss if math.isnan(loss) else 0.98 * loss + 0.02 * batch_loss
        n_tokens += int(np.minimum(data.train.lengths[batches[step]], config.longest).sum())
        done = step + 1
        if done % config.validate_steps == 0 or done == len(batches):
            validation_loss = _validation_loss(model, data, config)
        now = time.monotonic()
        if now - saved > config.checkpoint_s or done == len(batches):
            checkpoints.save(done, model, optimizer, loss)
            saved = now
        left = (now - begin) / (done - first) * (len(batches) - done)
        report(Progress(done, len(batches), loss, n_tokens / (now - begin), left, validation_loss))
    seconds = time.monotonic() - begin
    return {
        "steps": len(batches),
        "resumed_at": first,
        "train_loss": loss,
        "validation_loss": validation_loss,
        "seconds": round(seconds, 1),
        "tokens_per_s": round(n_tokens / max(seconds, 1e-9)),
    }
