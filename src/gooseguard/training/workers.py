"""Data parallelism by threads: each takes a share of a batch through a replica with the same parameters.

One synchronisation a step instead of one an operation: where the cores are shared with other work, OpenMP's
barriers cost more than they gain (docs/design/0003-training-threads.md).
"""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from gooseguard.training.batches import TokenRows, pad

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from gooseguard.models.mod_rwkv import ModRwkv


class Learner(nn.Module):
    """A model with category heads, and how it learns: tokens and lengths to outputs, outputs to a loss."""

    model: ModRwkv
    """What is kept."""

    def loss(self, outputs: Any, targets: Any, index: NDArray[np.int64]) -> torch.Tensor:  # noqa: ANN401  (each its own)
        """Give the summed loss of rows `index`, a scalar, from what the module gave for them."""
        raise NotImplementedError


class ShareOptions(Protocol):
    """What a worker has to know of the loop's config."""

    @property
    def threads(self) -> int:
        """Give the number of workers."""

    @property
    def longest(self) -> int:
        """Give the tokens that texts are cut to."""

    @property
    def token_dropout(self) -> float:
        """Give the share of tokens that is replaced."""

    @property
    def bfloat16(self) -> bool:
        """Tell whether matrix products run in bfloat16."""

    @property
    def seed(self) -> int:
        """Give the seed of the run."""


class Workers:
    """Threads that put the gradient of a batch into a module's parameters."""

    def __init__(self, learner: Learner, rows: TokenRows, targets: object, options: ShareOptions) -> None:
        # Operations of one thread each; this setting is the process's.
        torch.set_num_threads(1)
        self.rows, self.targets, self.options = rows, targets, options
        self.replicas = [learner, *(copy.deepcopy(learner) for _ in range(options.threads - 1))]
        for replica in self.replicas[1:]:
            for own, shared in zip(replica.parameters(), learner.parameters(), strict=True):
                own.data = shared.data
        self.pool = ThreadPoolExecutor(options.threads)

    def gradients(self, batch: NDArray[np.int64], step: int) -> float:
        """Put the mean gradient over the rows of a batch into the parameters; give the mean loss."""
        n = len(self.replicas)
        jobs = [
            self.pool.submit(self._share, rank, batch[rank::n], len(batch), step * n + rank)
            for rank in range(n)
        ]
        loss = sum(job.result() for job in jobs)
        for parameters in zip(*(replica.parameters() for replica in self.replicas), strict=True):
            _gather(parameters)
        return loss

    def _share(self, rank: int, index: NDArray[np.int64], n_rows: int, seed: int) -> float:
        if not len(index):
            return 0.0
        tokens, lengths = pad(self.rows, index, self.options.longest)
        dropped = drop(torch.from_numpy(tokens), self.options.token_dropout, seed, self.options.seed)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.options.bfloat16):
            outputs = self.replicas[rank](dropped, torch.from_numpy(lengths))
        loss = self.replicas[rank].loss(outputs, self.targets, index) / n_rows
        # torch annotates backward only in part.
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def close(self) -> None:
        """End the threads."""
        self.pool.shutdown()


def drop(tokens: torch.Tensor, share: float, seed: int, run_seed: int) -> torch.Tensor:
    """Replace a share of the tokens by the reserved token 0; depends on the two seeds alone."""
    generator = torch.Generator().manual_seed(run_seed * 1_000_000_007 + seed)
    return tokens.masked_fill(torch.rand(tokens.shape, generator=generator) < share, 0)


def _gather(parameters: Sequence[nn.Parameter]) -> None:
    """Add the replicas' gradients of one parameter into the first's, and clear theirs."""
    first = parameters[0]
    for other in parameters[1:]:
        if other.grad is not None:
            first.grad = other.grad if first.grad is None else first.grad.add_(other.grad)
            other.grad = None
