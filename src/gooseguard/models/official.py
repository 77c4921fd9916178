"""Official RWKV checkpoints, `.pth` or safetensors, to the torch backbone and back.

A `.pth` file is a zip of raw tensors and a pickle that says how they are put together. Nothing in it is run:
the names that the pickle may refer to are listed here, and torch reads it with `weights_only`. Weights are
mapped from the file and become the module's own, so that a model is never held twice. Knows nothing of text.
"""

from __future__ import annotations

import pickletools
import struct
import zipfile
import zlib
from pathlib import Path
from pickle import UnpicklingError  # noqa: TID251  (what torch raises; nothing is unpickled by it)
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gooseguard.codec.layout import infer_config, tensor_shapes
from gooseguard.core.errors import ArtefactError
from gooseguard.core.files import replacing
from gooseguard.models.rwkv import Rwkv

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from gooseguard.codec.layout import RwkvConfig

ALLOWED = frozenset(
    {
        "collections OrderedDict",
        "torch._utils _rebuild_parameter",
        "torch._utils _rebuild_tensor_v2",
        "torch BFloat16Storage",
        "torch FloatStorage",
        "torch HalfStorage",
        # Of buffers that count, such as CLIP's positions; no weights.
        "torch LongStorage",
    }
)
"""All that the pickle of a checkpoint may name, as module and attribute."""

DTYPES = frozenset({torch.bfloat16, torch.float16, torch.float32})
"""What weights may be stored in."""

ZIP_MAGIC = b"PK\x03\x04"

DAMAGE = (
    *(RuntimeError, OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, OverflowError),
    *(UnpicklingError, struct.error, zipfile.BadZipFile, zlib.error),
)
"""What reading a damaged zip or pickle raises, found by altering bytes of whole ones."""

LARGEST_PICKLE = 64 << 20
"""Bytes; that of a 3B model takes about 100 KB."""


def is_official(path: Path) -> bool:
    """Tell whether a file may be an official checkpoint: a zip, or safetensors with `emb.weight`.

    A look, not a check: `load_official` says what is wrong with the file.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(ZIP_MAGIC)) == ZIP_MAGIC:
                return True
        with safe_open(path, framework="pt") as reader:
            return "emb.weight" in reader.keys()  # noqa: SIM118  (the reader is no mapping)
    except (OSError, SafetensorError):
        return False


def has_sight(path: Path) -> bool:
    """Tell whether a file has a vision tower beside its backbone: `vit.*`, as VisualRWKV is published.

    Raises:
        ArtefactError: as `read_official`.
    """
    return any(name.startswith("vit.") for name in read_official(path))


def load_official(path: str | os.PathLike[str], *, dtype: torch.dtype | None = None) -> Rwkv:
    """Load an official checkpoint as the torch backbone, on the CPU, in evaluation mode.

    Version, sizes and LoRA ranks are read from the shapes of its tensors; the language head comes along where
    the file has one.

    Args:
        path: `.pth` (the zip format that torch writes since 1.6) or safetensors; told apart by content.
        dtype: of the matrices: bfloat16, float16 or float32; None keeps the file's, mapped and not copied.
            Vectors (norms, lerps, decays) become float32 in any case.

    Returns:
        The model. Where weights were not converted, they stay mapped from the file, which must stay there
        unchanged.

    Raises:
        ArtefactError: the file is missing, truncated, no checkpoint, of another architecture, or has missing,
            unexpected or misshaped tensors; lists what is wrong.
    """
    path = Path(path)
    tensors = read_official(path)
    try:
        config = infer_config({name: tuple(tensor.shape) for name, tensor in tensors.items()})
        return make_rwkv(config, tensors, dtype)
    except ArtefactError as error:
        raise ArtefactError(f"{path}: {error}") from None


def make_rwkv(config: RwkvConfig, tensors: dict[str, Tensor], dtype: torch.dtype | None = None) -> Rwkv:
    """Make the torch backbone of the tensors of an official checkpoint, whose config was read off them.

    Args:
        config: as `codec.layout.infer_config` gives it.
        tensors: emptied on the way, so that what is converted does not stay beside its original.
        dtype: as `load_official`.

    Raises:
        ArtefactError: a tensor is of a dtype that weights are not stored in.
    """
    _check_dtypes(tensors)
    has_head = "head.weight" in tensors
    # Without values: no memory, no initialisation.
    with torch.device("meta"):
        model = Rwkv(config, has_head=has_head)
    weights = {}
    for name in tensor_shapes(config, has_head=has_head):
        tensor = tensors.pop(name)
        weights[name] = tensor.to(dtype or tensor.dtype) if _is_matrix(name, tensor) else tensor.float()
    model.load_state_dict(weights, assign=True)
    return model.requires_grad_(requires_grad=False).eval()


def _is_matrix(name: str, tensor: Tensor) -> bool:
    """Whether a tensor is one that activations are multiplied by, which is nearly all of a model's size."""
    return name.endswith(("1", "2")) or (tensor.ndim == 2 and name.endswith(".weight"))


def _check_dtypes(tensors: dict[str, Tensor]) -> None:
    wrong = sorted(
        f"{name} is {tensor.dtype}" for name, tensor in tensors.items() if tensor.dtype not in DTYPES
    )
    if wrong:
        raise ArtefactError(f"{'; '.join(wrong[:12])}; expected bfloat16, float16 or float32")


def read_official(path: Path) -> dict[str, Tensor]:
    """Map all tensors of a file, as they are stored, without a look at what they are.

    Raises:
        ArtefactError: the file is missing, truncated, or no container of tensors.
    """
    try:
        with path.open("rb") as file:
            begin = file.read(16)
    except OSError as error:
        raise ArtefactError(f"{path}: cannot be read ({type(error).__name__})") from None
    if begin.startswith(ZIP_MAGIC):
        return _read_pth(path)
    # A safetensors file begins with the length of its header, 8 bytes, and the header's brace.
    if begin[8:9] == b"{":
        try:
            with safe_open(path, framework="pt") as reader:
                return {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118  (no mapping)
        except (SafetensorError, OSError, RuntimeError) as error:
            raise ArtefactError(f"{path}: is no whole safetensors file ({error}); fetch it again") from None
    if begin.startswith(b"\x80"):
        raise ArtefactError(
            f"{path}: is a bare pickle, which is never read; expected a .pth as torch writes since 1.6 "
            "(a zip), or safetensors"
        )
    raise ArtefactError(f"{path}: is neither a .pth (zip) nor a safetensors file; was it fetched whole?")


def _read_pth(path: Path) -> dict[str, Tensor]:
    """Map the tensors of a `.pth`, after a look at what its pickle names."""
    try:
        with zipfile.ZipFile(path) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if archive.getinfo(name).file_size > LARGEST_PICKLE:
                raise ArtefactError(f"{path}: {name} is larger than {LARGEST_PICKLE} bytes; is this a model?")
            foreign = sorted(set(_names(archive.read(name))) - ALLOWED)
    except DAMAGE as error:
        raise ArtefactError(
            f"{path}: is no whole .pth file ({type(error).__name__}: {error}); was it fetched whole?"
        ) from None
    if foreign:
        raise ArtefactError(
            f"{path}: its pickle refers to {', '.join(repr(name) for name in foreign[:6])}, which no "
            "checkpoint needs; nothing was run. Expected tensors only: fetch it from where it was published"
        )
    try:
        # The one call of torch.load: no code from the file is run, and its tensors are mapped, not read.
        tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=True)  # noqa: TID251
    except DAMAGE as error:
        raise ArtefactError(
            f"{path}: is no whole .pth file ({type(error).__name__}); was it fetched whole?"
        ) from None
    if not isinstance(tensors, dict) or not all(isinstance(name, str) for name in tensors):
        raise ArtefactError(f"{path}: holds no table of named tensors; expected one")
    strange = sorted(name for name, value in tensors.items() if not isinstance(value, torch.Tensor))
    if strange:
        raise ArtefactError(f"{path}: {', '.join(strange[:12])}: no tensors; expected tensors only")
    return dict(tensors)


def _names(pickled: bytes) -> Iterator[str]:
    """Give "module attribute" for each name that a pickle refers to, without running it.

    Raises:
        ValueError: it is no pickle, or of a protocol that torch does not write.
    """
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name in ("GLOBAL", "INST"):
            yield str(argument)
        elif opcode.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
            # Names put together at run time: torch writes protocol 2, which has none.
            yield opcode.name


def write_official(model: Rwkv, path: str | os.PathLike[str], dtype: torch.dtype | None = None) -> Path:
    """Write a model under the official names: beside, then renamed, so that it is whole or not there.

    Args:
        model: its tensors are written as they are, or as `dtype`.
        path: ends in `.pth` or `.safetensors`, which says the format; replaced if it is there.
        dtype: of all tensors; None keeps each tensor's own.

    Raises:
        ArtefactError: another ending, or the file cannot be written.
    """
    tensors = {
        name: tensor.detach().to("cpu", dtype or tensor.dtype) for name, tensor in model.state_dict().items()
    }
    return write_tensors(tensors, Path(path))


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> Path:
    """Write tensors under their names: beside, then renamed.

    Args:
        tensors: on the CPU; one that is mapped from a file is not copied.
        path: ends in `.pth` or `.safetensors`, which says the format; replaced if it is there.

    Raises:
        ArtefactError: another ending, or the file cannot be written.
    """
    if path.suffix not in (".pth", ".safetensors"):
        raise ArtefactError(f"{path}: ends in {path.suffix!r}, expected .pth or .safetensors")
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    try:
        with replacing(path) as partial:
            if path.suffix == ".pth":
                torch.save(whole, partial)
            else:
                save_file(whole, partial)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ArtefactError(f"{path}: cannot be written ({type(error).__name__})") from None
    return path
