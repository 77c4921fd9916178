"""A tiny random text model, for every test that needs a whole one: 2 layers, width 64, 300 embedding rows."""

import importlib.util
from itertools import pairwise
from pathlib import Path

import numpy as np

from gooseguard.codec.byte_pairs import FIRST_BYTE
from gooseguard.codec.layout import RwkvConfig
from gooseguard.codec.scores import Calibration
from gooseguard.codec.text_model import TextModel, TextModelConfig, vocabulary_digest
from gooseguard.codec.tokenizer import Tokenizer


def _load(folder: str, name: str):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_random_model = _load("parity", "random_model")
ngram_definition = _load("contracts", "ngram_definition")

CATEGORIES = ("toxicity", "insult", "hate/threatening")
NAME = "tiny-text"
LANGUAGES = ("de", "en")
CARD = {"data": {"rows": 3}, "note": "für Tests"}


def make_tokenizer() -> Tokenizer:
    """A byte vocabulary with the merges of " the" and of "oron"."""
    merges = []
    next_id = FIRST_BYTE + 256
    for word in (b" the", b"oron"):
        ids = [FIRST_BYTE + byte for byte in word]
        left = ids[0]
        for _, right in pairwise(ids):
            merges.append((left, right))
            left, next_id = next_id, next_id + 1
    return Tokenizer(merges)


RANKS = {
    "x052": {},
    "x060": {"rank_w": 8, "rank_mix": 8},
    "x070": {"rank_w": 8, "rank_a": 8, "rank_v": 8, "rank_g": 8},
}


def make_model(seed: int = 1, name: str = NAME, version: str = "x070", n_pairs: int = 0) -> TextModel:
    rng = np.random.default_rng(seed)
    backbone = RwkvConfig(
        n_layer=2, n_embd=64, vocab_size=300, head_size=32, n_ffn=96, version=version, **RANKS[version]
    )
    tensors = {
        f"backbone.{tensor}": values
        for tensor, values in _random_model.random_tensors(backbone, rng).items()
        if tensor != "head.weight"
    }
    tensors["categories.weight"] = rng.normal(0, 0.2, (len(CATEGORIES), 192)).astype(np.float32)
    tensors["categories.bias"] = rng.normal(0, 0.2, len(CATEGORIES)).astype(np.float32)
    if n_pairs:
        tensors |= ngram_definition.make_tables(backbone.vocab_size, n_pairs, len(CATEGORIES), rng)
        # Of letters, so that texts hold them.
        keys = np.sort(rng.choice(30**2, n_pairs, replace=False))
        tensors["ngrams.pair_first"] = (keys // 30 + FIRST_BYTE + ord("a") - 2).astype(np.float32)
        tensors["ngrams.pair_second"] = (keys % 30 + FIRST_BYTE + ord("a") - 2).astype(np.float32)
    tokenizer = make_tokenizer()
    vocabulary = vocabulary_digest(tokenizer.to_json())
    config = TextModelConfig(name, backbone, CATEGORIES, LANGUAGES, vocabulary, n_pairs=n_pairs)
    calibration = Calibration(CATEGORIES, np.array([0.5, 1.0, 1.25]), np.array([0.0, -1.0, 0.25]))
    return TextModel(config, tensors, calibration, tokenizer, CARD)


def make_torch(model: TextModel):
    """Give the torch module of the same weights."""
    import torch

    from gooseguard.models.mod_rwkv import ModRwkv, ModRwkvConfig

    module = ModRwkv(ModRwkvConfig(model.config.backbone, model.config.categories, model.config.n_pairs))
    module.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in model.tensors.items()})
    return module.eval()


def write(folder: Path, model: TextModel, **changes) -> Path:
    """Write a checkpoint folder of the model."""
    from gooseguard.models.checkpoint import write_checkpoint

    facts = {
        "name": model.config.name,
        "tokenizer": model.tokenizer,
        "calibration": model.calibration.to_json(),
        "languages": model.config.languages,
        "card": model.card,
        "config": {"seed": 3, "loop": {"rate": 0.5}},
        "inputs": {"dataset": "ab" * 32},
    }
    return write_checkpoint(folder, make_torch(model), **facts | changes)
