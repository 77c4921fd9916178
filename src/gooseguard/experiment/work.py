"""What `cost` measures beside scorers: a language model that answers, and random weights of a known size."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from gooseguard.codec.layout import RwkvConfig
from gooseguard.codec.prompt import encode, render
from gooseguard.core.errors import ConfigError, EngineError
from gooseguard.core.taxonomy import load_taxonomy, nearest
from gooseguard.models.generate import Sampling, generate
from gooseguard.models.language import LanguageModel
from gooseguard.models.mod_rwkv import ModRwkv, ModRwkvConfig
from gooseguard.models.rwkv import Rwkv

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

Model = TypeVar("Model", bound=nn.Module)

INSTRUCTION = "Is the text harmful? Answer with its categories and a reason."
"""What answers are measured with: short, since operators write their own."""

WORLD_ROWS = 65536
"""Rows of the World vocabulary."""

SHAPES = {"0.1B": (12, 768), "0.4B": (24, 1024), "1.5B": (24, 2048), "2.9B": (32, 2560)}
"""Size to layers and width. Source: the published RWKV-7 World checkpoints of these sizes."""

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
"""Name to what matrices are stored as."""


class AnswerWork:
    """Answers a short instruction about each text, one after the other."""

    def __init__(self, model: LanguageModel, name: str, n_token: int) -> None:
        """Take a model, what to call it, and how many tokens an answer has at most."""
        self._model = model
        self.name = name
        # No stop string: an answer of random weights has the length that is asked for.
        self._sampling = Sampling(max_tokens=n_token, stop=())

    def count_tokens(self, text: str) -> int:
        """Give how many tokens a text is, the instruction left out."""
        return len(self._model.tokenizer.encode(text))

    def run(self, texts: Sequence[str]) -> None:
        """Answer a batch."""
        for text in texts:
            prompt = encode(render(INSTRUCTION, text), self._model.tokenizer)
            for _ in generate(self._model, self._model.read(prompt), self._sampling):
                pass


class HeadsWork:
    """Scores texts with category heads of random weights, a padded batch at once."""

    def __init__(self, model: ModRwkv, name: str) -> None:
        self._model = model
        self._vocabulary = WordVocabulary(model.config.backbone.vocab_size)
        self.name = name

    def count_tokens(self, text: str) -> int:
        """Give how many tokens a text is."""
        return len(self._vocabulary.encode(text))

    @torch.inference_mode()
    def run(self, texts: Sequence[str]) -> None:
        """Score a batch.

        Raises:
            EngineError: a logit is not finite.
        """
        rows = [torch.tensor(self._vocabulary.encode(text)) for text in texts]
        lengths = torch.tensor([len(row) for row in rows])
        tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        if not bool(torch.isfinite(self._model(tokens, lengths)).all()):
            raise EngineError(f"{self.name} gave no finite logit; the figures would mean nothing")


class WordVocabulary:
    """A vocabulary for random weights: a word is a token. Which one matters to no figure."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def encode(self, text: str) -> list[int]:
        """Give an id for each word, never 0."""
        return [1 + zlib.crc32(word.encode()) % (self.vocab_size - 1) for word in text.split()]

    def decode(self, ids: Iterable[int]) -> bytes:
        """Give a word for each id."""
        return b"".join(b" w%d" % token for token in ids)


@dataclass(frozen=True, slots=True)
class RandomModel:
    """What random weights to draw."""

    size: str
    """A key of `SHAPES`."""
    version: str = "x070"
    """"x052", "x060" or "x070"."""
    dtype: str = "bf16"
    """Of the matrices, a key of `DTYPES`; vectors are f32."""
    seed: int = 0
    """Of the weights."""

    def config(self) -> RwkvConfig:
        """Give the sizes of the official model of this shape.

        Source: of x070, the ranks that RWKV-LM, `RWKV-v7/train_temp/src/model.py`, computes from the width.

        Raises:
            ConfigError: no such size or dtype.
            ArtefactError: no such version.
        """
        for what, value, known in (("size", self.size, SHAPES), ("dtype", self.dtype, DTYPES)):
            if value not in known:
                raise ConfigError(
                    f"bench: {what} {value!r} is unknown; expected {', '.join(known)}{nearest(value, known)}"
                )
        n_layer, C = SHAPES[self.size]
        ranks = {}
        if self.version == "x070":
            factors = {"w": 1.8 * C**0.5, "a": 1.8 * C**0.5, "v": 1.3 * C**0.5, "g": 0.6 * C**0.8}
            ranks = {f"rank_{name}": max(32, round(value / 32) * 32) for name, value in factors.items()}
        return RwkvConfig(n_layer, C, WORLD_ROWS, version=self.version, **ranks)

    def name(self, kind: str) -> str:
        """Give a name that says that the weights are random."""
        return f"random-{self.version}-{self.size}-{self.dtype}-{kind}@seed{self.seed}"

    def with_heads(self) -> HeadsWork:
        """Make a model with a head for each category."""
        with torch.device("meta"):
            model = ModRwkv(ModRwkvConfig(self.config(), tuple(load_taxonomy())))
        return HeadsWork(self._fill(model), self.name("heads"))

    def with_language_head(self, n_token: int) -> AnswerWork:
        """Make a model that answers with `n_token` tokens."""
        language = LanguageModel(self.language_backbone(), WordVocabulary(WORLD_ROWS))
        return AnswerWork(language, self.name(f"answer{n_token}"), n_token)

    def language_backbone(self) -> Rwkv:
        """Make a backbone with a language head, as an official checkpoint has it."""
        with torch.device("meta"):
            model = Rwkv(self.config(), has_head=True)
        return self._fill(model)

    def _fill(self, model: Model) -> Model:
        """Give a module on the meta device its weights, each tensor drawn once, in its final dtype."""
        generator = torch.Generator().manual_seed(self.seed)
        weights = {
            name: _draw(name, tensor.shape, DTYPES[self.dtype], generator)
            for name, tensor in model.state_dict().items()
        }
        model.load_state_dict(weights, assign=True)
        return model.requires_grad_(requires_grad=False).eval()


def _draw(name: str, shape: torch.Size, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """Draw a tensor of such magnitudes that activations neither vanish nor overflow."""
    is_matrix = name.endswith(("1", "2")) or (len(shape) == 2 and name.endswith(".weight"))
    if is_matrix and not name.startswith("categories."):
        bound = math.sqrt(3 / min(shape[-2:]))
        return torch.empty(shape, dtype=dtype).uniform_(-bound, bound, generator=generator)
    if ".ln" in f".{name}":
        return torch.ones(shape) if name.endswith("weight") else torch.zeros(shape)
    return torch.empty(shape).uniform_(0.0, 0.5, generator=generator)
