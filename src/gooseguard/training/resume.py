"""Resume points of a run: parameters and optimiser moments, so that a killed run loses minutes."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gooseguard.core.errors import ArtefactError
from gooseguard.core.files import replacing, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import nn

POINTER = "progress.json"
"""Names the valid resume point; a file it does not name is a leftover."""

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps for each parameter."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a run is."""

    step: int = 0
    """Steps done."""
    loss: float = math.nan
    """Smoothed training loss."""
    seconds: float = 0.0
    """Time spent fitting, by all processes of the run."""
    validation_loss: float | None = None
    """The last measured one."""


class ResumePoints:
    """The resume points of one run, in one folder."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        """Use `folder`; `fingerprint` names recipe and data, so that another run's points are refused."""
        self.folder, self.fingerprint = folder, fingerprint

    def save(self, reached: Reached, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Write a resume point beside the last one, then point to it, then drop the last one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        parameters = dict(_learnt(model))
        tensors = {f"model.{name}": p.detach() for name, p in parameters.items()}
        for name, p in parameters.items():
            # A parameter that has had no gradient yet has no moments.
            tensors |= {
                f"{moment}.{name}": optimizer.state[p][moment] for moment in MOMENTS if optimizer.state[p]
            }
        name = f"step-{reached.step:07d}.safetensors"
        with replacing(self.folder / name) as partial:
            save_file({key: value.cpu().contiguous() for key, value in tensors.items()}, partial)
        state = {"file": name, "fingerprint": self.fingerprint, "reached": asdict(reached)}
        write_whole(self.folder / POINTER, json.dumps(state))
        for other in self.folder.glob("step-*.safetensors*"):
            if other.name != name:
                other.unlink()

    def load(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> Reached:
        """Restore the last resume point into model and optimiser.

        Returns:
            How far it is; step 0 where there is none.

        Raises:
            ArtefactError: the resume point is of another recipe or other data, or is not whole.
        """
        pointer = self.folder / POINTER
        if not pointer.is_file():
            return Reached()
        try:
            state: dict[str, Any] = json.loads(pointer.read_text("utf-8"))
            if state["fingerprint"] != self.fingerprint:
                raise ArtefactError(
                    f"{self.folder}: was begun with another recipe or other data; "
                    "give another --output, or remove the folder to begin again"
                )
            reached = Reached(**state["reached"])
            with safe_open(self.folder / state["file"], "pt") as tensors, torch.no_grad():
                names = set(tensors.keys())
                for name, p in _learnt(model):
                    p.copy_(tensors.get_tensor(f"model.{name}"))
                    if f"exp_avg.{name}" in names:
                        moments = {m: tensors.get_tensor(f"{m}.{name}") for m in MOMENTS}
                        optimizer.state[p] = {m: moment.to(p.device) for m, moment in moments.items()}
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ArtefactError(
                f"{self.folder}: resume point is not whole ({type(error).__name__}); "
                "remove the folder to begin again"
            ) from None
        return reached


def _learnt(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Give the parameters that are learnt; a frozen base is read from its own file again."""
    return ((name, p) for name, p in model.named_parameters() if p.requires_grad)
