"""The verb `score`: a text, or rows from a file or standard input, to verdicts."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from gooseguard.batch.table import MAX_ROWS, Row, score_batches, score_rows
from gooseguard.cli.output import Output, json_line, open_output
from gooseguard.cli.render import summary_line, to_text, verdict_line, verdict_table
from gooseguard.cli.rows import MAX_CHARACTERS, STDIN, Format, Layout, make_content, open_input, read_rows
from gooseguard.core.errors import ConfigError, ContentError, DataError
from gooseguard.core.policy import Policy, load_policy

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator

    from gooseguard.core.scorer import Scorer

HELP = """Score a text, or rows from a file, and say what a policy makes of it.

Exit status: 0 done, whatever the verdicts; 2 wrong use or input, or rows that could not be scored."""

EPILOG = """[bold]Examples[/bold]

[cyan]gooseguard score "you are a moron"[/cyan]

[cyan]gooseguard score --input comments.jsonl --json > verdicts.jsonl[/cyan]

[cyan]gooseguard score --input comments.csv --text-column body --policy mine.toml[/cyan]

[cyan]cat comments.jsonl | gooseguard score --input - --json | jq -c 'select(.flagged)'[/cyan]

A text that begins with a dash goes after two dashes: [cyan]gooseguard score -- "-1 moron"[/cyan]"""


class LoadScorer(Protocol):
    """What makes a scorer: `backends.load`, or a stand-in for it."""

    def __call__(self, model: str | None, *, threads: int | None, spans: bool) -> Scorer:
        """Load an engine file; `None` is the packaged starter model."""


@dataclass(frozen=True, slots=True)
class _Style:
    """How verdicts are written."""

    policy: Policy
    """Whose thresholds count."""
    is_json: bool
    """One JSON object a row, else for people."""
    is_terminal: bool
    """Whether colours make sense."""


def register(app: typer.Typer, load: LoadScorer) -> None:
    """Add the verb."""

    @app.command("score", help=HELP, epilog=EPILOG)
    def score(  # noqa: PLR0913  (one parameter an option)
        text: Annotated[
            list[str] | None, typer.Argument(metavar="[TEXT]", help="The text, in quotes.")
        ] = None,
        source: Annotated[
            str | None, typer.Option("--input", metavar="FILE", help="JSON Lines or CSV; - is stdin.")
        ] = None,
        json: Annotated[
            bool, typer.Option("--json", help="Write JSON Lines: one verdict a row, in order.")
        ] = False,
        policy: Annotated[
            str, typer.Option(metavar="NAME|FILE", help="A packaged policy, or a TOML file.")
        ] = "default",
        model: Annotated[
            str | None, typer.Option(metavar="FILE", help="Engine file; without it the starter.")
        ] = None,
        threads: Annotated[int | None, typer.Option(min=1, help="Threads; without it one a core.")] = None,
        spans: Annotated[bool, typer.Option("--spans", help="Also say where in the text; slower.")] = False,
        output: Annotated[
            Path | None, typer.Option(metavar="FILE", help="Write there, at the end and whole.")
        ] = None,
        form: Annotated[
            Format, typer.Option("--format", help="Of --input; auto goes by its name.")
        ] = Format.AUTO,
        text_column: Annotated[
            str, typer.Option(metavar="NAME", help="Column or JSON key of the text.")
        ] = "text",
        id_column: Annotated[
            str | None, typer.Option(metavar="NAME", help="Column or JSON key of the id; 'id' if any.")
        ] = None,
        max_characters: Annotated[
            int, typer.Option(min=1, help="A longer text is an error.")
        ] = MAX_CHARACTERS,
        batch_rows: Annotated[
            int, typer.Option(min=1, help="Rows scored at once; 1 answers each line at once.")
        ] = MAX_ROWS,
    ) -> None:
        layout = Layout(
            "stdin" if source == STDIN else source or "TEXT", form, text_column, id_column, max_characters
        )
        _check_use(text, source)

        def prepare() -> tuple[Scorer, _Style]:
            style = _Style(
                load_policy(policy), json, output is None and sys.stdout is not None and sys.stdout.isatty()
            )
            scorer = load(model, threads=threads, spans=spans)
            style.policy.check(scorer.categories, scorer.name)
            return scorer, style

        if source is None:
            _score_text(_text_row((text or [""])[0], layout), prepare, output)
        else:
            _refuse_same_file(source, output)
            with open_input(source) as stream:
                _score_file(stream, layout, prepare, output, batch_rows)


def _check_use(text: list[str] | None, source: str | None) -> None:
    """Check that there is either one text or a source."""
    if text and source is not None:
        raise ConfigError("score: got both TEXT and --input; pass one of them")
    if source is not None:
        return
    if not text:
        raise ConfigError("score: got no text; pass TEXT in quotes, or --input FILE (- is stdin)")
    if len(text) > 1:
        raise ConfigError(
            f"score: got {len(text)} texts, expected one; put quotes around it, or pass --input FILE"
        )
    if text[0] == STDIN:
        raise ConfigError("score: TEXT is a dash; for standard input pass --input -")


def _text_row(text: str, layout: Layout) -> Row:
    if any("\udc80" <= character <= "\udcff" for character in text):
        raise ContentError("TEXT is not UTF-8; pass it through a file in UTF-8: --input FILE")
    return Row("1", make_content(text, layout))


def _refuse_same_file(source: str, output: Path | None) -> None:
    if (
        output is not None
        and source != STDIN
        and output.exists()
        and Path(source).exists()
        and output.samefile(source)
    ):
        raise ConfigError(f"--output {output} is the input; expected another file")


def _score_text(row: Row, prepare: Callable[[], tuple[Scorer, _Style]], path: Path | None) -> None:
    scorer, style = prepare()
    (verdict,) = score_rows([row], scorer, style.policy)
    error = verdict.get("error")
    with open_output(path) as output:
        if style.is_json:
            output.write_json(verdict)
        elif not error:
            table = verdict_table(verdict, style.policy, row.content.parts[0].text)
            output.write(to_text(table, is_terminal=style.is_terminal))
    if error:
        raise ContentError(f"the text could not be scored: {error['message']}")


def _score_file(
    stream: io.BufferedReader,
    layout: Layout,
    prepare: Callable[[], tuple[Scorer, _Style]],
    path: Path | None,
    batch_rows: int,
) -> None:
    rows = read_rows(stream, layout)
    scorer, style = prepare()
    counts: Counter[str] = Counter()
    with open_output(path) as output:
        with _progress(stream, style, path) as advance:
            for batch in score_batches(rows, scorer, style.policy, max_rows=batch_rows):
                _write_batch(batch, style, output)
                counts.update(verdict["action"] for verdict in batch)
                counts["error"] += sum("error" in verdict for verdict in batch)
                advance()
        if not style.is_json:
            line = summary_line(counts, scorer.name, style.policy.name)
            output.write(to_text(line, is_terminal=style.is_terminal))
    if counts["error"]:
        n_rows = sum(counts.values()) - counts["error"]
        raise DataError(
            f"{counts['error']} of {n_rows} rows could not be scored; the output says why, row by row"
        )


def _write_batch(batch: list[dict[str, Any]], style: _Style, output: Output) -> None:
    if style.is_json:
        output.write("".join(map(json_line, batch)))
        return
    lines = (to_text(verdict_line(verdict, style.policy), is_terminal=style.is_terminal) for verdict in batch)
    output.write("".join(lines))


@contextmanager
def _progress(stream: io.BufferedReader, style: _Style, path: Path | None) -> Iterator[Callable[[], None]]:
    """Show on stderr how much is done, where a person looks at stderr and the results go elsewhere."""
    is_wanted = sys.stderr is not None and sys.stderr.isatty() and not (path is None and style.is_terminal)
    if not is_wanted or not stream.seekable():
        yield lambda: None
        return
    # Only here: it takes as long to import as everything else of rich.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    size_bytes = Path(stream.name).stat().st_size if isinstance(stream.name, str) else None
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("scoring", total=size_bytes)
        yield lambda: progress.update(task, completed=stream.tell())
