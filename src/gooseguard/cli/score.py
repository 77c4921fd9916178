"""The verb `score`: a text, an image with its caption, or rows from a file, to verdicts."""

from __future__ import annotations

import os
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer
from rich.text import Text

from gooseguard.batch.table import MAX_ROWS, Row, score_batches, score_rows
from gooseguard.cli import options  # noqa: TC001  (typer reads the annotations)
from gooseguard.cli.output import Output, json_line, open_output
from gooseguard.cli.parts import read_image, split_words
from gooseguard.cli.render import summary_line, to_text, verdict_line, verdict_table
from gooseguard.cli.rows import MAX_CHARACTERS, STDIN, Format, Layout, make_content, open_input, read_rows
from gooseguard.core.content import Content, Modality, Part
from gooseguard.core.errors import ConfigError, ContentError, DataError
from gooseguard.core.policy import Policy, load_policy

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator

    from gooseguard.core.scorer import Scorer

HELP = """Score a text, images with their caption, or rows from a file, and say what a policy makes of it.

Exit status: 0 done, whatever the verdicts; 2 wrong use or input, or rows that could not be scored."""

EPILOG = """[bold]Examples[/bold]

[cyan]gooseguard score "you are a moron"[/cyan]

[cyan]gooseguard score --model visualrwkv photo.jpg "the caption"[/cyan]

[cyan]gooseguard score --input comments.jsonl --json > verdicts.jsonl[/cyan]

[cyan]gooseguard score --input comments.csv --text-column body --policy mine.toml[/cyan]

[cyan]cat comments.jsonl | gooseguard score --input - --json | jq -c 'select(.flagged)'[/cyan]

A text that begins with a dash goes after two dashes: [cyan]gooseguard score -- "-1 moron"[/cyan]"""


UNCALIBRATED = (
    "note: these scores are not calibrated: they are what the model itself holds likely, and no share of "
    "texts; the policy's thresholds were not chosen for them; pass --calibration FILE"
)
"""What is said, once, of a language head without a calibration."""


class LoadScorer(Protocol):
    """What makes a scorer: `backends.load`, or a stand-in for it."""

    def __call__(self, model: str | None, *, threads: int | None, spans: bool, **options: Any) -> Scorer:  # noqa: ANN401  (as `backends.load` takes them)
        """Load a model; `None` is the packaged starter. `options` are those of official checkpoints."""


@dataclass(frozen=True, slots=True)
class _Job:
    """Who scores, by which policy, and where the verdicts go."""

    scorer: Scorer
    """Fits the policy."""
    policy: Policy
    """Whose thresholds count."""
    is_json: bool
    """One JSON object a row, else for people."""
    path: Path | None
    """The file to write; else standard output."""


_Text = Annotated[
    list[str] | None, typer.Argument(metavar="[IMAGE]… TEXT", help="Image files, and a text in quotes.")
]
_Source = Annotated[
    str | None, typer.Option("--input", metavar="FILE", help="JSON Lines or CSV; - is standard input.")
]
_Spans = Annotated[bool, typer.Option("--spans", help="Also say where in the text; slower.")]
_Output = Annotated[
    Path | None, typer.Option("--output", metavar="FILE", help="Write here; appears when it is whole.")
]
_Form = Annotated[Format, typer.Option("--format", help="Of --input; auto goes by the file's name.")]
_TextColumn = Annotated[
    str, typer.Option("--text-column", metavar="NAME", help="Column, or JSON key, of the text.")
]
_IdColumn = Annotated[
    str | None, typer.Option("--id-column", metavar="NAME", help="Column, or JSON key, of the id; else id.")
]
_MaxCharacters = Annotated[
    int, typer.Option("--max-characters", min=1, help="A longer text is an error of its row.")
]
_BatchRows = Annotated[
    int, typer.Option("--batch-rows", min=1, help="Rows scored at once; 1 answers each line as it comes.")
]
_Calibration = Annotated[
    Path | None,
    typer.Option(
        "--calibration", metavar="FILE", help="Calibration of an official model; else uncalibrated."
    ),
]


def register(app: typer.Typer, load: LoadScorer) -> None:
    """Add the verb."""

    @app.command("score", help=HELP, epilog=EPILOG)
    def score(  # noqa: PLR0913  (one parameter an option)
        text: _Text = None,
        source: _Source = None,
        json: options.Json = False,
        policy: options.Policy = "default",
        model: options.Model = None,
        threads: options.Threads = None,
        spans: _Spans = False,
        output: _Output = None,
        form: _Form = Format.AUTO,
        text_column: _TextColumn = "text",
        id_column: _IdColumn = None,
        max_characters: _MaxCharacters = MAX_CHARACTERS,
        batch_rows: _BatchRows = MAX_ROWS,
        vocabulary: options.Vocabulary = None,
        calibration: _Calibration = None,
    ) -> None:
        texts, images = split_words(text or [])
        _check_use(texts, images, source, output)
        name = "stdin" if source == STDIN else source or "TEXT"
        layout = Layout(name, form, text_column, id_column, max_characters)

        def prepare() -> _Job:
            rules = load_policy(policy)
            # Each category that a language head is asked about takes time: only those that can act.
            asked = {"categories": rules.thresholds.keys()} if model is not None else {}
            given = {"vocabulary": vocabulary, "calibration": calibration}
            given = {name: value for name, value in given.items() if value is not None}
            scorer = load(model, threads=threads, spans=spans, **asked, **given)
            rules.check(scorer.categories, scorer.name)
            if not getattr(scorer, "is_calibrated", True):
                print(UNCALIBRATED, file=sys.stderr)
            return _Job(scorer, rules, json, output)

        if source is None:
            _score_one(make_row(texts, images, layout), prepare)
            return
        with open_input(source) as stream:
            _score_file(stream, layout, prepare, batch_rows)


def _check_use(texts: list[str], images: list[Path], source: str | None, output: Path | None) -> None:
    """Check that there is either one content or a source, and that the source is not written over."""
    if (texts or images) and source is not None:
        raise ConfigError("score: got both TEXT and --input; pass one of them")
    if source is not None:
        is_same = output is not None and output.exists() and Path(source).exists() and output.samefile(source)
        if is_same and source != STDIN:
            raise ConfigError(f"--output {output} is the input; expected another file")
        return
    if not texts and not images:
        raise ConfigError("score: got no text; pass TEXT in quotes, or --input FILE (- is stdin)")
    if len(texts) > 1:
        raise ConfigError(f"score: got {len(texts)} texts, expected one; put quotes around it")
    if texts == [STDIN]:
        raise ConfigError("score: TEXT is a dash; for standard input pass --input -")


def make_row(texts: list[str], images: list[Path], layout: Layout) -> Row:
    """Give the one content that the words of a command line are: images, and at most one text after them.

    Raises:
        ContentError: an image cannot be read, or the text is empty, too long, or not UTF-8.
    """
    parts: list[Part] = []
    for path in images:
        try:
            parts.append(read_image(path))
        except ContentError as error:
            raise ContentError(f"{path}: {error}") from None
    for text in texts:
        # What the interpreter makes of bytes of the command line that are not in its encoding.
        if any("\udc80" <= character <= "\udcff" for character in text):
            raise ContentError("TEXT is not UTF-8; pass it through a file in UTF-8: --input FILE")
        parts += make_content(text, layout).parts
    return Row("1", Content(tuple(parts)))


def _score_one(row: Row, prepare: Callable[[], _Job]) -> None:
    job = prepare()
    (verdict,) = score_rows([row], job.scorer, job.policy)
    error = verdict.get("error")
    if error and not job.is_json:
        raise ContentError(f"the content could not be scored: {error['message']}")
    with open_output(job.path) as output:
        if job.is_json:
            output.write_json(verdict)
        else:
            texts = [part.text for part in row.content.parts if part.modality is Modality.TEXT]
            table = verdict_table(verdict, job.policy, "".join(texts))
            output.write(to_text(table, is_terminal=output.is_terminal))
    if error:
        raise ContentError(f"the content could not be scored: {error['message']}")


def _score_file(
    stream: io.BufferedReader, layout: Layout, prepare: Callable[[], _Job], batch_rows: int
) -> None:
    rows = read_rows(stream, layout)
    job = prepare()
    counts: Counter[str] = Counter()
    with open_output(job.path) as output:
        with show_progress(stream, output, "scoring") as advance:
            for batch in score_batches(rows, job.scorer, job.policy, max_rows=batch_rows):
                output.write(_batch_text(batch, job, is_terminal=output.is_terminal))
                counts.update(verdict["action"] for verdict in batch)
                counts["error"] += sum("error" in verdict for verdict in batch)
                advance()
        if not job.is_json:
            line = summary_line(counts, job.scorer.name, job.policy.name)
            output.write(to_text(line, is_terminal=output.is_terminal))
    if counts["error"]:
        n_rows = counts.total() - counts["error"]
        raise DataError(
            f"{counts['error']} of {n_rows} rows could not be scored; the output says why, row by row"
        )


def _batch_text(batch: list[dict[str, Any]], job: _Job, *, is_terminal: bool) -> str:
    if job.is_json:
        return "".join(map(json_line, batch))
    lines = Text("\n").join(verdict_line(verdict, job.policy) for verdict in batch)
    return to_text(lines, is_terminal=is_terminal)


@contextmanager
def show_progress(stream: io.BufferedReader, output: Output, what: str) -> Iterator[Callable[[], None]]:
    """Show on stderr how much is done, where a person looks at stderr and the results go elsewhere."""
    is_wanted = sys.stderr is not None and sys.stderr.isatty() and not output.is_terminal
    if not is_wanted or not stream.seekable():
        yield lambda: None
        return
    # Only here: it takes as long to import as everything else of rich.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    size_bytes = os.fstat(stream.fileno()).st_size
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=size_bytes)
        yield lambda: progress.update(task, completed=stream.tell())
