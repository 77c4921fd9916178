"""The verb `distill`: a dataset and a teacher to a student's checkpoint, policies and engine file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gooseguard.cli import options  # noqa: TC001  (typer reads the annotations)
from gooseguard.cli.display import open_display
from gooseguard.cli.output import write_made
from gooseguard.core.config import read_recipe
from gooseguard.core.errors import ConfigError

if TYPE_CHECKING:
    from contextlib import ExitStack

    import typer

    from gooseguard.training.distill import DistillConfig, EndpointConfig
    from gooseguard.training.lessons import Teacher

HELP = """Train a small model on people's labels and on what a teacher says of the same texts and others.

The teacher is a model of any kind, scores in a file, or an OpenAI-compatible endpoint, whose key is read
from the environment variable GOOSEGUARD_TEACHER_KEY. It is asked for each text once: what it said is kept.
The same command resumes a run that was stopped."""

EPILOG = """[bold]Examples[/bold]

[cyan]gooseguard distill recipes/distill-text.toml --set data=dataset --set teacher.model=big[/cyan]

[cyan]gooseguard distill recipes/distill-text.toml --set data=dataset --set teacher.scores=a.jsonl[/cyan]"""

KEY_VARIABLE = "GOOSEGUARD_TEACHER_KEY"
"""Environment variable with the endpoint's key."""


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command("distill", help=HELP, epilog=EPILOG)
    def distill_verb(
        recipe: options.Recipe,
        override: options.Override = None,
        output: options.RunFolder = None,
        json: options.Json = False,
    ) -> None:
        config = _read_recipe(recipe, override or [])
        write_made(run_recipe(config, output or Path("runs") / config.name), is_json=json)


def _read_recipe(recipe: Path, overrides: list[str]) -> DistillConfig:
    try:
        from gooseguard.training.distill import DistillConfig  # noqa: PLC0415  (needs torch)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"distilling needs {error.name}, which is not installed; run: pip install 'gooseguard[train]'"
        ) from None
    config: DistillConfig = read_recipe({"distill": DistillConfig}, "distill", recipe, overrides)
    return config


def run_recipe(config: DistillConfig, folder: Path) -> dict[str, Path]:
    """Ask the teacher, fit and export; give what was written."""
    from contextlib import ExitStack  # noqa: PLC0415  (only this verb needs them)

    from gooseguard.engine.export import export  # noqa: PLC0415
    from gooseguard.training.distill import Listener, distill  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    with open_display() as display, ExitStack() as stack:
        teacher = make_teacher(config, stack)
        checkpoint = distill(config, folder, teacher, Listener(display.step, display.say, display.count))
        engine_file = folder / f"{config.name}.safetensors"
        display.say("export")
        export(checkpoint, engine_file, "bf16")
    return {"checkpoint": checkpoint, "policies": folder / "policies", "engine file": engine_file}


def make_teacher(config: DistillConfig, stack: ExitStack) -> Teacher:
    """Make whoever a recipe names as teacher; `stack` closes what it opens."""
    from gooseguard import backends  # noqa: PLC0415  (only this verb needs them)
    from gooseguard.models.checkpoint import read_checkpoint  # noqa: PLC0415
    from gooseguard.training.teachers import CheckpointTeacher, FileTeacher, ScorerTeacher  # noqa: PLC0415

    named = config.teacher
    if named.endpoint is not None:
        return _endpoint_teacher(named.endpoint, stack)
    if named.scores is not None:
        return FileTeacher(Path(named.scores), _texts_by_id(Path(config.data)))
    path = Path(named.model or "")
    if path.is_dir():
        return CheckpointTeacher(read_checkpoint(path), [pair[0] for pair in config.teach.layers])
    return ScorerTeacher(backends.load(path))


def _endpoint_teacher(named: EndpointConfig, stack: ExitStack) -> Teacher:
    from gooseguard.chat.budget import Prices  # noqa: PLC0415  (only an endpoint needs them)
    from gooseguard.chat.client import ChatClient, Endpoint  # noqa: PLC0415
    from gooseguard.engine.remote import RemoteScorer  # noqa: PLC0415
    from gooseguard.training.teachers import ScorerTeacher  # noqa: PLC0415

    endpoint = Endpoint(
        named.url,
        named.model,
        timeout_s=named.timeout_s,
        parallel=named.parallel,
        retries=named.retries,
        prices=Prices(named.prompt_price, named.completion_price, named.budget),
    )
    client = stack.enter_context(ChatClient(endpoint, os.environ.get(KEY_VARIABLE, "")))
    return ScorerTeacher(RemoteScorer(client, named.categories))


def _texts_by_id(dataset: Path) -> dict[str, str]:
    """Give the id and the text of every training row."""
    from gooseguard.data.shards import read_columns  # noqa: PLC0415  (only scores in a file need it)

    train = read_columns(dataset, "train", [])
    return dict(zip(train.ids, train.texts, strict=True))
