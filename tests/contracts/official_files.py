"""Random official checkpoints, written by torch alone as real files under the official names; a vocabulary.

What is tested reads them as it would read those that were published.
"""

import importlib.util
from pathlib import Path

import numpy as np
import torch

from gooseguard.codec.layout import RwkvConfig
from gooseguard.codec.world import WorldTokenizer
from gooseguard.models.language import LanguageModel
from gooseguard.models.official import load_official

VERSIONS = ("x052", "x060", "x070")
WORLD_ROWS = 65536

_spec = importlib.util.spec_from_file_location(
    "random_model", Path(__file__).parents[1] / "parity" / "random_model.py"
)
random_model = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(random_model)


def make_config(version, vocab_size=WORLD_ROWS):
    ranks = {
        "x052": {},
        "x060": {"rank_w": 8, "rank_mix": 4},
        "x070": {"rank_w": 8, "rank_a": 8, "rank_v": 8, "rank_g": 8},
    }[version]
    return RwkvConfig(2, 32, vocab_size, head_size=16, n_ffn=64, version=version, **ranks)


def write_pth(path, version, vocab_size=WORLD_ROWS, seed=0, dtype=torch.bfloat16):
    """Write a checkpoint with a language head as `.pth`, as RWKV-LM does: `torch.save` of the tensors."""
    tensors = random_model.random_tensors(make_config(version, vocab_size), np.random.default_rng(seed))
    # Logits that differ by a few, as those of a trained model do.
    tensors["head.weight"] = 4 * tensors["head.weight"]
    torch.save({name: torch.from_numpy(tensor).to(dtype) for name, tensor in tensors.items()}, path)
    return path


def byte_vocabulary(*words):
    """Give a vocabulary of all single bytes, id 1 + byte, and of `words` after them, from id 257 on."""
    return WorldTokenizer([b"", *(bytes([byte]) for byte in range(256)), *(word.encode() for word in words)])


def load_small(folder, version, *words, seed=0):
    """Write and load a float32 model with a vocabulary of bytes and `words`."""
    vocabulary = byte_vocabulary(*words)
    path = write_pth(folder / f"{version}-{seed}.pth", version, vocabulary.vocab_size, seed, torch.float32)
    return LanguageModel(load_official(path), vocabulary, path)
