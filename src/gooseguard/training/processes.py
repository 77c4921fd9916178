"""One process or several that train one model together: who does what share, and how they agree.

Several are started by torch's own launcher, `torchrun --nproc-per-node N -m gooseguard train …`, and talk
over NCCL between GPUs, gloo between CPUs. What is learnt (an adapter, initial states) is small and lies whole
in every process; its gradients are summed once a step. The frozen base lies whole in every process as well,
or is sharded over them by torch's FSDP2 (`fully_shard`). Why not through accelerate:
docs/design/0014-fine-tuning.md.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from gooseguard.models.rwkv import Block

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from gooseguard.models.rwkv import Rwkv


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those of the run."""

    rank: int
    """Its number, from 0."""
    count: int
    """How many there are."""
    device: torch.device
    """Where it computes."""

    @property
    def is_main(self) -> bool:
        """Tell whether this is the process that reports and writes."""
        return self.rank == 0

    def share(self, part: NDArray[np.int64]) -> tuple[NDArray[np.int64], bool]:
        """Give this process's rows of a part, and whether they count.

        All processes must run the same modules in the same order. One that is left without rows takes the
        first of the part, and its loss counts nothing.
        """
        own = part[self.rank :: self.count]
        return (own, True) if len(own) else (part[:1], False)

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Add up the gradients of all processes, in each of them."""
        if self.count == 1:
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        # In one message: an adapter has hundreds of small tensors.
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        begin = 0
        for p in parameters:
            p.grad = flat[begin : begin + p.numel()].view_as(p).clone()
            begin += p.numel()

    def sum(self, value: float) -> float:
        """Add up a number of all processes."""
        if self.count == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return total.item()

    def agree(self, *, flag: bool) -> bool:
        """Give every process the main one's answer."""
        if self.count == 1:
            return flag
        answer = torch.tensor(int(flag), device=self.device)
        dist.broadcast(answer, 0)
        return bool(answer.item())

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.count > 1:
            dist.barrier()


def join() -> Processes:
    """Join the processes that torch's launcher started, or be the only one."""
    is_gpu = torch.cuda.is_available()
    if not dist.is_torchelastic_launched():
        return Processes(0, 1, torch.device("cuda" if is_gpu else "cpu"))
    if not dist.is_initialized():
        dist.init_process_group("nccl" if is_gpu else "gloo")
    device = torch.device("cuda", dist.get_node_local_rank()) if is_gpu else torch.device("cpu")
    if is_gpu:
        torch.cuda.set_device(device)
    return Processes(dist.get_rank(), dist.get_world_size(), device)


def leave(processes: Processes) -> None:
    """End what `join` began, when all processes are done."""
    if processes.count > 1 and dist.is_initialized():
        # A process that ends while another still talks to it may be aborted by torch's threads.
        dist.barrier()
        # What hangs in cycles, such as sharded modules, lets go of the group here and not while Python ends.
        gc.collect()
        dist.destroy_process_group()


def shard_base(root: nn.Module, model: Rwkv, processes: Processes) -> None:
    """Shard a model's frozen parameters over the processes; what is learnt stays whole in each.

    Args:
        root: what is called to train, the model within it.
        model: whose mixes become units that are gathered and dropped one after another.
        processes: at least two.
    """
    mesh = init_device_mesh(processes.device.type, (processes.count,))
    learnt = {p for p in root.parameters() if p.requires_grad}
    for unit in [*mixes(model), root]:
        fully_shard(unit, mesh=mesh, ignored_params=learnt)


def mixes(model: Rwkv) -> Iterator[nn.Module]:
    """Give the time mix and the channel mix of every layer."""
    for block in model.blocks:
        assert isinstance(block, Block)
        yield block.att
        yield block.ffn
