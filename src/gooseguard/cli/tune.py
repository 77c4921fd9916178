"""A recipe of kind `fine-tune`, for the verb `train`: what it needs, run in one process or several."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from gooseguard.cli.display import Display
    from gooseguard.training.fine_tune import FineTuneConfig


def run_fine_tune(
    config: FineTuneConfig, folder: Path, display: AbstractContextManager[Display]
) -> dict[str, Path]:
    """Fine-tune; give what was written, in the main process of those that torch's launcher started.

    Raises:
        GooseguardError: as `training.fine_tune.fine_tune`, or the vocabulary cannot be read.
    """
    from gooseguard.codec.world import WorldTokenizer  # noqa: PLC0415  (--help needs no NumPy)
    from gooseguard.training.fine_tune import fine_tune  # noqa: PLC0415  (needs torch)
    from gooseguard.training.processes import join, leave  # noqa: PLC0415

    tokenizer = (
        WorldTokenizer.from_file(config.vocabulary) if config.vocabulary else WorldTokenizer.from_package()
    )
    processes = join()
    try:
        if not processes.is_main:
            fine_tune(config, folder, tokenizer, lambda _: None, lambda _: None, processes)
            return {}
        folder.mkdir(parents=True, exist_ok=True)
        with display as shown:
            adapter = fine_tune(config, folder, tokenizer, shown.step, shown.say, processes)
    finally:
        leave(processes)
    return {"adapter": adapter}
