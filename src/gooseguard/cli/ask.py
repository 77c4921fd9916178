"""The verb `ask`: an instruction and a text, or rows, to answers in words, as the model writes them."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from gooseguard.batch.table import Row, RowError
from gooseguard.cli import options  # noqa: TC001  (typer reads the annotations)
from gooseguard.cli.output import Output, open_output
from gooseguard.cli.parts import split_words
from gooseguard.cli.render import to_text, visible
from gooseguard.cli.rows import STDIN, Format, Layout, open_input, read_rows
from gooseguard.cli.score import make_row, show_progress
from gooseguard.codec.prompt import TURN_END, write_instruction
from gooseguard.core.errors import ConfigError, ContentError, DataError
from gooseguard.core.taxonomy import load_taxonomy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gooseguard.models.generate import Sampling
    from gooseguard.models.language import LanguageModel
    from gooseguard.models.responder import Answer, Responder

HELP = """Ask an official RWKV checkpoint about a text, images or rows, and write its answer as it comes.

Without --instruction it is asked which categories of the taxonomy the text falls under, and why; an answer to
that which cannot be read is told as unparsable.

Exit status: 0 done; 2 wrong use or input, or rows that could not be answered."""

EPILOG = """[bold]Examples[/bold]

[cyan]gooseguard ask --model rwkv7-g1-0.4b.pth "you are a moron"[/cyan]

[cyan]gooseguard ask --model x060-3B.pth --instruction "Is this an insult? Why?" "you are a moron"[/cyan]

[cyan]gooseguard ask --model rwkv7.pth --labels "allow,review,block" --json "you are a moron"[/cyan]

[cyan]gooseguard ask --model visualrwkv photo.jpg --instruction "What is written on the sign?"[/cyan]

[cyan]gooseguard ask --model rwkv7.pth --input comments.jsonl --json > answers.jsonl[/cyan]"""


class Template(StrEnum):
    """How a prompt is laid out; the keys of `codec.prompt.TEMPLATES`."""

    CHAT = "chat"
    INSTRUCTION = "instruction"


_Model = Annotated[
    str,
    typer.Option(
        "--model", metavar="FILE", help="Official RWKV checkpoint, or a VisualRWKV model: file or folder."
    ),
]
_Text = Annotated[
    list[str] | None, typer.Argument(metavar="[IMAGE]… TEXT", help="Image files, and a text in quotes.")
]
_Source = Annotated[
    str | None, typer.Option("--input", metavar="FILE", help="JSON Lines or CSV; - is standard input.")
]
_Instruction = Annotated[
    str | None, typer.Option("--instruction", metavar="TEXT", help="What to ask; else for the categories.")
]
_Template = Annotated[Template, typer.Option("--template", help="How the prompt is laid out.")]
_Temperature = Annotated[
    float, typer.Option("--temperature", min=0.0, help="0 takes the likeliest token each time.")
]
_TopP = Annotated[
    float, typer.Option("--top-p", help="Draw from the likeliest tokens up to this probability.")
]
_MaxTokens = Annotated[int, typer.Option("--max-tokens", min=1, help="Most tokens of an answer.")]
_TimeLimit = Annotated[
    float | None, typer.Option("--time-limit", metavar="SECONDS", help="Most seconds an answer may take.")
]
_Stop = Annotated[
    list[str] | None,
    typer.Option("--stop", metavar="TEXT", help="Also end the answer before this; may be repeated."),
]
_Labels = Annotated[
    str | None, typer.Option("--labels", metavar="A,B,…", help="Answer with exactly one of these.")
]
_Seed = Annotated[int, typer.Option("--seed", min=0, help="Of what is drawn at a temperature above 0.")]
_Column = Annotated[
    str, typer.Option("--text-column", metavar="NAME", help="Column, or JSON key, of the text.")
]
_IdColumn = Annotated[
    str | None, typer.Option("--id-column", metavar="NAME", help="Column, or JSON key, of the id; else id.")
]


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command("ask", help=HELP, epilog=EPILOG)
    def ask(  # noqa: PLR0913  (one parameter an option)
        model: _Model,
        text: _Text = None,
        source: _Source = None,
        instruction: _Instruction = None,
        json: options.Json = False,
        template: _Template = Template.CHAT,
        temperature: _Temperature = 0.0,
        top_p: _TopP = 1.0,
        max_tokens: _MaxTokens = 256,
        time_limit: _TimeLimit = None,
        stop: _Stop = None,
        labels: _Labels = None,
        seed: _Seed = 0,
        text_column: _Column = "text",
        id_column: _IdColumn = None,
        vocabulary: options.Vocabulary = None,
        threads: options.Threads = None,
    ) -> None:
        texts, images = split_words(text or [])
        _check_use(texts, images, source, instruction)
        layout = Layout("stdin" if source == STDIN else source or "TEXT", Format.AUTO, text_column, id_column)
        content = make_row(texts, images, layout)
        # Late, because they need torch.
        from gooseguard import backends  # noqa: PLC0415

        language = backends.load_language(model, threads=threads, vocabulary=vocabulary)
        from gooseguard.models.generate import Sampling  # noqa: PLC0415
        from gooseguard.models.responder import Responder  # noqa: PLC0415

        sampling = Sampling(
            temperature,
            top_p,
            max_tokens,
            time_limit,
            (TURN_END, *(stop or ())),
            tuple(label.strip() for label in labels.split(",")) if labels is not None else (),
            seed,
        )
        asking = _Asking(
            Responder(language, template=template.value),
            write_instruction(load_taxonomy().values()) if instruction is None else instruction,
            sampling,
            language,
            is_ours=instruction is None,
        )
        with open_output(None) as output:
            if source is None:
                asking.answer_one(content, output, is_json=json)
                return
            n_error = 0
            with open_input(source) as stream, show_progress(stream, output, "asking") as advance:
                for row in read_rows(stream, layout):
                    n_error += asking.answer_row(row, output, is_json=json)
                    advance()
        if n_error:
            raise DataError(f"{n_error} rows could not be answered; the output says why, row by row")


def _check_use(texts: list[str], images: list[Path], source: str | None, instruction: str | None) -> None:
    """Check that there is one content, or a source, or at least something to ask."""
    if (texts or images) and source is not None:
        raise ConfigError("ask: got both TEXT and --input; pass one of them")
    if not texts and not images and source is None and instruction is None:
        raise ConfigError(
            "ask: got no text; pass TEXT in quotes, --input FILE (- is stdin), or --instruction"
        )
    if len(texts) > 1:
        raise ConfigError(f"ask: got {len(texts)} texts, expected one; put quotes around it")


class _Asking:
    """One instruction, put to one model about one content after the other."""

    def __init__(
        self,
        responder: Responder,
        instruction: str,
        sampling: Sampling,
        model: LanguageModel,
        *,
        is_ours: bool,
    ) -> None:
        self._responder = responder
        self._instruction = instruction
        self._sampling = sampling
        self._model = model
        # Only an answer to our own instruction is expected to be of a form that can be read.
        self._is_parsed = is_ours and not sampling.labels

    def answer_one(self, row: Row, output: Output, *, is_json: bool) -> None:
        if is_json:
            output.write_json(self._respond(row, lambda text: None) | {"model": self._model.name})
            return
        facts = self._respond(row, lambda text: output.write(_shown(text, output)))
        output.write("\n")
        if self._is_parsed and facts["flagged"] is None:
            print(f"note: the answer is unparsable: {facts['problem']}", file=sys.stderr)
        if facts["finish"] in ("length", "time"):
            print(
                f"note: the answer was cut ({facts['finish']}); see --max-tokens, --time-limit",
                file=sys.stderr,
            )

    def answer_row(self, row: Row | RowError, output: Output, *, is_json: bool) -> bool:
        """Write one line; tell whether the row failed."""
        if isinstance(row, Row):
            try:
                facts = self._respond(row, lambda text: None)
            except ContentError as error:
                facts = {"id": row.id, "error": {"type": "ContentError", "message": str(error)}}
        else:
            facts = {"id": row.id, "error": {"type": row.error.type, "message": row.error.message}}
        if is_json:
            output.write_json(facts | {"model": self._model.name})
        else:
            words = facts["answer"] if "answer" in facts else f"error: {facts['error']['message']}"
            line = Text(f"{visible(facts['id'])}  {visible(' '.join(words.split()))}")
            output.write(to_text(line, is_terminal=output.is_terminal))
        return "error" in facts

    def _respond(self, row: Row, show: Callable[[str], None]) -> dict[str, Any]:
        begin = time.perf_counter()
        prefix = self._responder.read(self._instruction, row.content)
        texts = []
        for delta in self._responder.write(prefix, self._sampling):
            texts.append(delta.text)
            show(delta.text)
        answer: Answer = self._responder.make_answer("".join(texts).rstrip(), delta, prefix)
        facts = {
            "id": row.id,
            "answer": answer.text,
            "finish": str(answer.finish),
            "prompt_tokens": answer.n_prompt_token,
            "tokens": answer.n_token,
            "seconds": round(time.perf_counter() - begin, 3),
        }
        if self._sampling.labels:
            facts["log_probabilities"] = self._responder.weigh(prefix, self._sampling.labels)
        if self._is_parsed:
            parsed = answer.parsed
            flagged = None if parsed.flagged is None else list(parsed.flagged)
            facts |= {"flagged": flagged, "rationale": parsed.rationale, "problem": parsed.problem}
        return facts


def _shown(text: str, output: Output) -> str:
    """Give a model's words as they are, but on a terminal, which must not act on what is in them."""
    if not output.is_terminal:
        return text
    return "\n".join(map(visible, text.split("\n")))
