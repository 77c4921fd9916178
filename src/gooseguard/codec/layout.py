"""The layout of an RWKV model: its config, and the official name and shape of each tensor.

Knows three versions: x052 (RWKV-5.2, Eagle), x060 (RWKV-6, Finch), x070 (RWKV-7, Goose). Knows no framework:
the torch module, the NumPy engine and the file readers all check against this. A config is read off the
shapes of a checkpoint's tensors, never off its file name.

Source: RWKV-LM, `RWKV-v5/src/model.py` (x052, x060) and `RWKV-v7/rwkv_v7_demo.py` (BlinkDL, Apache-2.0), and
the files published with RWKV/rwkv.cpp.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from gooseguard.codec.architecture import describe
from gooseguard.core.errors import ArtefactError

if TYPE_CHECKING:
    from collections.abc import Mapping

    Shape = tuple[int, ...]

GROUP_NORM_EPSILON = 64e-5
"""Of `ln_x` where heads are 64 wide, as in every published model of size. Source: `rwkv_v7_demo.py`,
`nn.GroupNorm(H, C, eps=64e-5)`; `RwkvConfig.group_norm_epsilon` has the other case."""

LAYER_NORM_EPSILON = 1e-5
"""Of `ln0`, `ln1`, `ln2`, `ln_out`."""

VERSION = "x070"
"""What we train."""

VERSION_NAMES = {"x052": "RWKV-5.2", "x060": "RWKV-6", "x070": "RWKV-7"}
"""Version to the name people know."""

RANKS = {
    "x052": {},
    "x060": {"rank_w": 64, "rank_mix": 32},
    "x070": {"rank_w": 32, "rank_a": 32, "rank_v": 32, "rank_g": 32},
}
"""The LoRA ranks that a version has, and their defaults."""

OPTIONAL_TENSORS = frozenset({"head.weight", *(f"blocks.0.att.v{i}" for i in range(3))})
"""A language head, and the value residual that some x070 files carry in layer 0, where nothing reads it."""


@dataclass(frozen=True, slots=True)
class RwkvConfig:
    """Every size of an RWKV backbone."""

    n_layer: int
    """Blocks."""
    n_embd: int
    """Width C of the residual stream."""
    vocab_size: int
    """Rows of the embedding."""
    head_size: int = 64
    """Width N of one head; C must be a multiple of it."""
    n_ffn: int = 0
    """Hidden width of the channel mix; 0 gives 4 C in x070, else 3.5 C cut to a multiple of 32."""
    rank_w: int = 0
    """LoRA rank of the decay (x060, x070); 0 gives the version's default, as for each rank below."""
    rank_a: int = 0
    """LoRA rank of the in-context learning rate (x070)."""
    rank_v: int = 0
    """LoRA rank of the value residual (x070, layers 1 and up)."""
    rank_g: int = 0
    """LoRA rank of the gate (x070)."""
    version: str = VERSION
    """Architecture; x052 is Eagle, x060 Finch, x070 Goose."""
    rank_mix: int = 0
    """LoRA rank of the five data-dependent token shifts (x060)."""

    def __post_init__(self) -> None:
        if self.version not in RANKS:
            raise ArtefactError(
                f"model config: version is {self.version!r}, expected {VERSION!r} or another of "
                f"{', '.join(RANKS)}"
            )
        ranks = RANKS[self.version]
        for name, default in {"n_ffn": _default_ffn(self.version, self.n_embd), **ranks}.items():
            if getattr(self, name) == 0:
                object.__setattr__(self, name, default)
        for name in sizes_of(self.version):
            if getattr(self, name) < 1:
                raise ArtefactError(f"model config: {name} is {getattr(self, name)}, expected at least 1")
        for field in fields(self):
            if field.name.startswith("rank_") and field.name not in ranks and getattr(self, field.name):
                raise ArtefactError(
                    f"model config: {field.name} is {getattr(self, field.name)}, expected 0; "
                    f"{self.version} has no such LoRA"
                )
        if self.n_embd % self.head_size:
            raise ArtefactError(
                f"model config: n_embd {self.n_embd} is no multiple of head_size {self.head_size}"
            )

    @property
    def n_head(self) -> int:
        """Heads H a layer."""
        return self.n_embd // self.head_size

    @property
    def group_norm_epsilon(self) -> float:
        """Give the epsilon of `ln_x`.

        RWKV-5.2 was trained with `GroupNorm(x / divisor)` and epsilon 1e-5, which is an epsilon of 1e-5 *
        divisor ** 2 on x itself. The divisor is not in the file: it is 8 for heads of 64 (RWKV-LM's default),
        and 1 for the heads of 8 of the tiny model published with rwkv.cpp, whose logits no other value gives.

        Source: RWKV-LM, `RWKV-v5/src/model.py`, `head_size_divisor`; the `rwkv` package writes 64e-5.
        """
        return 1e-5 * (self.head_size / 8) ** 2 if self.version == "x052" else GROUP_NORM_EPSILON

    def to_json(self) -> dict[str, int | str]:
        """Give the sizes that this version has, and the version: digests cover exactly these."""
        table = asdict(self)
        return {name: table[name] for name in (*sizes_of(self.version), "version")}


def _default_ffn(version: str, n_embd: int) -> int:
    # Source: RWKV-LM, `train.py`: `int((args.n_embd * 3.5) // 32 * 32)`, at least one multiple.
    return 4 * n_embd if version == "x070" else max(int(n_embd * 3.5) // 32 * 32, 32)


def sizes_of(version: str) -> tuple[str, ...]:
    """Give the names of the whole numbers that a config of `version` is written with."""
    return ("n_layer", "n_embd", "vocab_size", "head_size", "n_ffn", *RANKS.get(version, RANKS[VERSION]))


def tensor_shapes(config: RwkvConfig, *, has_head: bool = False) -> dict[str, tuple[int, ...]]:
    """Give the official name and shape of each tensor of the backbone, and of the language head on request.

    Matrices named `*.weight` are stored (out, in), LoRA factors `w1 w2 …` (in, out), as officially.
    """
    C = config.n_embd
    time_mix, channel_mix = {
        "x052": (_eagle_time_mix, _eagle_channel_mix),
        "x060": (_finch_time_mix, _finch_channel_mix),
        "x070": (_goose_time_mix, _goose_channel_mix),
    }[config.version]
    shapes: dict[str, Shape] = {"emb.weight": (config.vocab_size, C)}
    for i in range(config.n_layer):
        block = f"blocks.{i}."
        norms = ["ln0", "ln1", "ln2"] if i == 0 else ["ln1", "ln2"]
        for norm in [*norms, "att.ln_x"]:
            shapes[f"{block}{norm}.weight"] = (C,)
            shapes[f"{block}{norm}.bias"] = (C,)
        for part, table in (("att", time_mix(config, i)), ("ffn", channel_mix(config))):
            shapes |= {f"{block}{part}.{name}": shape for name, shape in table.items()}
    shapes["ln_out.weight"] = (C,)
    shapes["ln_out.bias"] = (C,)
    if has_head:
        shapes["head.weight"] = (config.vocab_size, C)
    return shapes


def _square(C: int, *names: str) -> dict[str, Shape]:
    return {f"{name}.weight": (C, C) for name in names}


def _goose_time_mix(config: RwkvConfig, layer: int) -> dict[str, Shape]:
    C = config.n_embd
    shapes: dict[str, Shape] = {f"x_{name}": (1, 1, C) for name in "rwkvag"}
    ranks = {"w": config.rank_w, "a": config.rank_a, "g": config.rank_g}
    if layer > 0:
        ranks["v"] = config.rank_v
    for name, rank in ranks.items():
        if name != "g":
            shapes[f"{name}0"] = (1, 1, C)
        shapes[f"{name}1"] = (C, rank)
        shapes[f"{name}2"] = (rank, C)
    shapes |= {"k_k": (1, 1, C), "k_a": (1, 1, C), "r_k": (config.n_head, config.head_size)}
    return shapes | _square(C, "receptance", "key", "value", "output")


def _goose_channel_mix(config: RwkvConfig) -> dict[str, Shape]:
    C, F = config.n_embd, config.n_ffn
    return {"x_k": (1, 1, C), "key.weight": (F, C), "value.weight": (C, F)}


def _finch_time_mix(config: RwkvConfig, _layer: int) -> dict[str, Shape]:
    C, D, H, N = config.n_embd, config.rank_mix, config.n_head, config.head_size
    shapes: dict[str, Shape] = {f"time_maa_{name}": (1, 1, C) for name in "xwkvrg"}
    shapes |= {"time_maa_w1": (C, 5 * D), "time_maa_w2": (5, D, C)}
    shapes |= {"time_decay": (1, 1, C), "time_faaaa": (H, N)}
    shapes |= {"time_decay_w1": (C, config.rank_w), "time_decay_w2": (config.rank_w, C)}
    return shapes | _square(C, "receptance", "key", "value", "output", "gate")


def _finch_channel_mix(config: RwkvConfig) -> dict[str, Shape]:
    C, F = config.n_embd, config.n_ffn
    lerps: dict[str, Shape] = {"time_maa_k": (1, 1, C), "time_maa_r": (1, 1, C)}
    return lerps | {"key.weight": (F, C), "receptance.weight": (C, C), "value.weight": (C, F)}


def _eagle_time_mix(config: RwkvConfig, _layer: int) -> dict[str, Shape]:
    C, H, N = config.n_embd, config.n_head, config.head_size
    shapes: dict[str, Shape] = {f"time_mix_{name}": (1, 1, C) for name in "kvrg"}
    shapes |= {"time_decay": (H, N), "time_faaaa": (H, N)}
    return shapes | _square(C, "receptance", "key", "value", "output", "gate")


def _eagle_channel_mix(config: RwkvConfig) -> dict[str, Shape]:
    names = _finch_channel_mix(config)
    return {name.replace("time_maa", "time_mix"): shape for name, shape in names.items()}


def infer_config(shapes: Mapping[str, tuple[int, ...]]) -> RwkvConfig:
    """Read the config off the shapes of a checkpoint's tensors.

    Raises:
        ArtefactError: the tensors are of another architecture (the message says which it looks like), or
            they are not those of one whole model (it lists what is wrong).
    """
    version = describe(shapes)
    if version not in RANKS:
        raise ArtefactError(
            f"checkpoint looks like {version}; expected RWKV-7 (x070), RWKV-6 (x060) or RWKV-5.2 (x052) "
            "under the official tensor names"
        )

    def size(name: str, axis: int) -> int:
        shape = tuple(shapes.get(name, ()))
        # A missing or misshaped tensor leaves the default; `check_shapes` then reports it.
        return shape[axis] if len(shape) > axis else 0

    heads = {"x052": "time_decay", "x060": "time_faaaa", "x070": "r_k"}[version]
    ranks = {
        "x052": {},
        "x060": {"rank_w": size("blocks.0.att.time_decay_w1", 1), "rank_mix": size(_MIX, 1)},
        "x070": {
            "rank_w": size("blocks.0.att.w1", 1),
            "rank_a": size("blocks.0.att.a1", 1),
            "rank_v": size("blocks.1.att.v1", 1),
            "rank_g": size("blocks.0.att.g1", 1),
        },
    }[version]
    layers = [int(found[1]) for name in shapes if (found := re.match(r"blocks\.(\d{1,4})\.", name))]
    config = RwkvConfig(
        n_layer=1 + max(layers),
        n_embd=size("emb.weight", 1),
        vocab_size=size("emb.weight", 0),
        head_size=size(f"blocks.0.att.{heads}", 1),
        n_ffn=size("blocks.0.ffn.key.weight", 0),
        version=version,
        **ranks,
    )
    check_shapes(shapes, config)
    return config


_MIX = "blocks.0.att.time_maa_w2"


def check_shapes(shapes: Mapping[str, tuple[int, ...]], config: RwkvConfig) -> None:
    """Check that exactly the tensors of `config` are there, each of its shape.

    A language head may be there or not; the value residual of layer 0 as well, in x070.

    Raises:
        ArtefactError: with the list of missing, unexpected and misshaped tensors.
    """
    expected = tensor_shapes(config)
    optional = OPTIONAL_TENSORS if config.version == "x070" else {"head.weight"}
    if "head.weight" in shapes:
        expected["head.weight"] = (config.vocab_size, config.n_embd)
    missing = sorted(set(expected) - set(shapes))
    unexpected = sorted(set(shapes) - set(expected) - optional)
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
        raise ArtefactError(
            f"checkpoint does not hold an {VERSION_NAMES[config.version]} model of its own config: {shown}"
        )
