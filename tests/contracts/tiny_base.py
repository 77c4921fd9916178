"""Tiny random bases in the official layout, with the magnitudes that training leaves; their vocabulary."""

import importlib.util
from pathlib import Path

import numpy as np

_path = Path(__file__).parents[1] / "parity" / "random_model.py"
_spec = importlib.util.spec_from_file_location("random_model", _path)
random_model = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(random_model)

VOCABULARY = 257
RANKS = {
    "x052": {},
    "x060": {"rank_w": 8, "rank_mix": 4},
    "x070": {"rank_w": 8, "rank_a": 8, "rank_v": 8, "rank_g": 8},
}


class Bytes:
    """A vocabulary of bytes: id 0 ends a text, ids 1 to 256 are the bytes."""

    vocab_size = VOCABULARY

    def encode(self, text):
        return [byte + 1 for byte in text.encode()]

    def decode(self, ids):
        return bytes(token - 1 for token in ids if token)


def make_tensors(version="x070", seed=0, n_embd=32, vocab_size=VOCABULARY, n_layer=2):
    """Give float32 tensors, language head included, and their config."""
    from gooseguard.codec.layout import RwkvConfig

    config = RwkvConfig(
        n_layer=n_layer,
        n_embd=n_embd,
        vocab_size=vocab_size,
        head_size=16,
        n_ffn=48,
        version=version,
        **RANKS[version],
    )
    return random_model.random_tensors(config, np.random.default_rng(seed)), config


def make_base(version="x070", seed=0, **sizes):
    """Give the torch model."""
    import torch

    from gooseguard.models.rwkv import Rwkv

    tensors, config = make_tensors(version, seed, **sizes)
    model = Rwkv(config, has_head=True)
    model.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()})
    return model.requires_grad_(requires_grad=False).eval()


def write_base(path, version="x070", seed=0, dtype=None, **sizes):
    """Write a `.pth` or safetensors file; gives the path."""
    from gooseguard.models.official import write_official

    return write_official(make_base(version, seed, **sizes), path, dtype)


def shake(model, seed=1):
    """Give every delta of a model a B that is not zero, as training would."""
    import torch

    from gooseguard.models.lora import lora_layers

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, layer in lora_layers(model):
            layer.lora_b.copy_(0.05 * torch.randn(layer.lora_b.shape, generator=generator))
    return model
