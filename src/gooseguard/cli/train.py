"""The verb `train`: a recipe to a dataset, a checkpoint, policies and an engine file, in one folder."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gooseguard.cli import options  # noqa: TC001  (typer reads the annotations)
from gooseguard.cli.display import Display, open_display
from gooseguard.cli.output import write_made
from gooseguard.cli.tune import run_fine_tune, run_llava, run_visual
from gooseguard.core.config import read_recipe, without_paths
from gooseguard.core.errors import ConfigError
from gooseguard.core.extras import needing

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from gooseguard.data.shards import DatasetColumns
    from gooseguard.training.fine_tune import FineTuneConfig
    from gooseguard.training.llava_config import LlavaTuneConfig
    from gooseguard.training.run import TrainConfig
    from gooseguard.training.visual_config import VisualTuneConfig

HELP = "Train a model, or fine-tune one, from a recipe; the same command resumes a run that was stopped."

EPILOG = """[bold]Examples[/bold]

[cyan]gooseguard train recipes/starter-text.toml --set data.root=../data/text[/cyan]

[cyan]gooseguard train recipes/starter-text.toml --set data.root=../data/text --output runs/mine[/cyan]

[cyan]gooseguard train recipes/starter-text.toml --dataset datasets/text --plan balanced[/cyan]

[cyan]gooseguard train recipes/mod-rwkv.toml --set base=rwkv7-g1-2.9b.pth --set data=instructions/[/cyan]"""


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command("train", help=HELP, epilog=EPILOG)
    def train_verb(
        recipe: options.Recipe,
        override: options.Override = None,
        output: options.RunFolder = None,
        dataset: Annotated[
            Path | None,
            typer.Option("--dataset", metavar="FOLDER", help="Train on what `data build` made."),
        ] = None,
        plan: Annotated[
            str | None, typer.Option("--plan", metavar="NAME", help="A plan of the dataset; else original.")
        ] = None,
        json: options.Json = False,
    ) -> None:
        overrides = (override or []) + ([f"plan={plan}"] if plan is not None else [])
        config = _read_recipe(recipe, overrides)
        made = _run(config, output or Path("runs") / config.name, dataset)
        if made:
            # Else one of several processes, and not the one that reports.
            write_made(made, is_json=json)


def _run(
    config: TrainConfig | FineTuneConfig | VisualTuneConfig | LlavaTuneConfig,
    folder: Path,
    dataset: Path | None,
) -> dict[str, Path]:
    """Do what a recipe of any kind asks for; give what was written."""
    from gooseguard.training.llava_config import LlavaTuneConfig  # noqa: PLC0415
    from gooseguard.training.run import TrainConfig  # noqa: PLC0415  (needs torch: the extra "train")
    from gooseguard.training.visual_config import VisualTuneConfig  # noqa: PLC0415

    if isinstance(config, TrainConfig):
        return run_recipe(config, folder, dataset)
    if dataset is not None:
        raise ConfigError("a recipe of this kind names its data itself; leave --dataset out")
    if isinstance(config, VisualTuneConfig):
        return run_visual(config, folder, open_display())
    if isinstance(config, LlavaTuneConfig):
        return run_llava(config, folder, open_display())
    return run_fine_tune(config, folder, open_display())


def _read_recipe(
    recipe: Path, overrides: list[str]
) -> TrainConfig | FineTuneConfig | VisualTuneConfig | LlavaTuneConfig:
    """Read a recipe; its `held_out` file is looked for beside it."""
    with needing("training needs"):
        from gooseguard.training.fine_tune import FineTuneConfig  # noqa: PLC0415  (as above)
        from gooseguard.training.llava_config import LlavaTuneConfig  # noqa: PLC0415
        from gooseguard.training.run import TrainConfig  # noqa: PLC0415
        from gooseguard.training.visual_config import VisualTuneConfig  # noqa: PLC0415
    kinds: dict[str, type[TrainConfig | FineTuneConfig | VisualTuneConfig | LlavaTuneConfig]] = {
        "train": TrainConfig,
        "fine-tune": FineTuneConfig,
        "visual": VisualTuneConfig,
        "llava": LlavaTuneConfig,
    }
    config = read_recipe(kinds, "train", recipe, overrides)
    if not isinstance(config, TrainConfig):
        return config
    held_out = config.data.held_out
    if held_out and not Path(held_out).is_absolute() and not Path(held_out).is_file():
        config = replace(config, data=replace(config.data, held_out=str(recipe.parent / held_out)))
    return config


def run_recipe(config: TrainConfig, folder: Path, dataset: Path | None = None) -> dict[str, Path]:
    """Build the dataset, where it is neither given nor there, train, and export; give what was written."""
    from gooseguard.engine.export import export  # noqa: PLC0415  (only this verb needs them)
    from gooseguard.training.run import train  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    with open_display() as display:
        if dataset is None:
            dataset = folder / "dataset"
            _build_dataset(config, dataset, display)
        teacher = tfidf_teacher if config.teacher_weight > 0 else None
        checkpoint = train(config, dataset, folder, display.step, display.say, teacher)
        engine_file = folder / f"{config.name}.safetensors"
        display.say("export")
        export(checkpoint, engine_file, "bf16")
    return {
        "dataset": dataset,
        "checkpoint": checkpoint,
        "policies": folder / "policies",
        "engine file": engine_file,
    }


def tfidf_teacher(
    train: DatasetColumns, val: DatasetColumns, categories: Sequence[str]
) -> NDArray[np.float32]:
    """Fit TF-IDF and logistic regression on the training rows; give its scores of them, float32, (n, K)."""
    import numpy as np  # noqa: PLC0415  (only this verb needs them)

    from gooseguard.evaluation.baseline import HeldOut, fit_baseline  # noqa: PLC0415

    held_out = HeldOut(val.texts, val.labels, np.array(val.sources))
    baseline = fit_baseline(train.texts, train.labels, categories, held_out)
    scores = baseline.predict(train.texts)
    return np.ascontiguousarray(scores[:, [baseline.ordered.index(category) for category in categories]])


def _build_dataset(config: TrainConfig, dataset: Path, display: Display) -> None:
    from gooseguard.data.build import build  # noqa: PLC0415
    from gooseguard.data.shards import read_dataset_manifest  # noqa: PLC0415

    if not dataset.exists():
        build(config.data, dataset, display.count)
        return
    wanted, found = without_paths(asdict(config.data)), without_paths(read_dataset_manifest(dataset).config)
    if wanted != found:
        changed = sorted(key for key in {*wanted, *found} if wanted.get(key) != found.get(key))
        raise ConfigError(
            f"{dataset}: was built with other settings ({', '.join(changed)}); "
            "give another --output, or remove it"
        )
