"""Recipes of kind `fine-tune`, `visual` and `llava`, for the verb `train`: run in one process or several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gooseguard.core.extras import needing

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from gooseguard.cli.display import Display
    from gooseguard.codec.prompt import Encoder
    from gooseguard.training.fine_tune import FineTuneConfig
    from gooseguard.training.llava_config import LlavaTuneConfig
    from gooseguard.training.visual_config import VisualTuneConfig


def run_fine_tune(
    config: FineTuneConfig, folder: Path, display: AbstractContextManager[Display]
) -> dict[str, Path]:
    """Fine-tune; give what was written, in the main process of those that torch's launcher started.

    Raises:
        GooseguardError: as `training.fine_tune.fine_tune`, or the vocabulary cannot be read.
    """
    from gooseguard.training.fine_tune import fine_tune  # noqa: PLC0415  (needs torch)

    return _run(fine_tune, config, folder, display, "adapter", _vocabulary(config.vocabulary))


def run_visual(
    config: VisualTuneConfig, folder: Path, display: AbstractContextManager[Display]
) -> dict[str, Path]:
    """Train a model that sees; as `run_fine_tune`.

    Raises:
        GooseguardError: as `training.visual.train_visual`, or the extra `vision` is missing.
    """
    with needing("models that read images need", "vision"):
        from gooseguard.training.visual import train_visual  # noqa: PLC0415  (needs the extra "vision")
    return _run(train_visual, config, folder, display, "model", _vocabulary(config.vocabulary))


def run_llava(
    config: LlavaTuneConfig, folder: Path, display: AbstractContextManager[Display]
) -> dict[str, Path]:
    """Train an adapter of LLaVA; as `run_visual`."""
    with needing("models that read images need", "vision"):
        from gooseguard.models.mod_llava import load_tokenizer  # noqa: PLC0415  (needs the extra "vision")
        from gooseguard.training.llava import train_llava  # noqa: PLC0415
    return _run(train_llava, config, folder, display, "adapter", load_tokenizer(Path(config.base)))


def _vocabulary(path: str) -> Encoder:
    from gooseguard.codec.world import WorldTokenizer  # noqa: PLC0415  (--help needs no NumPy)

    return WorldTokenizer.from_file(path) if path else WorldTokenizer.from_package()


def _run(
    stage: Callable[..., Path],
    config: FineTuneConfig | VisualTuneConfig | LlavaTuneConfig,
    folder: Path,
    display: AbstractContextManager[Display],
    made: str,
    tokenizer: Encoder,
) -> dict[str, Path]:
    """Run a stage with what all of them take; give what the main process wrote, under the name `made`."""
    from gooseguard.training.processes import join, leave  # noqa: PLC0415  (needs torch)

    processes = join()
    try:
        if not processes.is_main:
            stage(config, folder, tokenizer, lambda _: None, lambda _: None, processes)
            return {}
        folder.mkdir(parents=True, exist_ok=True)
        with display as shown:
            return {made: stage(config, folder, tokenizer, shown.step, shown.say, processes)}
    finally:
        leave(processes)
