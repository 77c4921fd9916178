"""The verb `distill`: a dataset and a teacher to a student's checkpoint, policies and engine file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gooseguard.cli import options  # noqa: TC001  (typer reads the annotations)
from gooseguard.cli.display import open_display
from gooseguard.cli.output import write_made
from gooseguard.core.config import read_recipe
from gooseguard.core.extras import needing

if TYPE_CHECKING:
    from contextlib import ExitStack

    import typer

    from gooseguard.chat.client import ChatClient
    from gooseguard.training.distill import DistillConfig, EndpointConfig
    from gooseguard.training.distill_answers import AnswerDistillConfig
    from gooseguard.training.lessons import Teacher

HELP = """Train a small model on people's labels and on what a teacher says of the same texts and others.

With kind = "distill-answers" in the recipe, the student is a language model that learns a teacher's written
answers.

The teacher is a model of any kind, scores or answers in a file, or an OpenAI-compatible endpoint, whose key
is read from the environment variable GOOSEGUARD_TEACHER_KEY. It is asked for each text once: what it said is
kept. The same command resumes a run that was stopped."""

EPILOG = """[bold]Examples[/bold]

[cyan]gooseguard distill recipes/distill-text.toml --set data=dataset --set teacher.model=big[/cyan]

[cyan]gooseguard distill recipes/distill-text.toml --set data=dataset --set teacher.scores=a.jsonl[/cyan]

[cyan]gooseguard distill recipes/distill-answers.toml --set data=dataset --set base=rwkv7-g1-0.1b.pth \\
  --set teacher.model=rwkv7-g1-2.9b.pth[/cyan]"""

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
        write_made(_run(config, output or Path("runs") / config.name), is_json=json)


def _run(config: DistillConfig | AnswerDistillConfig, folder: Path) -> dict[str, Path]:
    """Do what a recipe of either kind asks for; give what was written."""
    from gooseguard.training.distill import DistillConfig  # noqa: PLC0415  (needs torch)

    folder.mkdir(parents=True, exist_ok=True)
    return run_recipe(config, folder) if isinstance(config, DistillConfig) else run_answers(config, folder)


def _read_recipe(recipe: Path, overrides: list[str]) -> DistillConfig | AnswerDistillConfig:
    with needing("distilling needs"):
        from gooseguard.training.distill import DistillConfig  # noqa: PLC0415  (needs torch)
        from gooseguard.training.distill_answers import AnswerDistillConfig  # noqa: PLC0415
    kinds: dict[str, type[DistillConfig | AnswerDistillConfig]] = {
        "distill": DistillConfig,
        "distill-answers": AnswerDistillConfig,
    }
    return read_recipe(kinds, "distill", recipe, overrides)


def run_recipe(config: DistillConfig, folder: Path) -> dict[str, Path]:
    """Ask the teacher, fit and export; give what was written."""
    from contextlib import ExitStack  # noqa: PLC0415  (only this verb needs them)

    from gooseguard.engine.export import export  # noqa: PLC0415
    from gooseguard.training.distill import Listener, distill  # noqa: PLC0415

    with open_display() as display, ExitStack() as stack:
        teacher = make_teacher(config, stack)
        checkpoint = distill(config, folder, teacher, Listener(display.step, display.say, display.count))
        engine_file = folder / f"{config.name}.safetensors"
        display.say("export")
        export(checkpoint, engine_file, "bf16")
    return {"checkpoint": checkpoint, "policies": folder / "policies", "engine file": engine_file}


def run_answers(config: AnswerDistillConfig, folder: Path) -> dict[str, Path]:
    """Ask the teacher in words and fine-tune the student; give what was written."""
    from contextlib import ExitStack  # noqa: PLC0415  (only this verb needs them)

    from gooseguard.codec.world import WorldTokenizer  # noqa: PLC0415
    from gooseguard.training.distill import Listener  # noqa: PLC0415
    from gooseguard.training.distill_answers import distill_answers  # noqa: PLC0415

    own = config.vocabulary
    tokenizer = WorldTokenizer.from_file(own) if own else WorldTokenizer.from_package()
    with open_display() as display, ExitStack() as stack:
        teacher = make_answer_teacher(config, stack)
        listener = Listener(display.step, display.say, display.count)
        return distill_answers(config, folder, teacher, tokenizer, listener)


def make_answer_teacher(config: AnswerDistillConfig, stack: ExitStack) -> Teacher:
    """Make whoever a recipe names as teacher of answers; `stack` closes what it opens."""
    from gooseguard import backends  # noqa: PLC0415  (only this verb needs them)
    from gooseguard.models.generate import Sampling  # noqa: PLC0415
    from gooseguard.training.answer_teachers import EndpointAnswers, ModelAnswers  # noqa: PLC0415
    from gooseguard.training.teachers import FileTeacher  # noqa: PLC0415

    named, question = config.teacher, config.question
    if named.endpoint is not None:
        client = _open_client(named.endpoint, stack)
        return EndpointAnswers(client, question, temperature=named.temperature, longest=named.max_tokens)
    if named.answers is not None:
        return FileTeacher(Path(named.answers), _texts_by_id(Path(config.data), ("train", "val")))
    language = backends.load_language(named.model or "", vocabulary=named.vocabulary or None)
    sampling = Sampling(named.temperature, max_tokens=named.max_tokens)
    return ModelAnswers(language, question, sampling, named.template)


def make_teacher(config: DistillConfig, stack: ExitStack) -> Teacher:
    """Make whoever a recipe names as teacher; `stack` closes what it opens."""
    from gooseguard import backends  # noqa: PLC0415  (only this verb needs them)
    from gooseguard.engine.remote import RemoteScorer  # noqa: PLC0415
    from gooseguard.models.checkpoint import read_checkpoint  # noqa: PLC0415
    from gooseguard.training.teachers import CheckpointTeacher, FileTeacher, ScorerTeacher  # noqa: PLC0415

    named = config.teacher
    if named.endpoint is not None:
        return ScorerTeacher(RemoteScorer(_open_client(named.endpoint, stack), named.endpoint.categories))
    if named.scores is not None:
        return FileTeacher(Path(named.scores), _texts_by_id(Path(config.data), ("train",)))
    path = Path(named.model or "")
    if path.is_dir():
        return CheckpointTeacher(read_checkpoint(path), [pair[0] for pair in config.teach.layers])
    return ScorerTeacher(backends.load(path))


def _open_client(named: EndpointConfig, stack: ExitStack) -> ChatClient:
    from gooseguard.chat.budget import Prices  # noqa: PLC0415  (only an endpoint needs them)
    from gooseguard.chat.client import ChatClient, Endpoint  # noqa: PLC0415

    endpoint = Endpoint(
        named.url,
        named.model,
        timeout_s=named.timeout_s,
        parallel=named.parallel,
        retries=named.retries,
        prices=Prices(named.prompt_price, named.completion_price, named.budget),
    )
    return stack.enter_context(ChatClient(endpoint, os.environ.get(KEY_VARIABLE, "")))


def _texts_by_id(dataset: Path, splits: tuple[str, ...]) -> dict[str, str]:
    """Give the id and the text of every row of some splits."""
    from gooseguard.data.shards import read_columns  # noqa: PLC0415  (only what a file says needs it)

    columns = [read_columns(dataset, split, []) for split in splits]
    return {row: text for of in columns for row, text in zip(of.ids, of.texts, strict=True)}
