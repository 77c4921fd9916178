"""The engine file: one safetensors file that holds a whole text model, read without torch.

Its metadata are texts: `format`, `format_version`, `dtype` ("f32" or "bf16"), `config`, `calibration`,
`vocabulary` and `card` (canonical JSON), and, in hex, `weights_sha256`, `digest` (of what the file holds) and
`parent` (of the float32 checkpoint). In a "bf16" file the matrices are BF16; vectors, being few, stay F32.
docs/formats.md has the format in words.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, TensorSpec, safe_open, serialize_file

from gooseguard.codec.scores import Calibration
from gooseguard.codec.text_model import (
    Findings,
    StoredTensor,
    TextModel,
    TextModelConfig,
    check_tensor_shapes,
    check_values,
    check_vocabulary,
    model_digest,
    parse_json,
    weights_digest,
)
from gooseguard.codec.tokenizer import Tokenizer
from gooseguard.core.errors import ArtefactError, ConfigError
from gooseguard.core.manifest import canonical_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FORMAT = "gooseguard-engine"
"""Name of the file format."""

FORMAT_VERSION = 1
"""Newest format version that is read, and the one that is written."""

DTYPES = ("f32", "bf16")
"""What weights can be stored as."""

DIGEST_DIGITS = 12
"""Hex digits of a digest that are shown."""

_KEYS = ("dtype", "config", "calibration", "vocabulary", "card", "weights_sha256", "digest", "parent")
_STORED: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "BF16": np.dtype("<u2")}
_SPEC_DTYPES = {"F32": "float32", "BF16": "bfloat16"}
_AGAIN = "copy it again, or export it again"


@dataclass(frozen=True, slots=True, eq=False)
class EngineFile:
    """A text model as it was read from an engine file."""

    model: TextModel
    """The model, all tensors widened to float32."""
    dtype: str
    """What its matrices are stored as: "f32" or "bf16"."""
    weights_sha256: str
    """Digest (hex) of the weights as they are stored; compared with them only where that was asked."""
    digest: str
    """Digest (hex) of what the file holds; a "f32" file is the same model as its parent."""
    parent: str
    """Digest (hex) of the float32 checkpoint."""

    @property
    def name(self) -> str:
        """Give "name@digest"."""
        return f"{self.model.config.name}@{self.digest[:DIGEST_DIGITS]}"


class _Place(NamedTuple):
    """Where a tensor lies in a file."""

    dtype: str
    shape: tuple[int, ...]
    offset: int


def to_bf16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Round finite float32 to bfloat16, ties to even; gives its bits, a new array of the same shape."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    is_odd = (bits >> np.uint32(16)) & np.uint32(1)
    return ((bits + (np.uint32(0x7FFF) + is_odd)) >> np.uint32(16)).astype(np.uint16)


def from_bf16(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Widen bfloat16, given as its bits, to float32; exact, a new array of the same shape."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def write_engine_file(path: Path, model: TextModel, dtype: str, parent: str) -> EngineFile:
    """Write a model as an engine file; equal models give equal bytes.

    Args:
        path: the file, replaced if there is one.
        model: a whole model.
        dtype: "f32" or "bf16".
        parent: digest (hex) of the float32 checkpoint.

    Returns:
        What was written, read back and verified.

    Raises:
        ArtefactError: the model is not whole, a weight is too large for bfloat16, or nothing can be written.
        ConfigError: there is no such dtype.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"engine file: dtype is {dtype!r}, expected one of {', '.join(DTYPES)}")
    model.check(f"engine file {path}")
    stored = [_store(name, model.tensors[name], dtype) for name in sorted(model.tensors)]
    weights_sha256 = weights_digest(stored)
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "dtype": dtype,
        "config": canonical_json(model.config.to_json()),
        "calibration": canonical_json(model.calibration.to_json()),
        "vocabulary": model.tokenizer.to_json(),
        "card": canonical_json(model.card),
        "weights_sha256": weights_sha256,
        "digest": model_digest(weights_sha256, model.config, model.calibration),
        "parent": parent,
    }
    specs = {
        name: TensorSpec(
            dtype=_SPEC_DTYPES[kind], shape=data.shape, data_ptr=data.ctypes.data, data_len=data.nbytes
        )
        for name, kind, data in stored
    }
    partial = path.with_name(f"{path.name}.partial")
    try:
        serialize_file(specs, partial, metadata)
        _order_header(partial)
        written = read_engine_file(partial, verify=True)
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        raise ArtefactError(
            f"engine file {path}: cannot be written ({type(error).__name__}: {error})"
        ) from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return written


def _store(name: str, tensor: npt.NDArray[np.float32], dtype: str) -> StoredTensor:
    """Give a tensor as it is to be stored: matrices as `dtype`, vectors as float32."""
    is_matrix = sum(size > 1 for size in tensor.shape) > 1
    if dtype == "f32" or not is_matrix:
        return StoredTensor(name, "F32", np.ascontiguousarray(tensor, dtype="<f4"))
    bits = to_bf16(tensor)
    if not np.isfinite(from_bf16(bits)).all():
        raise ArtefactError(
            f"engine file: {name} holds a number too large for bfloat16; export with dtype f32"
        )
    return StoredTensor(name, "BF16", bits.astype("<u2", copy=False))


def _order_header(path: Path) -> None:
    """Put the metadata in order: safetensors writes them in another order each time."""
    with path.open("r+b") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(ordered) > size:
            raise ArtefactError(
                f"engine file {path}: safetensors wrote a header of another form; report this"
            )
        stream.seek(8)
        stream.write(ordered.ljust(size))


def read_engine_file(path: Path, *, verify: bool = False) -> EngineFile:
    """Read an engine file; config and calibration are always checked against the digest.

    Args:
        path: the file.
        verify: also check the weights against it, which costs a pass over them.

    Raises:
        ArtefactError: no such file, truncated, of another or a newer format, altered; says what to do.
    """
    where = f"engine file {path}"
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "there is no such file"
        raise ArtefactError(f"{where}: {found}; expected a file that `gooseguard export` wrote")
    try:
        metadata, places = _read_header(path)
    except (OSError, SafetensorError) as error:
        raise ArtefactError(
            f"{where}: not a whole safetensors file ({error}); was it cut short? {_AGAIN}"
        ) from None
    _check_format(metadata, where)
    config, calibration, tokenizer, card = _read_metadata(metadata, where)
    if model_digest(metadata["weights_sha256"], config, calibration) != metadata["digest"]:
        raise ArtefactError(
            f"{where}: config, calibration or a digest was altered after export: they do not give the digest "
            f"{metadata['digest'][:DIGEST_DIGITS]}; export it again"
        )
    findings = Findings()
    with findings.collect():
        check_tensor_shapes({name: place.shape for name, place in places.items()}, config)
    findings.messages += [
        f"{name} is stored as {place.dtype}, expected {' or '.join(_STORED)}"
        for name, place in places.items()
        if place.dtype not in _STORED
    ]
    findings.raise_any(where)
    tensors: dict[str, npt.NDArray[np.float32]] = {}
    found = weights_digest(_read_tensors(path, places, tensors)) if verify else ""
    if verify:
        with findings.collect():
            check_values(tensors)
        if found != metadata["weights_sha256"]:
            findings.messages.append(
                f"the weights were altered after export: they have another SHA-256; {_AGAIN}"
            )
        findings.raise_any(where)
    else:
        for _ in _read_tensors(path, places, tensors):
            pass
    model = TextModel(config, tensors, calibration, tokenizer, card)
    return EngineFile(
        model, metadata["dtype"], metadata["weights_sha256"], metadata["digest"], metadata["parent"]
    )


def _read_header(path: Path) -> tuple[dict[str, str], dict[str, _Place]]:
    """Give metadata and the place of each tensor.

    safetensors checks the header and the file's size, but has no bfloat16 to give to NumPy.
    """
    with safe_open(path, framework="np") as checked:
        metadata: dict[str, str] = checked.metadata() or {}
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header: dict[str, Any] = json.loads(stream.read(size))
    header.pop("__metadata__", None)
    return metadata, {
        name: _Place(entry["dtype"], tuple(entry["shape"]), 8 + size + entry["data_offsets"][0])
        for name, entry in header.items()
    }


def _read_tensors(
    path: Path, places: Mapping[str, _Place], tensors: dict[str, npt.NDArray[np.float32]]
) -> Iterator[StoredTensor]:
    """Read one tensor after another, by name, into `tensors`; give each as it is stored."""
    with path.open("rb") as stream:
        for name in sorted(places):
            dtype, shape, offset = places[name]
            stream.seek(offset)
            data = np.fromfile(stream, _STORED[dtype], math.prod(shape))
            if data.size != math.prod(shape):
                raise ArtefactError(f"engine file {path}: {name} was cut short while it was read; {_AGAIN}")
            data = data.reshape(shape)
            tensors[name] = from_bf16(data) if dtype == "BF16" else data.astype(np.float32, copy=False)
            yield StoredTensor(name, dtype, data)


def _check_format(metadata: Mapping[str, str], where: str) -> None:
    """Refuse other formats, newer versions and missing metadata."""
    if metadata.get("format") != FORMAT:
        raise ArtefactError(
            f"{where}: format is {metadata.get('format')!r}, expected {FORMAT!r}; "
            "make one with `gooseguard export`"
        )
    version = metadata.get("format_version", "")
    if not version.isdecimal() or int(version) < 1:
        raise ArtefactError(
            f"{where}: format version is {version!r}, expected {FORMAT_VERSION}; export it again"
        )
    if int(version) > FORMAT_VERSION:
        raise ArtefactError(
            f"{where}: format version {version} is newer than {FORMAT_VERSION}; upgrade gooseguard"
        )
    missing = [key for key in _KEYS if key not in metadata]
    if missing:
        raise ArtefactError(f"{where}: metadata {', '.join(missing)} missing; export it again")
    if metadata["dtype"] not in DTYPES:
        raise ArtefactError(
            f"{where}: dtype is {metadata['dtype']!r}, expected {' or '.join(DTYPES)}; upgrade gooseguard"
        )


def _read_metadata(
    metadata: Mapping[str, str], where: str
) -> tuple[TextModelConfig, Calibration, Tokenizer, Mapping[str, Any]]:
    """Read config, calibration, vocabulary and card."""
    findings = Findings()
    config, calibration, tokenizer, card = None, None, None, None
    with findings.collect():
        config = TextModelConfig.from_json(parse_json(metadata["config"], "config"))
    with findings.collect():
        table = parse_json(metadata["calibration"], "calibration")
        if config is not None:
            calibration = Calibration.from_json(table, config.categories)
    with findings.collect():
        tokenizer = Tokenizer.from_json(metadata["vocabulary"])
        if config is not None:
            check_vocabulary(tokenizer, metadata["vocabulary"], config)
    with findings.collect():
        card = parse_json(metadata["card"], "card")
    if card is not None and not isinstance(card, dict):
        findings.messages.append("card is no JSON object")
    findings.raise_any(where)
    # Each of them is missing only with a finding.
    assert config is not None and calibration is not None
    assert tokenizer is not None and card is not None
    return config, calibration, tokenizer, card
