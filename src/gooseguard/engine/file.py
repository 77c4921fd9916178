"""The engine file: one safetensors file that holds a whole text model, read without torch.

Its metadata are texts: `format`, `format_version`, `dtype` ("f32", "bf16" or "int8"), `config`,
`calibration`, `vocabulary` and `card` (canonical JSON), and, in hex, `weights_sha256`, `digest` (of what the
file holds) and `parent` (of the float32 checkpoint). The file is mapped, not read: what is never used takes
no memory, and processes share the rest. Matrices lie in tiles (`tiles`), each at a multiple of 64 bytes.
docs/formats.md has the format in words.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from gooseguard.codec.scores import Calibration
from gooseguard.codec.stored_tensor import StoredTensor
from gooseguard.codec.text_model import (
    Findings,
    TextModel,
    TextModelConfig,
    check_values,
    check_vocabulary,
    model_digest,
    parse_json,
    weights_digest,
)
from gooseguard.codec.tokenizer import Tokenizer
from gooseguard.core.errors import ArtefactError, ConfigError
from gooseguard.core.files import replacing
from gooseguard.core.manifest import canonical_json
from gooseguard.engine.stored import (
    DTYPES,
    WidenedTensors,
    expected_tensors,
    is_tiled,
    laid_out,
    store,
    stored_dtype,
    taken_out,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

FORMAT = "gooseguard-engine"
"""Name of the file format."""

FORMAT_VERSION = 2
"""Newest format version that is read, and the one that is written. Version 1 had no tiles and no int8."""

DIGEST_DIGITS = 12
"""Hex digits of a digest that are shown."""

ALIGNMENT = 64
"""Bytes that the place of a tile in a file is a multiple of: a line of the cache."""

_KEYS = ("dtype", "config", "calibration", "vocabulary", "card", "weights_sha256", "digest", "parent")
_NUMPY: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "BF16": np.dtype("<u2"), "I8": np.dtype("i1")}
_AGAIN = "copy it again, or export it again"


@dataclass(frozen=True, slots=True, eq=False)
class EngineFile:
    """A text model as it was read from an engine file."""

    model: TextModel
    """The model; its tensors are widened to float32 one at a time, when asked for."""
    dtype: str
    """What its matrices are stored as: "f32", "bf16" or "int8"."""
    weights_sha256: str
    """Digest (hex) of the weights as they are stored; compared with them only where that was asked."""
    digest: str
    """Digest (hex) of what the file holds; a "f32" file is the same model as its parent."""
    parent: str
    """Digest (hex) of the float32 checkpoint."""
    stored: Mapping[str, StoredTensor] = field(default_factory=dict)
    """Its tensors as they lie in the file, by name, in mapped memory."""

    @property
    def name(self) -> str:
        """Give "name@digest"."""
        return f"{self.model.config.name}@{self.digest[:DIGEST_DIGITS]}"


class _Header(NamedTuple):
    """What a file says of itself."""

    metadata: dict[str, str]
    tensors: dict[str, tuple[str, tuple[int, ...]]]
    """Dtype and shape of each tensor, in the order in which they lie in the file, without gaps."""
    begin: int
    """Where the first of them begins, in bytes."""


def write_engine_file(path: Path, model: TextModel, dtype: str, parent: str) -> EngineFile:
    """Write a model as an engine file; equal models give equal bytes.

    Args:
        path: the file, replaced if there is one.
        model: a whole model.
        dtype: "f32", "bf16" or "int8".
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
    stored = [tensor for name in model.tensors for tensor in store(name, model.tensors[name], dtype)]
    weights_sha256 = weights_digest(sorted(stored, key=lambda tensor: tensor.name))
    metadata = {
        "calibration": canonical_json(model.calibration.to_json()),
        "card": canonical_json(model.card),
        "config": canonical_json(model.config.to_json()),
        "digest": model_digest(weights_sha256, model.config, model.calibration),
        "dtype": dtype,
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "parent": parent,
        "vocabulary": model.tokenizer.to_json(),
        "weights_sha256": weights_sha256,
    }
    # Tiles first, so that each begins at a whole line of the cache; then by size of a number.
    order = sorted(stored, key=lambda tensor: (not is_tiled(tensor.name), -tensor.data.itemsize, tensor.name))
    try:
        with replacing(path) as partial:
            _write(partial, metadata, [laid_out(tensor) for tensor in order])
            read_engine_file(partial, verify=True)
    except OSError as error:
        raise ArtefactError(
            f"engine file {path}: cannot be written ({type(error).__name__}: {error})"
        ) from None
    return read_engine_file(path)


def _write(path: Path, metadata: Mapping[str, str], tensors: Sequence[StoredTensor]) -> None:
    """Write a safetensors file; the library's own writer neither aligns nor keeps an order.

    Source: https://huggingface.co/docs/safetensors, "Format": 8 bytes of length, a JSON header padded with
    spaces, the tensors without gaps.
    """
    header: dict[str, Any] = {"__metadata__": metadata}
    begin = 0
    for name, dtype, data in tensors:
        end = begin + data.nbytes
        header[name] = {"dtype": dtype, "shape": list(data.shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    size = -(-(8 + len(text)) // ALIGNMENT) * ALIGNMENT - 8
    with path.open("wb") as stream:
        stream.write(size.to_bytes(8, "little"))
        stream.write(text.ljust(size))
        for tensor in tensors:
            stream.write(np.ascontiguousarray(tensor.data, _NUMPY[tensor.dtype]).data)


def read_engine_file(path: Path, *, verify: bool = False) -> EngineFile:
    """Map an engine file; config and calibration are always checked against the digest.

    Args:
        path: the file. It must not be written to while it is in use; replacing it is fine.
        verify: also check the weights against the digest, which costs a pass over them.

    Raises:
        ArtefactError: no such file, truncated, of another or a newer format, altered; says what to do.
    """
    where = f"engine file {path}"
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "there is no such file"
        raise ArtefactError(f"{where}: {found}; expected a file that `gooseguard export` wrote")
    try:
        header = _read_header(path)
        memory = np.memmap(path, np.uint8, mode="r").view(np.ndarray)
    except (OSError, SafetensorError) as error:
        raise ArtefactError(
            f"{where}: not a whole safetensors file ({error}); was it cut short? {_AGAIN}"
        ) from None
    metadata = header.metadata
    _check_format(metadata, where)
    config, calibration, tokenizer, card = _read_metadata(metadata, where)
    if model_digest(metadata["weights_sha256"], config, calibration) != metadata["digest"]:
        raise ArtefactError(
            f"{where}: config, calibration or a digest was altered after export: they do not give the digest "
            f"{metadata['digest'][:DIGEST_DIGITS]}; export it again"
        )
    stored = _map_tensors(memory, header, config, where)
    model = TextModel(config, WidenedTensors(stored, config.shapes()), calibration, tokenizer, card)
    file = EngineFile(
        model, metadata["dtype"], metadata["weights_sha256"], metadata["digest"], metadata["parent"], stored
    )
    if verify:
        _verify(file, where)
    return file


def _read_header(path: Path) -> _Header:
    """Read a header.

    safetensors checks it and the file's size, but has no bfloat16 to give to NumPy, and does not say where a
    tensor lies: without gaps behind the header, whose length is the first 8 bytes.
    """
    with safe_open(path, framework="np") as checked:
        metadata: dict[str, str] = checked.metadata() or {}
        slices = {name: checked.get_slice(name) for name in checked.offset_keys()}
        tensors = {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
    with path.open("rb") as stream:
        return _Header(metadata, tensors, 8 + int.from_bytes(stream.read(8), "little"))


def _map_tensors(
    memory: npt.NDArray[np.uint8],
    header: _Header,
    config: TextModelConfig,
    where: str,
) -> dict[str, StoredTensor]:
    """Give the tensors as they lie in the file, after a check that they are those of the config."""
    metadata, begin = header.metadata, header.begin
    is_first_version = metadata["format_version"] == "1"
    shapes = config.shapes()
    if is_first_version:
        expected = {
            name: (stored_dtype(name, shape, metadata["dtype"]), shape) for name, shape in shapes.items()
        }
    else:
        expected = expected_tensors(shapes, metadata["dtype"])
    findings = Findings()
    findings.messages = _misfits(header.tensors, expected)
    findings.raise_any(where)
    stored = {}
    for name, (dtype, shape) in header.tensors.items():
        end = begin + math.prod(shape) * _NUMPY[dtype].itemsize
        data, begin = memory[begin:end], end
        tensor = StoredTensor(name, dtype, data.view(_NUMPY[dtype]).reshape(shape))
        stored[name] = laid_out(tensor) if is_first_version else tensor
    return stored


def _misfits(
    found: Mapping[str, tuple[str, tuple[int, ...]]], expected: Mapping[str, tuple[str, tuple[int, ...]]]
) -> list[str]:
    """List what is missing, unexpected, or of another dtype or shape."""
    messages = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    messages += [f"{name} is unexpected" for name in sorted(found.keys() - expected.keys())]
    for name in sorted(found.keys() & expected.keys()):
        (dtype, shape), (expected_dtype, expected_shape) = found[name], expected[name]
        if dtype != expected_dtype:
            messages.append(f"{name} is stored as {dtype}, expected {expected_dtype}")
        if shape != expected_shape:
            messages.append(f"{name} is {shape}, expected {expected_shape}")
    return messages


def _verify(file: EngineFile, where: str) -> None:
    """Check the weights against their digest."""
    shapes = file.model.config.shapes()

    def tensors() -> Iterator[StoredTensor]:
        for name in sorted(file.stored):
            tensor = file.stored[name]
            yield taken_out(tensor, shapes[name]) if name in shapes else tensor

    findings = Findings()
    with findings.collect():
        check_values(file.model.tensors)
    if weights_digest(tensors()) != file.weights_sha256:
        findings.messages.append(
            f"the weights were altered after export: they have another SHA-256; {_AGAIN}"
        )
    for name, tensor in file.stored.items():
        # What pads a tile is in no digest.
        if name in shapes and not np.array_equal(laid_out(taken_out(tensor, shapes[name])).data, tensor.data):
            findings.messages.append(f"{name} has weights where there is no channel; {_AGAIN}")
    findings.raise_any(where)


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
            f"{where}: dtype is {metadata['dtype']!r}, expected one of {', '.join(DTYPES)}; "
            "upgrade gooseguard"
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
