"""The stage dataset + answering teacher -> instructions -> adapter of a language model, the student.

What the teacher answered becomes a dataset of instructions, which `training/fine_tune.py` learns as any.
The same call resumes where a killed run left off: answers are kept one by one, and so is the fitting.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gooseguard.codec.answer import parse_answer
from gooseguard.codec.prompt import collapse, write_instruction
from gooseguard.codec.text_model import is_model_name
from gooseguard.core.content import Content
from gooseguard.core.errors import ConfigError, DataError
from gooseguard.core.files import write_whole
from gooseguard.core.taxonomy import load_taxonomy, nearest
from gooseguard.data.shards import read_columns
from gooseguard.models.adapter import read_adapter
from gooseguard.models.generate import Sampling
from gooseguard.models.language import LanguageModel
from gooseguard.models.lora import LoraConfig
from gooseguard.models.official import load_official
from gooseguard.models.responder import Responder
from gooseguard.training.answer_loop import TuneConfig
from gooseguard.training.distill import EndpointConfig  # noqa: TC001  (read_config resolves annotations)
from gooseguard.training.fine_tune import FineTuneConfig, Method, fine_tune
from gooseguard.training.lessons import Asked, LessonStore, ask
from gooseguard.training.processes import Processes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gooseguard.models.language import Vocabulary
    from gooseguard.training.distill import Listener
    from gooseguard.training.lessons import Teacher


@dataclass(frozen=True, slots=True)
class AnswerTeacherConfig:
    """Who answers; exactly one of the three."""

    model: str | None = None
    """Official checkpoint with a language head."""
    answers: str | None = None
    """JSON Lines of answers."""
    endpoint: EndpointConfig | None = None
    """A model elsewhere."""
    vocabulary: str = ""
    """Vocabulary file of `model`; empty for that of the installed `rwkv` package."""
    template: str = "chat"
    """Layout that `model` is asked in."""
    temperature: float = 0.0
    """Of its answers; 0 takes the likeliest."""
    max_tokens: int = 256
    """Longer answers are cut, and a cut answer is not learnt."""

    def __post_init__(self) -> None:
        if sum(x is not None for x in (self.model, self.answers, self.endpoint)) != 1:
            raise ConfigError("recipe: teacher: expected exactly one of model, answers and endpoint")


@dataclass(frozen=True, slots=True)
class AnswerDistillConfig:
    """A recipe of kind `distill-answers`."""

    name: str
    """Name of the adapter."""
    base: str
    """The student: an official checkpoint with a language head."""
    data: str
    """Dataset folder, whose texts the teacher is asked about."""
    teacher: AnswerTeacherConfig
    """Who answers."""
    categories: tuple[str, ...] = ()
    """Categories that are asked for; empty for the whole taxonomy."""
    instruction: str = ""
    """What is asked instead, in words; its answers are learnt whatever they look like."""
    lessons: str = ""
    """File that keeps what teachers answered, shared by runs; empty for one in the folder of the run."""
    val_rows: int = 200
    """Validation rows, evenly spread, that the teacher is asked about."""
    compared: int = 50
    """Of those, how many the student answers before and after, to see how often both agree; 0: none."""
    vocabulary: str = ""
    """Vocabulary file of the base; empty for that of the installed `rwkv` package."""
    template: str = "instruction"
    """Layout in which the student is asked."""
    method: Method = Method.LORA
    """What is learnt."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """Sizes and places of the delta."""
    loop: TuneConfig = field(default_factory=TuneConfig)
    """How to fit."""

    def __post_init__(self) -> None:
        if not is_model_name(self.name):
            raise ConfigError(f"recipe: name is {self.name!r}, expected a name without spaces, @ and /")
        if self.categories and self.instruction:
            raise ConfigError("recipe: categories and instruction are both given; expected one of them")
        taxonomy = load_taxonomy()
        for category in self.categories:
            if category not in taxonomy:
                raise ConfigError(f"recipe: unknown category {category!r}{nearest(category, taxonomy)}")
        if self.method is Method.STATE and self.compared:
            raise ConfigError(
                "recipe: compared needs method lora: a learnt state has no checkpoint; set it to 0"
            )

    @property
    def question(self) -> str:
        """Give what is asked about every text."""
        if self.instruction:
            return self.instruction
        taxonomy = load_taxonomy()
        return write_instruction(taxonomy[name] for name in self.categories or taxonomy)


def distill_answers(
    config: AnswerDistillConfig, output: Path, teacher: Teacher, tokenizer: Vocabulary, listener: Listener
) -> dict[str, Path]:
    """Ask the teacher and fine-tune the student on what it answered.

    Args:
        config: the recipe.
        output: folder of the run: `instructions`, `adapter`, `agreement.json`, and `work` for resuming.
        teacher: whoever `config.teacher` names.
        tokenizer: the student's vocabulary.
        listener: told where the run stands.

    Returns:
        What was written, by name.

    Raises:
        DataError: the teacher gave no answer that can be learnt.
        EngineError: the teacher failed on too many texts.
        ArtefactError, ConfigError: as `fine_tune`.
    """
    listener.say("read dataset")
    folder = output / "instructions"
    store = Path(config.lessons) if config.lessons else output / "work" / "lessons.sqlite"
    counts = {}
    folder.mkdir(parents=True, exist_ok=True)
    with LessonStore(store) as lessons:
        for split in ("val", "train"):
            columns = read_columns(Path(config.data), split, [])
            every = max(1, len(columns.texts) // max(config.val_rows, 1)) if split == "val" else 1
            ids, texts = columns.ids[::every], columns.texts[::every]
            asked = ask(teacher, texts, lessons, lambda n, m: listener.count("ask the teacher", n, m))
            rows = make_rows(config, ids, texts, asked, teacher.name)
            write_rows(folder / f"{split}.jsonl", rows)
            counts[split] = {"texts": len(texts), "learnt": len(rows), "failed": asked.n_failed}
    if not counts["train"]["learnt"]:
        raise DataError(
            f"{config.data}: teacher {teacher.name} gave no answer that can be learnt "
            f"({counts['train']['failed']} of {counts['train']['texts']} failed, the rest are empty or "
            "unparsable); look at the instruction, or give instruction instead of categories"
        )
    tuned = FineTuneConfig(
        config.name,
        config.base,
        str(folder),
        config.vocabulary,
        config.template,
        val_fraction=0.0,
        method=config.method,
        lora=config.lora,
        loop=config.loop,
    )
    alone = Processes(0, 1, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    adapter = fine_tune(tuned, output, tokenizer, listener.step, listener.say, alone)
    facts: dict[str, Any] = {"teacher": teacher.name, "rows": counts}
    if config.compared:
        listener.say("compare answers")
        facts["agreement"] = compare(config, adapter, folder / "val.jsonl", tokenizer, listener)
    report = output / "agreement.json"
    write_whole(report, json.dumps(facts, indent=2) + "\n")
    return {"instructions": folder, "adapter": adapter, "agreement": report}


def make_rows(
    config: AnswerDistillConfig, ids: Sequence[str], texts: Sequence[str], asked: Asked, teacher: str
) -> list[dict[str, str]]:
    """Give an instruction row for each answer that can be learnt.

    Where categories are asked for, an answer of any other form is left out: it would teach to be unparsable.
    """
    rows = []
    for row_id, text, lesson in zip(ids, texts, asked.lessons, strict=True):
        answer = None if lesson is None else lesson.answer
        if answer is None or not collapse(text):
            continue
        if not config.instruction and parse_answer(answer, config.categories or None).flagged is None:
            continue
        rows.append(
            {
                "id": row_id,
                "instruction": config.question,
                "content": text,
                "answer": answer,
                "template": config.template,
                "teacher": teacher,
            }
        )
    return rows


def write_rows(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write JSON Lines, whole or not at all; no file where there are no rows."""
    path.unlink(missing_ok=True)
    if rows:
        write_whole(path, "".join(json.dumps(row) + "\n" for row in rows))


def compare(
    config: AnswerDistillConfig, adapter: Path, held_out: Path, tokenizer: Vocabulary, listener: Listener
) -> dict[str, float | int | None]:
    """Tell how often the student says what the teacher said of held-out texts, before and after.

    Returns:
        `rows` that were compared, and the shares `before` and `after`, 0..1; None where there are no rows.
    """
    lines = held_out.read_text("utf-8").splitlines() if held_out.is_file() else []
    rows = [json.loads(line) for line in lines]
    rows = rows[:: max(1, len(rows) // config.compared)]
    model = load_official(config.base)
    shares = {}
    for name in ("before", "after"):
        if name == "after":
            read_adapter(adapter).apply(model)
        student = LanguageModel(model, tokenizer)
        same = 0
        for i, row in enumerate(rows, start=1):
            same += is_same(config, student, row)
            listener.count(f"compare answers {name}", i, len(rows))
        shares[name] = same / len(rows) if rows else None
    return {"rows": len(rows), **shares}


def is_same(config: AnswerDistillConfig, student: LanguageModel, row: dict[str, str]) -> bool:
    """Tell whether the student says what the teacher said: the same categories, or else the same words."""
    responder = Responder(student, template=config.template, categories=config.categories or None)
    sampling = Sampling(max_tokens=config.teacher.max_tokens)
    answer = responder.respond(row["instruction"], Content.from_text(row["content"]), sampling)
    if config.instruction:
        return collapse(answer.text) == collapse(row["answer"])
    return answer.parsed.flagged == parse_answer(row["answer"], config.categories or None).flagged
