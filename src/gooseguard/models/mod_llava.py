"""Mod-LLaVA: LLaVA 1.5 from a local folder, as a language model that reads images; LoRA by peft, and merging.

The model is transformers' `LlavaForConditionalGeneration`. Here it has the surface of `LanguageModel`, so
that scores and answers are made of it as of every other: a prompt is read once, and questions go on from its
keys and values, which unlike the state of an RWKV grow with every token. Nothing is fetched.

| letter | what |
| --- | --- |
| T V | tokens, rows of the vocabulary |
| F L C | frames of an image, rows an image becomes, width of the language model |

Source: Liu et al., *Improved Baselines with Visual Instruction Tuning* (arXiv 2310.03744); layout and prompt
(`USER: <image>`, a line feed, the question, ` ASSISTANT:`) are those of `llava-hf/llava-1.5-7b-hf`.
"""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BitsAndBytesConfig, DynamicCache, LlavaForConditionalGeneration

from gooseguard.codec.image import DEFAULT_LIMITS, Preprocessing, preprocess, read_preprocessing
from gooseguard.codec.prompt import TEMPLATES, TURN_END
from gooseguard.codec.visual_prompt import VISUAL_PROMPT_VERSION
from gooseguard.core.content import Modality
from gooseguard.core.errors import ArtefactError, ConfigError, EngineError
from gooseguard.core.manifest import canonical_json, digest_file
from gooseguard.models.language import LanguageModel, Prefix
from gooseguard.models.vision import FeatureCache

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gooseguard.codec.image import ImageLimits

ADAPTER_FILE = "adapter_config.json"
"""What makes a folder one of peft's adapters; it names its base."""

FRAMES = {
    TEMPLATES["chat"].before_instruction: " USER:",
    f"{TEMPLATES['chat'].before_instruction} ": " USER: ",
    TEMPLATES["chat"].before_answer: " ASSISTANT:",
}
"""What the frames of our prompts are in LLaVA's own format."""

QUANTISATIONS: dict[str, dict[str, Any]] = {
    "int8": {"load_in_8bit": True},
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
}
"""What bitsandbytes makes of the matrices, where it is installed and knows the device."""


class LlavaTokenizer:
    """LLaVA's tokenizer, from `tokenizer.json`, for pieces of prompts: contents hold no special tokens."""

    def __init__(self, tokenizer: Tokenizer, begin: int, end: int) -> None:
        """Take a Llama tokenizer, and the ids that begin and end a text."""
        self._tokenizer = tokenizer
        self._tokenizer.encode_special_tokens = True
        self.begin, self.end = begin, end
        added = self._tokenizer.get_added_tokens_decoder()
        self._special = frozenset(number for number, token in added.items() if token.special)
        # A tokenizer of this kind puts a space before a text. After a line feed, which joins with nothing, it
        # does not: so pieces are encoded as in the middle of a text.
        self._n_lead = len(self._tokenizer.encode("\n", add_special_tokens=False).ids)

    @property
    def vocab_size(self) -> int:
        """Give one more than the largest token id."""
        size: int = self._tokenizer.get_vocab_size(with_added_tokens=True)
        return size

    def encode(self, text: str) -> list[int]:
        """Give the token ids of a piece; the end of a turn is the token that ends a text."""
        if text == TURN_END:
            return [self.end]
        ids: list[int] = self._tokenizer.encode(f"\n{FRAMES.get(text, text)}", add_special_tokens=False).ids
        return ids[self._n_lead :]

    def decode(self, ids: Iterable[int]) -> bytes:
        """Give the bytes of tokens; of the one that ends a text, the end of a turn."""
        texts = []
        for token in ids:
            word = self._tokenizer.id_to_token(token) or ""
            if token == self.end:
                texts.append(TURN_END.encode())
            elif token in self._special:
                continue
            elif word.startswith("<0x") and word.endswith(">") and len(word) == 6:
                # Half a character: the caller puts bytes together.
                texts.append(bytes([int(word[3:5], 16)]))
            else:
                texts.append(word.replace("\u2581", " ").encode())
        return b"".join(texts)


class LlavaModel(LanguageModel):
    """LLaVA as a language model. Safe to call from several threads: what was read is never changed."""

    family = "llava"
    modalities = frozenset({Modality.TEXT, Modality.IMAGE})

    def __init__(
        self,
        llava: nn.Module,
        tokenizer: LlavaTokenizer,
        preparation: Preprocessing,
        folders: Sequence[Path] = (),
        limits: ImageLimits = DEFAULT_LIMITS,
    ) -> None:
        """Take a model, its tokenizer, how it wants images, and the folders its weights are in."""
        self.llava: Any = llava.eval()
        self.tokenizer = tokenizer
        self._begin = tokenizer.begin
        self.preparation = preparation
        self._folders = folders
        self._limits = limits
        self._cache = FeatureCache()

    @property
    def module(self) -> nn.Module:
        """Give all that has weights."""
        module: nn.Module = self.llava
        return module

    @property
    def version(self) -> str:
        """Give the version in names."""
        return "1.5"

    @property
    def sizes(self) -> dict[str, int]:
        """Give layers and width of the language model."""
        config = self.llava.config.get_text_config()
        return {"layers": config.num_hidden_layers, "width": config.hidden_size}

    @property
    def n_row(self) -> int:
        """Give the rows of the vocabulary."""
        rows: int = self.llava.config.get_text_config().vocab_size
        return rows

    def _digest_weights(self) -> str:
        if not self._folders:
            return super()._digest_weights()
        files = [path for folder in self._folders for path in sorted(folder.iterdir())]
        wanted = [path for path in files if path.suffix in (".safetensors", ".json")]
        table = [*map(digest_file, wanted), VISUAL_PROMPT_VERSION, self._limits.sampled]
        return hashlib.sha256(canonical_json(table).encode()).hexdigest()

    def frames(self, data: bytes) -> Tensor:
        """Give the rows of each frame of an image file, (F, L, C); the tower's work is kept.

        Raises:
            ContentError: it is no whole image, or too large.
        """
        return self._cache.get(data, self._see)

    @torch.inference_mode()
    def _see(self, data: bytes) -> Tensor:
        pixels = torch.from_numpy(preprocess(data, self.preparation, self._limits))
        config = self.llava.config
        rows = [
            self.llava.get_image_features(
                pixel_values=one.unsqueeze(0).to(self._dtype),
                vision_feature_layer=config.vision_feature_layer,
                vision_feature_select_strategy=config.vision_feature_select_strategy,
            ).pooler_output[0]
            for one in pixels
        ]
        return torch.stack(rows)

    @property
    def _dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.llava.get_input_embeddings().weight.dtype
        return dtype

    @torch.inference_mode()
    def read(self, ids: Sequence[int], prefix: Prefix | None = None) -> Prefix:
        """Read tokens, at least one, from the beginning or from where `prefix` ends.

        Raises:
            EngineError: there is no token, or the model gives what is no number.
        """
        if not ids:
            raise EngineError("language model: there is no token to read; expected at least one")
        begin = [self._begin] if prefix is None else []
        return self._run(self._embed([*begin, *ids]), prefix)

    @torch.inference_mode()
    def look(self, rows: Tensor, prefix: Prefix | None = None) -> Prefix:
        """Read the rows of one frame, (L, C), from the beginning or from where `prefix` ends."""
        if prefix is None:
            rows = torch.cat([self._embed([self._begin]), rows])
        return self._run(rows, prefix)

    def branch(self, prefix: Prefix, suffixes: Sequence[Sequence[int]]) -> list[Prefix]:
        """Read several continuations of one prefix, each from the same keys and values."""
        return [self.read(suffix, prefix) for suffix in suffixes]

    @torch.inference_mode()
    def log_probs(self, prefix: Prefix, answers: Sequence[Sequence[int]]) -> list[float]:
        """Give the natural logarithm of the probability that the model goes on with each answer."""
        found = []
        for answer in answers:
            logits = prefix.logits.unsqueeze(0)
            if len(answer) > 1:
                logits = torch.cat([logits, self._forward(self._embed(answer[:-1]), prefix)[0]])
            chosen = torch.log_softmax(logits, -1).gather(1, torch.tensor(answer).unsqueeze(-1))
            found.append(float(chosen.double().sum()))
        return found

    def _embed(self, ids: Sequence[int]) -> Tensor:
        rows: Tensor = self.llava.get_input_embeddings()(torch.tensor(ids))
        return rows

    def _run(self, rows: Tensor, prefix: Prefix | None) -> Prefix:
        logits, cache = self._forward(rows, prefix)
        n_before = 0 if prefix is None else prefix.n_token
        return Prefix(logits[-1], cache, n_before + len(rows))

    def _forward(self, rows: Tensor, prefix: Prefix | None) -> tuple[Tensor, Any]:
        """Give the logits of rows, float32 (T, V), and keys and values after them."""
        # Copied, since a call appends to it: others may go on from the same prefix.
        text = self.llava.config.get_text_config()
        cache = DynamicCache(config=text) if prefix is None else copy.deepcopy(prefix.state)
        made = self.llava(inputs_embeds=rows.unsqueeze(0).to(self._dtype), cache=cache, use_cache=True)
        logits = made.logits[0].float()
        if not bool(torch.isfinite(logits).all()):
            raise EngineError("language model: a logit is not finite; is the checkpoint damaged?")
        return logits, cache


def load_llava(
    folder: Path, dtype: torch.dtype = torch.bfloat16, quantisation: str | None = None
) -> tuple[nn.Module, list[Path]]:
    """Load a model, and the adapter on it where the folder is one.

    Args:
        folder: as transformers writes LLaVA 1.5 (config, safetensors, tokenizer), or as peft writes an
            adapter, whose config names the folder of its base.
        dtype: of the weights.
        quantisation: a key of `QUANTISATIONS`; `None` as the folder's own config says.

    Returns:
        The model, frozen; and the folders of its weights, the base's first.

    Raises:
        ArtefactError: it is no whole model of this kind.
        ConfigError: the quantisation is unknown, or its library is not installed.
    """
    if (folder / ADAPTER_FILE).is_file():
        base = Path(read_json(folder / ADAPTER_FILE).get("base_model_name_or_path") or "")
        base = base if base.is_absolute() else folder / base
        if not (base / "config.json").is_file():
            raise ArtefactError(f"{folder}: its base is not at {base}; expected a LLaVA folder on disk")
        model, folders = load_llava(base, dtype, quantisation)
        return adapt(model, folder), [*folders, folder]
    options: dict[str, Any] = {"dtype": dtype, "local_files_only": True, "use_safetensors": True}
    if quantisation is not None:
        options["quantization_config"] = _quantisation(quantisation)
    try:
        model, report = LlavaForConditionalGeneration.from_pretrained(
            str(folder), output_loading_info=True, **options
        )
    except ImportError as error:
        raise ConfigError(f"quantisation {quantisation!r}: {str(error).splitlines()[0]}") from None
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise ArtefactError(
            f"{folder}: is no whole LLaVA model ({type(error).__name__}); expected config and safetensors"
        ) from None
    wrong = [f"{name} is missing" for name in sorted(report["missing_keys"])]
    wrong += [f"{name} is unexpected" for name in sorted(report["unexpected_keys"])]
    wrong += [f"{entry[0]} is misshaped" for entry in report.get("mismatched_keys", ())]
    if wrong:
        raise ArtefactError(f"{folder}: checkpoint does not fit: {'; '.join(wrong[:12])}")
    return model.requires_grad_(requires_grad=False).eval(), [folder]


def adapt(model: nn.Module, adapter: Path) -> nn.Module:
    """Put the deltas of a folder that peft wrote beside the matrices of its base; all stays frozen.

    Raises:
        ArtefactError: the folder is broken, or was learnt on a base of another shape.
    """
    from peft import PeftModel  # noqa: PLC0415  (only adapters need it)

    try:
        adapted: nn.Module = PeftModel.from_pretrained(model, str(adapter), local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as error:
        raise ArtefactError(
            f"{adapter}: is no whole adapter of this base ({type(error).__name__}); expected it as peft "
            "writes it"
        ) from None
    return adapted.requires_grad_(requires_grad=False).eval()


def _quantisation(name: str) -> BitsAndBytesConfig:
    if name not in QUANTISATIONS:
        raise ConfigError(f"quantisation is {name!r}, expected one of {', '.join(QUANTISATIONS)}")
    return BitsAndBytesConfig(**QUANTISATIONS[name])


def load_tokenizer(folder: Path) -> LlavaTokenizer:
    """Read `tokenizer.json`, and which of its tokens begin and end a text from `config.json`.

    Raises:
        ArtefactError: a file is missing or damaged.
    """
    path = folder / "tokenizer.json"
    table = read_json(folder / "config.json")
    text = table.get("text_config", {})
    try:
        # tokenizers raises a bare Exception at whatever it cannot read.
        tokenizer = Tokenizer.from_buffer(path.read_bytes())
    except Exception as error:  # noqa: BLE001  (as said above)
        raise ArtefactError(
            f"{path}: cannot be read ({type(error).__name__}); expected it as published"
        ) from None
    begin, end = text.get("bos_token_id", 1), text.get("eos_token_id", 2)
    if not (isinstance(begin, int) and isinstance(end, int)):
        raise ArtefactError(f"{folder}: config.json names no token that begins and one that ends a text")
    return LlavaTokenizer(tokenizer, begin, end)


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        ArtefactError: it does not.
    """
    try:
        table = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path}: cannot be read ({type(error).__name__}); expected JSON") from None
    if not isinstance(table, dict):
        raise ArtefactError(f"{path}: is no JSON object")
    return table


def load(
    path: Path,
    vocabulary: Path | None,
    threads: int,
    quantisation: str | None = None,
    dtype: torch.dtype = torch.bfloat16,
) -> LlavaModel:
    """Load a model that reads and writes text and reads images; raises as `load_llava`.

    Args:
        path: folder, as `load_llava`.
        vocabulary: must be `None`: the folder has its own.
        threads: of torch; set for the whole process.
        quantisation: as `load_llava`.
        dtype: of the weights.
    """
    if vocabulary is not None:
        raise ConfigError(f"vocabulary: {path} has its own; the option is for RWKV checkpoints")
    torch.set_num_threads(threads)
    llava, folders = load_llava(path, dtype, quantisation)
    base = folders[0]
    return LlavaModel(llava, load_tokenizer(base), read_preprocessing(base), folders)
