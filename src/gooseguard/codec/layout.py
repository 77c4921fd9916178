"""The layout of an RWKV-7 (x070) model: its config, and the official name and shape of each tensor.

Knows no framework: the torch module, the NumPy engine and the file readers all check against this.

Source: RWKV-LM, `RWKV-v7/rwkv_v7_demo.py` (BlinkDL, Apache-2.0), and the files published with RWKV/rwkv.cpp.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from gooseguard.core.errors import ArtefactError

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUP_NORM_EPSILON = 64e-5
"""Of `ln_x`. Source: `rwkv_v7_demo.py`, `nn.GroupNorm(H, C, eps=64e-5)`."""

LAYER_NORM_EPSILON = 1e-5
"""Of `ln0`, `ln1`, `ln2`, `ln_out`."""

VERSION = "x070"


@dataclass(frozen=True, slots=True)
class RwkvConfig:
    """Every size of an RWKV-7 backbone."""

    n_layer: int
    """Blocks."""
    n_embd: int
    """Width C of the residual stream."""
    vocab_size: int
    """Rows of the embedding."""
    head_size: int = 64
    """Width N of one head; C must be a multiple of it."""
    n_ffn: int = 0
    """Hidden width of the channel mix; 0 gives 4 C."""
    rank_w: int = 32
    """LoRA rank of the decay."""
    rank_a: int = 32
    """LoRA rank of the in-context learning rate."""
    rank_v: int = 32
    """LoRA rank of the value residual (layers 1 and up)."""
    rank_g: int = 32
    """LoRA rank of the gate."""
    version: str = VERSION
    """Architecture; x070 is Goose."""

    def __post_init__(self) -> None:
        if self.n_ffn == 0:
            object.__setattr__(self, "n_ffn", 4 * self.n_embd)
        for name, value in asdict(self).items():
            if name != "version" and value < 1:
                raise ArtefactError(f"model config: {name} is {value}, expected at least 1")
        if self.version != VERSION:
            raise ArtefactError(f"model config: version is {self.version!r}, expected {VERSION!r}")
        if self.n_embd % self.head_size:
            raise ArtefactError(
                f"model config: n_embd {self.n_embd} is no multiple of head_size {self.head_size}"
            )

    @property
    def n_head(self) -> int:
        """Heads H a layer."""
        return self.n_embd // self.head_size


def tensor_shapes(config: RwkvConfig) -> dict[str, tuple[int, ...]]:
    """Give the official name and shape of each backbone tensor, the language head left out.

    Matrices named `*.weight` are stored (out, in), LoRA factors `w1 w2 …` (in, out), as officially.
    """
    C, H, N, F = config.n_embd, config.n_head, config.head_size, config.n_ffn
    shapes: dict[str, tuple[int, ...]] = {"emb.weight": (config.vocab_size, C)}
    for i in range(config.n_layer):
        block = f"blocks.{i}."
        norms = ["ln0", "ln1", "ln2"] if i == 0 else ["ln1", "ln2"]
        for norm in [*norms, "att.ln_x"]:
            shapes[f"{block}{norm}.weight"] = (C,)
            shapes[f"{block}{norm}.bias"] = (C,)
        for name in "rwkvag":
            shapes[f"{block}att.x_{name}"] = (1, 1, C)
        ranks = {"w": config.rank_w, "a": config.rank_a, "g": config.rank_g}
        if i > 0:
            ranks["v"] = config.rank_v
        for name, rank in ranks.items():
            if name != "g":
                shapes[f"{block}att.{name}0"] = (1, 1, C)
            shapes[f"{block}att.{name}1"] = (C, rank)
            shapes[f"{block}att.{name}2"] = (rank, C)
        shapes[f"{block}att.k_k"] = (1, 1, C)
        shapes[f"{block}att.k_a"] = (1, 1, C)
        shapes[f"{block}att.r_k"] = (H, N)
        for name in ("receptance", "key", "value", "output"):
            shapes[f"{block}att.{name}.weight"] = (C, C)
        shapes[f"{block}ffn.x_k"] = (1, 1, C)
        shapes[f"{block}ffn.key.weight"] = (F, C)
        shapes[f"{block}ffn.value.weight"] = (C, F)
    shapes["ln_out.weight"] = (C,)
    shapes["ln_out.bias"] = (C,)
    return shapes


def infer_config(shapes: Mapping[str, tuple[int, ...]]) -> RwkvConfig:
    """Read the config off the shapes of a checkpoint's tensors.

    Raises:
        ArtefactError: the tensors are not those of an RWKV-7 model; the message lists what is wrong.
    """
    if "emb.weight" not in shapes or "blocks.0.att.r_k" not in shapes or "blocks.0.att.w1" not in shapes:
        raise ArtefactError(
            "checkpoint has no emb.weight, blocks.0.att.r_k and blocks.0.att.w1; expected RWKV-7 (x070)"
        )
    vocab_size, n_embd = shapes["emb.weight"]
    n_layer = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("blocks."))
    config = RwkvConfig(
        n_layer=n_layer,
        n_embd=n_embd,
        vocab_size=vocab_size,
        head_size=shapes["blocks.0.att.r_k"][1],
        n_ffn=shapes.get("blocks.0.ffn.key.weight", (0,))[0],
        rank_w=shapes["blocks.0.att.w1"][1],
        rank_a=shapes.get("blocks.0.att.a1", (0, 32))[1],
        rank_v=shapes.get("blocks.1.att.v1", (0, 32))[1],
        rank_g=shapes.get("blocks.0.att.g1", (0, 32))[1],
    )
    check_shapes(shapes, config)
    return config


# Some official files carry a value residual in layer 0, never read; a language head is optional.
OPTIONAL_TENSORS = frozenset({"head.weight", *(f"blocks.0.att.v{i}" for i in range(3))})


def check_shapes(shapes: Mapping[str, tuple[int, ...]], config: RwkvConfig) -> None:
    """Check that exactly the tensors of `config` are there, each of its shape.

    Raises:
        ArtefactError: with the list of missing, unexpected and misshaped tensors.
    """
    expected = tensor_shapes(config)
    missing = sorted(set(expected) - set(shapes))
    unexpected = sorted(set(shapes) - set(expected) - OPTIONAL_TENSORS)
    misshaped = [
        f"{name} is {tuple(shapes[name])}, expected {shape}"
        for name, shape in expected.items()
        if name in shapes and tuple(shapes[name]) != shape
    ]
    findings = [
        *(f"{name} is missing" for name in missing),
        *(f"{name} is unexpected" for name in unexpected),
        *misshaped,
    ]
    if findings:
        shown = "; ".join(findings[:12]) + (f"; and {len(findings) - 12} more" if len(findings) > 12 else "")
        raise ArtefactError(f"checkpoint does not hold an RWKV-7 model of its own config: {shown}")
