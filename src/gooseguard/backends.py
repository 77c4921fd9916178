"""The one place that picks a backend: a file or a folder, told apart by what is in it, to a scorer."""

from __future__ import annotations

import importlib
import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from gooseguard.codec import extension
from gooseguard.codec.checkpoint import CONFIG_FILE, read_model_folder
from gooseguard.codec.stored_tensor import StoredTensor
from gooseguard.codec.text_model import model_digest, weights_digest
from gooseguard.core.errors import ArtefactError, ConfigError
from gooseguard.core.manifest import FILE_NAME
from gooseguard.engine.file import FORMAT, EngineFile, read_engine_file
from gooseguard.engine.scorer import Backbone, TextScorer
from gooseguard.engine.stored import lay_out_all

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from gooseguard.models.language import LanguageModel
    from gooseguard.models.scorer import LanguageScorer

BACKENDS = ("native", "portable")
"""What can run a model, fastest first."""

EXTRAS = {"torch": "train", "PIL": "vision", "transformers": "vision", "peft": "vision"}
"""Package to the extra that brings it."""

STARTER = "starter-text"
"""The model that ships with Gooseguard."""

WEIGHTS = Path(__file__).with_name("weights")
"""Where it lies: a file of its own, since it is mapped."""

ZIP, PICKLE = b"PK\x03\x04", b"\x80"
"""How a `.pth` file begins: as torch writes it since 1.6, and before."""


def load(
    model: str | Path | None = None,
    *,
    threads: int | None = None,
    spans: bool = False,
    vocabulary: str | Path | None = None,
    calibration: str | Path | None = None,
    categories: Collection[str] | None = None,
    backend: str | None = None,
    isa: str | None = None,
) -> TextScorer | LanguageScorer:
    """Load a model that scores text, or text and images.

    Warns once, as `RuntimeWarning`, where the native extension is missing and `backend` does not say which.

    Args:
        model: path of an engine file, of a checkpoint folder, of an official RWKV checkpoint with a language
            head (.pth or safetensors, which needs torch), or of a VisualRWKV or LLaVA model; `None`
            for the packaged starter.
        threads: texts worked on at once, or of an official checkpoint, threads of torch, which are set for
            the whole process; `None` for as many as this process may use processors.
        spans: whether to report which sentences score high; not with an official checkpoint.
        vocabulary: World vocabulary file of an official checkpoint; `None` for that of the `rwkv` package.
        calibration: calibration file of an official checkpoint (docs/score.md).
        categories: those to score with an official checkpoint, a question each; `None` for all.
        backend: "native" for the compiled engine, "portable" for NumPy; `None` for the first that is there.
        isa: instruction set the compiled engine is held to, such as "avx2"; `None` for the best there is.

    Raises:
        ArtefactError: there is no such file, or it is no whole model.
        ConfigError: `threads` is below 1, the `train` extra is missing, or an option does not fit the model.
    """
    backend = _choose_backend(backend, isa)
    path = None if model is None else Path(model)
    if path is not None and (is_official(path) or is_visual(path) or is_llava(path)):
        if spans:
            raise ConfigError("spans: a language head has none; use an engine file, or leave them out")
        return _load_language_scorer(path, threads, vocabulary, calibration, categories)
    if vocabulary is not None or calibration is not None:
        name = "vocabulary" if vocabulary is not None else "calibration"
        raise ConfigError(f"{name}: {path or STARTER} has its own; the option is for official checkpoints")
    file = _read_text_model(path)
    # Each worker of the scorer calls the backbone for itself.
    backbone: Backbone
    if backend == "native":
        # Late, because it may not be there.
        from gooseguard.engine.native import NativeBackbone  # noqa: PLC0415

        stored = file.stored or lay_out_all(file.model.tensors, file.dtype)
        backbone = NativeBackbone(file.model.config.backbone, stored, threads=1, isa=isa)
    else:
        # Late, because the compiled engine starts sooner without.
        from gooseguard.engine.portable import PortableBackbone  # noqa: PLC0415

        backbone = PortableBackbone(file.model.config.backbone, file.model.backbone, threads=1)
    return TextScorer(file, backbone, threads=count_processors() if threads is None else threads, spans=spans)


def load_language(
    model: str | Path, *, threads: int | None = None, vocabulary: str | Path | None = None
) -> LanguageModel:
    """Load an official RWKV checkpoint, or a VisualRWKV model, as a model that reads and writes text.

    Raises:
        ArtefactError: there is no such file, it is no whole official checkpoint, or has no language head.
        ConfigError: `threads` is below 1, the `train` extra is missing, or the vocabulary does not fit.
    """
    path = Path(model)
    if path.exists() and not (is_official(path) or is_visual(path) or is_llava(path)):
        kind = "no folder of a language model" if path.is_dir() else "no official RWKV checkpoint"
        raise ArtefactError(
            f"{path} is {kind}; expected a .pth or safetensors file under the official names, with a "
            "language head, or the folder of a VisualRWKV or LLaVA model; engine files and checkpoint "
            "folders have category heads, which write no words"
        )
    count = count_processors() if threads is None else threads
    if count < 1:
        raise ConfigError(f"threads is {count}, expected at least 1")
    official = _import_torch_module("gooseguard.models.official")
    if is_llava(path):
        name = "mod_llava"
    else:
        name = "mod_visual_rwkv" if path.is_dir() or official.has_sight(path) else "language"
    module = _import_torch_module(f"gooseguard.models.{name}")
    loaded: LanguageModel = module.load(path, None if vocabulary is None else Path(vocabulary), count)
    return loaded


def is_llava(path: Path) -> bool:
    """Tell whether a path is a folder with a LLaVA model, or a peft adapter of one; a look, not a check."""
    if not path.is_dir() or (path / FILE_NAME).exists():
        return False
    if (path / "adapter_config.json").exists():
        return True
    try:
        table = json.loads((path / CONFIG_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(table, dict) and table.get("model_type") == "llava"


def is_visual(path: Path) -> bool:
    """Tell whether a path is a folder with a VisualRWKV model; a look at names of files, not a check."""
    if not path.is_dir() or (path / CONFIG_FILE).exists():
        return False
    # Late, because a text model is loaded without.
    from gooseguard.codec.visual_layout import SETTINGS_FILE  # noqa: PLC0415

    return (path / SETTINGS_FILE).exists() or any(
        next(path.glob(pattern), None) for pattern in ("*.pth", "*.safetensors")
    )


def is_official(path: Path) -> bool:
    """Tell whether a file is of a kind that only torch reads; a look at its first bytes, not a check."""
    try:
        with path.open("rb") as stream:
            begin = stream.read(16)
    except OSError:
        return False
    if begin.startswith((ZIP, PICKLE)):
        return True
    # A safetensors file begins with the length of its header and the header's brace.
    if begin[8:9] != b"{":
        return False
    try:
        with safe_open(path, framework="numpy") as tensors:
            return (tensors.metadata() or {}).get("format") != FORMAT
    except (OSError, SafetensorError):
        # The reader of engine files says what is wrong with it.
        return False


def _choose_backend(backend: str | None, isa: str | None) -> str:
    """Give the backend to use, which is there.

    Raises:
        ConfigError: it is unknown or not there, or an instruction set is named that it cannot use.
    """
    reason = extension.problem()
    if backend not in (None, *BACKENDS):
        raise ConfigError(f"backend is {backend!r}, expected one of {', '.join(BACKENDS)}")
    if reason is not None and (backend == "native" or isa is not None):
        raise ConfigError(f"the native extension is {reason}; expected no backend 'native' and no isa")
    if backend == "portable" and isa is not None:
        raise ConfigError(f"isa is {isa!r}, which only the backend 'native' can be held to")
    if backend is not None:
        return backend
    if reason is None:
        return "native"
    warnings.warn(
        f"the native extension is {reason}; the Python one gives the same scores, more slowly",
        RuntimeWarning,
        stacklevel=3,
    )
    return "portable"


def count_processors() -> int:
    """Give how many processors this process may use."""
    # Only Linux knows which processors a process is held to.
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _load_language_scorer(
    path: Path,
    threads: int | None,
    vocabulary: str | Path | None,
    calibration: str | Path | None,
    categories: Collection[str] | None,
) -> LanguageScorer:
    language = load_language(path, threads=threads, vocabulary=vocabulary)
    scorers = _import_torch_module("gooseguard.models.scorer")
    lines = None if calibration is None else scorers.read_calibration(Path(calibration))
    scorer: LanguageScorer = scorers.LanguageScorer(language, lines, categories)
    return scorer


def _import_torch_module(name: str) -> Any:  # noqa: ANN401  (a module)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(error.name or "")
        if extra is None:
            raise
        what = "models that read images need" if extra == "vision" else "official RWKV checkpoints run on"
        raise ConfigError(
            f"{what} {error.name}, which is not installed; run: pip install 'gooseguard[{extra}]', "
            "or use an engine file"
        ) from None


def _read_text_model(path: Path | None) -> EngineFile:
    if path is None:
        return _read_starter()
    if not path.is_dir():
        return read_engine_file(path)
    _, model = read_model_folder(path, verify=False)
    tensors = (StoredTensor(name, "F32", model.tensors[name]) for name in sorted(model.tensors))
    weights_sha256 = weights_digest(tensors)
    digest = model_digest(weights_sha256, model.config, model.calibration)
    return EngineFile(model, "f32", weights_sha256, digest, parent=digest)


def _read_starter() -> EngineFile:
    path = WEIGHTS / f"{STARTER}.safetensors"
    if not path.is_file():
        raise ArtefactError(
            f"this installation has no packaged model {STARTER!r}; "
            "install a released gooseguard, or name an engine file"
        )
    return read_engine_file(path)
