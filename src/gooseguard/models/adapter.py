"""Adapter folders: what fine-tuning learnt, beside the digest of the base it was learnt on.

An adapter is a low-rank delta on a base's matrices (`lora`), or the states that its layers begin with
(`state`). Format: docs/formats.md.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gooseguard.codec.stored_tensor import StoredTensor
from gooseguard.codec.text_model import weights_digest
from gooseguard.core.errors import ArtefactError, ConfigError
from gooseguard.core.manifest import Manifest, digest_file, open_artefact, read_manifest, write_manifest
from gooseguard.models.lora import LoraConfig, attach_lora, lora_layers
from gooseguard.models.rwkv import Rwkv, State, zero_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

KIND = "adapter"
ADAPTER_VERSION = 1
TENSORS_FILE = "adapter.safetensors"
STORED = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
"""How safetensors names a dtype."""


class Form(StrEnum):
    """What was learnt."""

    LORA = "lora"
    STATE = "state"


class InitialStates(nn.Module):
    """The states that the layers begin with, learnt; all else of the model stays as it is.

    Known from RWKV as state tuning: of the recurrent memory only the matrix state is learnt, the rows of the
    token shifts stay 0.
    """

    def __init__(self, model: Rwkv) -> None:
        super().__init__()
        self.config = model.config
        zero = zero_state(model.config, 1, model.emb.weight.device)
        # (L, H, N, N): one for all sequences.
        self.wkv = nn.Parameter(zero.wkv[:, 0].clone())

    def forward(self, n_sequence: int) -> State:
        """Give the state before the first token of so many sequences."""
        zero = zero_state(self.config, n_sequence, self.wkv.device)
        return State(zero.attention_shift, self.wkv.unsqueeze(1).expand_as(zero.wkv), zero.ffn_shift)


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """An adapter as it was read."""

    manifest: Manifest
    """What the folder says of itself."""
    form: Form
    """What was learnt."""
    base: str
    """Digest (hex) of the base's tensors."""
    tensors: Mapping[str, Tensor]
    """float32; of `lora` under the base's names, of `state` one (H, N, N) a layer, `blocks.0.att.state` …"""
    lora: LoraConfig | None
    """Sizes and places, of `lora`."""

    def check_base(self, digest: str, where: str) -> None:
        """Check that it was learnt on these weights.

        Raises:
            ArtefactError: it names another base.
        """
        if digest != self.base:
            raise ArtefactError(
                f"{where}: its weights are {digest[:12]}, the adapter was learnt on {self.base[:12]}; "
                "expected the very checkpoint that it was trained from"
            )

    def apply(self, model: Rwkv) -> State | None:
        """Put it into its base.

        Args:
            model: the base; changed in place by `lora`, left alone by `state`.

        Returns:
            Of `state`: the state to begin one sequence with. Of `lora`: None, which is the zero state.

        Raises:
            ArtefactError: the tensors do not fit the model; lists what is wrong.
        """
        if self.form is Form.LORA:
            assert self.lora is not None
            attach_lora(model, self.lora)
            _load(delta_parameters(model), self.tensors)
            return None
        states = InitialStates(model)
        _load({name: states.wkv[i] for i, name in enumerate(state_names(model))}, self.tensors)
        state: State = states.requires_grad_(requires_grad=False)(1)
        return state


def state_names(model: Rwkv) -> list[str]:
    """Give the name of each layer's initial state."""
    return [f"blocks.{i}.att.state" for i in range(model.config.n_layer)]


def delta_parameters(model: Rwkv) -> dict[str, Tensor]:
    """Give the parameters of all deltas under their names."""
    return {
        f"{name}.{factor}": getattr(layer, factor)
        for name, layer in lora_layers(model)
        for factor in ("lora_a", "lora_b")
    }


def _load(parameters: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    findings = [f"{name} is missing" for name in sorted(parameters.keys() - tensors.keys())]
    findings += [f"{name} is unexpected" for name in sorted(tensors.keys() - parameters.keys())]
    findings += [
        f"{name} is {tuple(tensors[name].shape)}, expected {tuple(p.shape)}"
        for name, p in parameters.items()
        if name in tensors and tensors[name].shape != p.shape
    ]
    if findings:
        more = f"; and {len(findings) - 12} more" if len(findings) > 12 else ""
        raise ArtefactError(f"adapter does not fit the model: {'; '.join(findings[:12])}{more}")
    with torch.no_grad():
        for name, p in parameters.items():
            p.copy_(tensors[name])


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Give the digest (hex) of weights that `codec.text_model.weights_digest` defines; reads one by one."""
    return weights_digest(_stored(name, tensors[name]) for name in sorted(tensors))


def _stored(name: str, tensor: Tensor) -> StoredTensor:
    if tensor.dtype not in STORED:
        raise ArtefactError(f"{name} is {tensor.dtype}, expected one of {', '.join(STORED.values())}")
    bits = tensor.detach().cpu().contiguous()
    # NumPy has no bfloat16.
    data = bits.view(torch.uint16) if tensor.dtype == torch.bfloat16 else bits
    return StoredTensor(name, STORED[tensor.dtype], data.numpy())


def write_adapter(
    folder: Path,
    tensors: Mapping[str, Tensor],
    *,
    base: str,
    lora: LoraConfig | None,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    facts: Mapping[str, Any],
) -> Path:
    """Write an adapter folder: beside, then renamed, so that it is whole or not there.

    Args:
        folder: replaced if it is an adapter already.
        tensors: what was learnt; stored as float32.
        base: digest (hex) of the base's tensors.
        lora: sizes and places; None for initial states.
        config: of the run, JSON values.
        inputs: name of each further input to its SHA-256.
        facts: of the run.

    Raises:
        ArtefactError: the folder holds something else, a number is not finite, or nothing can be written.
    """
    broken = sorted(name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all()))
    if broken:
        raise ArtefactError(
            f"adapter: {', '.join(broken[:6])} holds a number that is not finite; not written"
        )
    form = Form.STATE if lora is None else Form.LORA
    described = {"form": form.value, **({} if lora is None else asdict(lora))}
    with open_artefact(folder, KIND) as partial:
        save_file(
            {name: tensor.detach().to("cpu", torch.float32).contiguous() for name, tensor in tensors.items()},
            partial / TENSORS_FILE,
        )
        manifest = Manifest(
            kind=KIND,
            format_version=ADAPTER_VERSION,
            config=config,
            inputs={"base": base, **inputs},
            files={TENSORS_FILE: digest_file(partial / TENSORS_FILE)},
            facts={"adapter": described, **facts},
        )
        write_manifest(partial, manifest)
    return folder


def read_adapter(folder: Path) -> Adapter:
    """Read an adapter folder and verify it, which takes no time: it is small.

    Raises:
        ArtefactError: it is no whole adapter, or of a newer format.
    """
    manifest = read_manifest(folder, KIND, ADAPTER_VERSION, verify=True)
    described, base = manifest.facts.get("adapter"), manifest.inputs.get("base")
    if not isinstance(described, dict) or not re.fullmatch(r"[0-9a-f]{64}", str(base)):
        raise ArtefactError(f"{folder}: manifest does not name its base and form; make the adapter again")
    try:
        form = Form(described["form"])
        lora = None
        if form is Form.LORA:
            lora = LoraConfig(described["rank"], described["alpha"], tuple(described["targets"]))
        tensors = load_file(folder / TENSORS_FILE)
    except (KeyError, TypeError, ValueError, ConfigError, OSError, SafetensorError) as error:
        raise ArtefactError(f"{folder}: is no whole adapter ({type(error).__name__}: {error})") from None
    wrong = [name for name, tensor in tensors.items() if tensor.dtype != torch.float32]
    if wrong:
        raise ArtefactError(f"{folder}: {', '.join(wrong[:6])} is not float32; make the adapter again")
    return Adapter(manifest, form, str(base), tensors, lora)


def pairs(tensors: Mapping[str, Tensor]) -> Iterable[tuple[str, Tensor, Tensor]]:
    """Give the name of each matrix with a delta, such as "blocks.0.att.key.weight", and its two factors."""
    for name in sorted(tensors):
        if name.endswith(".lora_a"):
            stem = name.removesuffix(".lora_a")
            yield f"{stem}.weight", tensors[name], tensors[f"{stem}.lora_b"]
