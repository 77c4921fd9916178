"""What a text model is made of, checked as one whole, and its digest.

That is: config, tensors, calibration, vocabulary and card. Knows no framework and no file
layout: checkpoint folders, engine files and torch modules all become this.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gooseguard.codec.layout import OPTIONAL_TENSORS, RwkvConfig, check_shapes, sizes_of, tensor_shapes
from gooseguard.codec.ngram_head import ngram_shapes
from gooseguard.codec.stored_tensor import StoredTensor
from gooseguard.core.errors import ArtefactError
from gooseguard.core.manifest import canonical_json
from gooseguard.core.taxonomy import load_taxonomy, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gooseguard.codec.scores import Calibration
    from gooseguard.codec.tokenizer import Tokenizer

ARCHITECTURE = "mod-rwkv"
"""The only family so far: RWKV-7 with category heads on last, mean and maximum of the hidden states."""

NORMALIZER = 1
"""Version of `codec/normalize.py`: what it makes of a text is part of a model."""

BACKBONE_PREFIX = "backbone."
"""What the official tensor names stand behind."""

HEAD_WEIGHT, HEAD_BIAS = "categories.weight", "categories.bias"
"""(K, 3 C) and (K,)."""

Shape = tuple[int, ...]
"""Of a tensor."""


class Findings:
    """Collects what is wrong, so that one error can list it all."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Note an `ArtefactError` of the block and go on after it."""
        try:
            yield
        except ArtefactError as error:
            self.messages.append(str(error))

    def raise_any(self, where: str) -> None:
        """Raise what was noted, if anything, as one error that begins with `where`."""
        if self.messages:
            raise ArtefactError(f"{where}: {'; '.join(self.messages)}")


def is_model_name(name: str) -> bool:
    """Tell whether `name` can stand in "name@digest" and in a file name."""
    return bool(name) and not any(character.isspace() or character in "@/" for character in name)


@dataclass(frozen=True, slots=True)
class TextModelConfig:
    """What a text model is, weights and calibration aside."""

    name: str
    """Such as "starter-text"."""
    backbone: RwkvConfig
    """Every size of the backbone."""
    categories: tuple[str, ...]
    """Categories of the heads, in the order of their rows."""
    languages: tuple[str, ...]
    """Languages (BCP-47) of the training data, sorted."""
    vocabulary_sha256: str
    """SHA-256 (hex) of the vocabulary's canonical JSON: the digest of the model covers it through here."""
    architecture: str = ARCHITECTURE
    """The model family."""
    normalizer: int = NORMALIZER
    """Version of the normaliser."""
    n_pairs: int = 0
    """Pairs of tokens that the n-gram head knows; 0 where there is no such head."""

    def __post_init__(self) -> None:
        findings = []
        if self.architecture != ARCHITECTURE:
            findings.append(f"architecture is {self.architecture!r}, expected {ARCHITECTURE!r}")
        if self.normalizer != NORMALIZER:
            findings.append(
                f"normalizer is version {self.normalizer}, expected {NORMALIZER}; upgrade gooseguard"
            )
        if not is_model_name(self.name):
            findings.append(f"name is {self.name!r}, expected a name without spaces, @ and /")
        if self.n_pairs < 0:
            findings.append(f"n_pairs is {self.n_pairs}, expected at least 0")
        if not self.categories:
            findings.append("categories is empty, expected at least one")
        for key, names in (("categories", self.categories), ("languages", self.languages)):
            if len(set(names)) != len(names):
                findings.append(f"{key} names one twice")
        taxonomy = load_taxonomy()
        findings += [
            f"unknown category {name!r}{nearest(name, taxonomy)}"
            for name in self.categories
            if name not in taxonomy
        ]
        if findings:
            raise ArtefactError(f"model config: {'; '.join(findings)}")

    @classmethod
    def from_json(cls, table: object) -> TextModelConfig:
        """Read what `to_json` gives.

        Raises:
            ArtefactError: a key is missing or unknown, or a value is wrong; lists them all.
        """
        if not isinstance(table, dict):
            raise ArtefactError("model config is no JSON object")
        # Configs of before the n-gram head do not have the key.
        table = {"n_pairs": 0, **table}
        findings = _key_findings(table, [field.name for field in fields(cls)], "")
        findings += [
            f"{key} is no text"
            for key in ("name", "architecture", "vocabulary_sha256")
            if not _is(table, key, str)
        ]
        findings += [
            f"{key} is no whole number" for key in ("normalizer", "n_pairs") if not _is(table, key, int)
        ]
        for key in ("categories", "languages"):
            if not _is(table, key, list) or not all(isinstance(name, str) for name in table.get(key, [])):
                findings.append(f"{key} is no list of texts")
        if not _is(table, "backbone", dict):
            findings.append("backbone is no object")
        else:
            backbone = table.get("backbone", {})
            sizes = sizes_of(str(backbone.get("version")))
            findings += _key_findings(backbone, [*sizes, "version"], "backbone.")
            findings += [
                f"backbone.{name} is no whole number" for name in sizes if not _is(backbone, name, int)
            ]
            if not _is(backbone, "version", str):
                findings.append("backbone.version is no text")
        if findings:
            raise ArtefactError(f"model config: {'; '.join(findings)}")
        return cls(
            **table
            | {
                "backbone": RwkvConfig(**table["backbone"]),
                "categories": tuple(table["categories"]),
                "languages": tuple(table["languages"]),
            }
        )

    def to_json(self) -> dict[str, Any]:
        """Give the config as JSON values; without `n_pairs` where there are none, as digests were before."""
        table = asdict(self) | {
            "backbone": self.backbone.to_json(),
            "categories": list(self.categories),
            "languages": list(self.languages),
        }
        return table if self.n_pairs else {key: value for key, value in table.items() if key != "n_pairs"}

    def shapes(self) -> dict[str, Shape]:
        """Give the name and shape of each tensor of the model."""
        K, C = len(self.categories), self.backbone.n_embd
        backbone = {f"{BACKBONE_PREFIX}{name}": shape for name, shape in tensor_shapes(self.backbone).items()}
        heads: dict[str, Shape] = {HEAD_WEIGHT: (K, 3 * C), HEAD_BIAS: (K,)}
        return backbone | heads | ngram_shapes(self.backbone.vocab_size, self.n_pairs, K)


def _is(table: Mapping[str, Any], key: str, kind: type) -> bool:
    """Whether the value of `key` is of `kind`; an absent key is another finding."""
    return key not in table or type(table[key]) is kind


def _key_findings(table: Mapping[str, Any], names: list[str], prefix: str) -> list[str]:
    missing = [f"{prefix}{name} is missing" for name in names if name not in table]
    return missing + [f"unknown key {prefix}{key}{nearest(key, names)}" for key in table if key not in names]


@dataclass(frozen=True, slots=True, eq=False)
class TextModel:
    """A whole text model, in plain arrays."""

    config: TextModelConfig
    """What it is."""
    tensors: Mapping[str, npt.NDArray[np.float32]]
    """float32, names and shapes of `config.shapes()`."""
    calibration: Calibration
    """Logits to scores."""
    tokenizer: Tokenizer
    """Its vocabulary."""
    card: Mapping[str, Any]
    """Facts of the model card."""

    @property
    def backbone(self) -> dict[str, npt.NDArray[np.float32]]:
        """Give the backbone's tensors under their official names."""
        return {
            name.removeprefix(BACKBONE_PREFIX): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(BACKBONE_PREFIX)
        }

    def check(self, where: str) -> None:
        """Check that the pieces fit each other; `where` begins the error.

        Raises:
            ArtefactError: lists everything that is wrong.
        """
        findings = Findings()
        with findings.collect():
            check_tensor_shapes({name: tensor.shape for name, tensor in self.tensors.items()}, self.config)
        with findings.collect():
            check_values(self.tensors)
        with findings.collect():
            check_vocabulary(self.tokenizer, self.tokenizer.to_json(), self.config)
        if self.calibration.categories != self.config.categories:
            findings.messages.append(
                "calibration is of other categories than the config's, or in another order"
            )
        findings.raise_any(where)

    def digest(self) -> str:
        """Give the digest (hex) of the model, its tensors as float32."""
        tensors = (StoredTensor(name, "F32", self.tensors[name]) for name in sorted(self.tensors))
        return model_digest(weights_digest(tensors), self.config, self.calibration)


def check_tensor_shapes(shapes: Mapping[str, Shape], config: TextModelConfig) -> None:
    """Check that exactly the tensors of `config` are there, each of its shape.

    Raises:
        ArtefactError: with the list of missing, unexpected and misshaped tensors.
    """
    findings = Findings()
    backbone = {
        name.removeprefix(BACKBONE_PREFIX): tuple(shape)
        for name, shape in shapes.items()
        if name.startswith(BACKBONE_PREFIX)
    }
    with findings.collect():
        check_shapes(backbone, config.backbone)
    expected = config.shapes()
    # `check_shapes` lets pass what official files have and no model of ours reads.
    for name in sorted(set(shapes) - set(expected)):
        if not name.startswith(BACKBONE_PREFIX) or name.removeprefix(BACKBONE_PREFIX) in OPTIONAL_TENSORS:
            findings.messages.append(f"{name} is unexpected")
    for name in expected:
        if name.startswith(BACKBONE_PREFIX):
            continue
        if name not in shapes:
            findings.messages.append(f"{name} is missing")
        elif tuple(shapes[name]) != expected[name]:
            findings.messages.append(f"{name} is {tuple(shapes[name])}, expected {expected[name]}")
    findings.raise_any("tensors")


def check_values(tensors: Mapping[str, npt.NDArray[Any]]) -> None:
    """Check that every tensor is float32 and finite.

    Raises:
        ArtefactError: names the tensors that are not.
    """
    wrong = [
        f"{name} is {tensor.dtype}, expected float32"
        for name, tensor in tensors.items()
        if tensor.dtype != np.float32
    ]
    wrong += [
        f"{name} holds a number that is not finite"
        for name, tensor in tensors.items()
        if tensor.dtype == np.float32 and not np.isfinite(tensor).all()
    ]
    if wrong:
        raise ArtefactError("; ".join(wrong))


def check_vocabulary(tokenizer: Tokenizer, text: str, config: TextModelConfig) -> None:
    """Check that a vocabulary, and the JSON it was read from, are those of `config`.

    Raises:
        ArtefactError: another digest, or more tokens than the embedding has rows.
    """
    if vocabulary_digest(text) != config.vocabulary_sha256:
        raise ArtefactError(
            "vocabulary is not the one the config names: another SHA-256; was one of them replaced?"
        )
    if tokenizer.vocab_size > config.backbone.vocab_size:
        raise ArtefactError(
            f"vocabulary has {tokenizer.vocab_size} tokens, the embedding {config.backbone.vocab_size} rows; "
            "expected a row for each"
        )


def vocabulary_digest(text: str) -> str:
    """Give the SHA-256 (hex) of a vocabulary's JSON."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def weights_digest(tensors: Iterable[StoredTensor]) -> str:
    r"""Give the digest (hex) of weights as they are stored.

    It is the SHA-256 over, for each tensor in the order of the code points of its name: the canonical JSON of
    [name, dtype, shape], such as `["categories.bias","F32",[7]]`, in UTF-8; a line feed (`\n`); the tensor's
    values, little-endian, in C order, 4 bytes each of F32, 2 of BF16 and 1 of I8. Shape
    and order are those of the model, not of tiles in a file.

    Args:
        tensors: sorted by name already, so that they may be read one at a time.
    """
    state = hashlib.sha256()
    for name, dtype, data in tensors:
        state.update(f"{canonical_json([name, dtype, list(data.shape)])}\n".encode())
        stored = np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("<"))
        state.update(stored.reshape(-1).view(np.uint8).data)
    return state.hexdigest()


def model_digest(weights_sha256: str, config: TextModelConfig, calibration: Calibration) -> str:
    r"""Give the digest (hex) of a model; its first 12 digits are what names it.

    It is the SHA-256 over three lines joined by `\n`, without one at the end: `weights_digest` in hex, the
    canonical JSON of the config, and that of the calibration, whose numbers are all written as floats.
    """
    lines = (weights_sha256, canonical_json(config.to_json()), canonical_json(calibration.to_json()))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def parse_json(text: str | bytes, what: str) -> Any:  # noqa: ANN401  (the caller checks what it got)
    """Read JSON; NaN and infinities, which are no JSON, are refused.

    Raises:
        ArtefactError: it is no JSON; `what` begins the message.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"{what} is not JSON ({type(error).__name__})") from None


def _refuse(constant: str) -> float:
    raise ValueError(constant)
