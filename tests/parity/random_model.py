"""Random RWKV models with the magnitudes that training leaves: every path of the maths carries weight."""

import numpy as np

from gooseguard.codec.layout import RwkvConfig, tensor_shapes


def four_heads() -> RwkvConfig:
    """Give the config of the parity tests: 3 layers, 4 heads of 64."""
    return RwkvConfig(
        n_layer=3, n_embd=256, vocab_size=97, n_ffn=512, rank_w=24, rank_a=16, rank_v=8, rank_g=32
    )


def two_heads(version: str) -> RwkvConfig:
    """Give a config of `version`: 3 layers, 2 heads of 64, an FFN and LoRA ranks of their own."""
    ranks = {
        "x052": {},
        "x060": {"rank_w": 24, "rank_mix": 12},
        "x070": {"rank_w": 24, "rank_a": 16, "rank_v": 8, "rank_g": 32},
    }[version]
    return RwkvConfig(n_layer=3, n_embd=128, vocab_size=97, n_ffn=224, version=version, **ranks)


def random_tensors(config: RwkvConfig, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw every backbone tensor and `head.weight`, float32, under the official names and shapes.

    LoRA factors and bonuses are not zero, decays spread over their whole range, norms are not the identity.
    """
    C = config.n_embd
    return {
        name: np.ascontiguousarray(_draw(name, shape, C, rng), dtype=np.float32)
        for name, shape in (tensor_shapes(config) | {"head.weight": (config.vocab_size, C)}).items()
    }


def _draw(name: str, shape: tuple[int, ...], C: int, rng: np.random.Generator) -> np.ndarray:
    leaf = name.rsplit(".", 1)[-1] if not name.endswith((".weight", ".bias")) else name.split(".", 2)[-1]
    if leaf.startswith(("x_", "time_mix_", "time_maa_")) and leaf[-1] not in "12":
        return rng.uniform(0.0, 1.0, shape)
    if leaf == "time_decay":
        # Decays exp(-exp(·)) from 0.9975 a token to 6e-4.
        return rng.uniform(-6.0, 2.0, shape)
    if leaf == "time_faaaa":
        return rng.normal(0.0, 0.5, shape)
    if leaf == "w0":
        return rng.uniform(-6.0, 2.0, shape)
    if leaf in ("a0", "v0"):
        return rng.normal(0.0, 1.0, shape)
    if leaf in ("k_k", "k_a"):
        return rng.uniform(0.5, 1.2, shape)
    if leaf == "r_k":
        return rng.normal(0.0, 0.2, shape)
    if leaf[-1] in "12":
        return rng.normal(0.0, 1.0 / np.sqrt(shape[-2]), shape)
    if name == "emb.weight":
        return rng.normal(0.0, 0.5, shape)
    if ".ln" in f".{name}" and name.endswith("weight"):
        return rng.normal(1.0, 0.2, shape)
    if name.endswith("bias"):
        return rng.normal(0.0, 0.1, shape)
    return rng.normal(0.0, 1.0 / np.sqrt(shape[1]), shape)
