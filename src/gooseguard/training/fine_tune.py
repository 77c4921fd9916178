"""The stage base checkpoint + instructions -> adapter. The same call resumes where a killed run left off."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gooseguard.codec.prompt import get_template
from gooseguard.codec.text_model import is_model_name
from gooseguard.core.errors import ConfigError, DataError
from gooseguard.core.manifest import canonical_json, digest_file
from gooseguard.data.instructions import Conversation, instruction_files, read_instructions
from gooseguard.models.adapter import (
    InitialStates,
    delta_parameters,
    state_names,
    tensors_digest,
    write_adapter,
)
from gooseguard.models.lora import LoraConfig, attach_lora
from gooseguard.models.official import load_official, read_official
from gooseguard.training.answer_loop import AnswerLoss, Precision, TuneConfig, TuneSet, tune
from gooseguard.training.answers import AnswerRows, encode_rows
from gooseguard.training.card import environment
from gooseguard.training.processes import Processes, shard_base
from gooseguard.training.resume import ResumePoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

    from gooseguard.codec.prompt import Encoder
    from gooseguard.models.rwkv import Rwkv
    from gooseguard.training.loop import Reporter
    from gooseguard.training.run import Say

DTYPES = {Precision.BF16: torch.bfloat16, Precision.F32: torch.float32}


class Method(StrEnum):
    """What is learnt."""

    LORA = "lora"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class FineTuneConfig:
    """A recipe of kind `fine-tune`."""

    name: str
    """Name of the adapter."""
    base: str
    """Official checkpoint, `.pth` or safetensors."""
    data: str
    """JSON Lines of instructions, or a folder of `train*.jsonl` and, if it has any, `val*.jsonl`."""
    vocabulary: str = ""
    """Vocabulary file of the base; empty for the RWKV World vocabulary of the installed `rwkv` package."""
    template: str = "chat"
    """Layout of the rows that name none."""
    val_fraction: float = 0.01
    """Where the data has no val files: share of the rows held out, chosen by their digests."""
    method: Method = Method.LORA
    """A low-rank delta on matrices, or the states that the layers begin with."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """Sizes and places of the delta; not read by the method `state`."""
    loop: TuneConfig = field(default_factory=TuneConfig)
    """How to fit."""

    def __post_init__(self) -> None:
        if not is_model_name(self.name):
            raise ConfigError(f"recipe: name is {self.name!r}, expected a name without spaces, @ and /")
        if not 0 <= self.val_fraction < 1:
            raise ConfigError(f"recipe: val_fraction is {self.val_fraction}, expected at least 0, below 1")
        get_template(self.template)


def fine_tune(
    config: FineTuneConfig,
    output: Path,
    tokenizer: Encoder,
    report: Reporter,
    say: Say,
    processes: Processes,
) -> Path:
    """Fine-tune and write the adapter folder `output`/adapter.

    Args:
        config: the recipe.
        output: folder of the run; what a resumed run needs lies in its `work`.
        tokenizer: the base's vocabulary.
        report: told where training stands, after every step.
        say: told which phase begins.
        processes: who shares the work; each calls this with the same arguments.

    Returns:
        The adapter folder.

    Raises:
        ArtefactError: the base is broken, or the run was begun with another recipe, base or other data.
        DataError: a row is wrong, or none is left to learn from.
        ConfigError: the base has no language head or another vocabulary, or a target is none of its matrices.
    """
    say("read instructions")
    train, val, inputs = read_rows(config, tokenizer)
    say("read base")
    base = tensors_digest(read_official(Path(config.base)))
    model = load_official(config.base, dtype=DTYPES[config.loop.precision])
    if model.head is None:
        raise ConfigError(f"{config.base}: has no head.weight, and cannot answer; expected a language model")
    largest = int(max(rows.tokens.max(initial=0) for rows in (train, val)))
    if largest >= model.config.vocab_size:
        raise ConfigError(
            f"{config.base}: has {model.config.vocab_size} tokens, the vocabulary gave token {largest}; "
            "expected the base's own vocabulary"
        )
    model.to(processes.device)
    loss = make_loss(model, config)
    if config.loop.is_sharded and processes.count > 1:
        shard_base(loss, model, processes)
    recipe = describe(config)
    fingerprint = hashlib.sha256(canonical_json([recipe, base, inputs]).encode()).hexdigest()
    say("fit")
    points = ResumePoints(output / "work" / "resume", fingerprint)
    facts = tune(loss, TuneSet(train, val), config.loop, points, report, processes)
    folder = output / "adapter"
    if processes.is_main:
        counts = {"train": len(train), "val": len(val), "too_long": train.n_too_long + val.n_too_long}
        write_adapter(
            folder,
            learnt_tensors(loss),
            base=base,
            lora=config.lora if config.method is Method.LORA else None,
            config=recipe,
            inputs=inputs,
            facts={"name": config.name, "rows": counts, "training": {**facts, **environment()}},
        )
    processes.wait()
    return folder


def make_loss(model: Rwkv, config: FineTuneConfig) -> AnswerLoss:
    """Put what is learnt beside a frozen model."""
    states = None
    if config.method is Method.LORA:
        attach_lora(model, config.lora, config.loop.seed)
    else:
        states = InitialStates(model)
    return AnswerLoss(model, states, is_checkpointed=config.loop.is_checkpointed)


def learnt_tensors(loss: AnswerLoss) -> dict[str, Tensor]:
    """Give what an adapter stores."""
    if loss.states is None:
        return delta_parameters(loss.model)
    return {name: loss.states.wkv[i] for i, name in enumerate(state_names(loss.model))}


def describe(config: FineTuneConfig) -> dict[str, Any]:
    """Give the recipe without where files lay: their digests say what was in them."""
    table: dict[str, Any] = asdict(config)
    return {key: value for key, value in table.items() if key not in {"base", "data", "vocabulary"}}


def read_rows(config: FineTuneConfig, tokenizer: Encoder) -> tuple[AnswerRows, AnswerRows, dict[str, str]]:
    """Read and encode training and validation rows; no conversation is in both.

    Returns:
        Training rows, at least one; validation rows; and the digest of each split's files.

    Raises:
        DataError: a file or a row is wrong, or no training row is left.
    """
    path = Path(config.data)
    files = {split: instruction_files(path, split) for split in ("train", "val")}
    rows = {
        split: [row for file in files[split] for row in read_instructions(file, config.template)]
        for split in files
    }
    if files["val"]:
        held_out = {row.digest() for row in rows["val"]}
        train, val = [row for row in rows["train"] if row.digest() not in held_out], rows["val"]
    else:
        train, val = divide(rows["train"], lambda row: _share(row) >= config.val_fraction)
    encoded = [encode_rows(side, tokenizer, config.loop.longest) for side in (train, val)]
    if not len(encoded[0]):
        raise DataError(
            f"{path}: no training row is left ({len(rows['train'])} read, {encoded[0].n_too_long} longer "
            f"than loop.longest {config.loop.longest}); add data or raise loop.longest"
        )
    inputs = {
        split: hashlib.sha256("\n".join(map(digest_file, of_split)).encode()).hexdigest()
        for split, of_split in files.items()
        if of_split
    }
    return encoded[0], encoded[1], inputs


def divide(
    rows: Iterable[Conversation], is_train: Callable[[Conversation], bool]
) -> tuple[list[Conversation], list[Conversation]]:
    """Divide rows in two, each side in order."""
    sides: tuple[list[Conversation], list[Conversation]] = ([], [])
    for row in rows:
        sides[0 if is_train(row) else 1].append(row)
    return sides


def _share(row: Conversation) -> float:
    """Give a number in 0..1 that depends on the row's words alone: equal rows fall on the same side."""
    return int(row.digest()[:8], 16) / 2**32
