"""The verb `log`: read, delete and prune what a server keeps of its verdicts."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from gooseguard.cli import database, options
from gooseguard.cli.output import open_output
from gooseguard.core.errors import ConfigError

HELP = "Read, delete and prune what a server keeps of its verdicts; safe beside a running one."

EPILOG = """[bold]Examples[/bold]

[cyan]gooseguard log export --since 2026-11-01 > verdicts.jsonl[/cyan]

[cyan]gooseguard log export --table suggestions[/cyan]

[cyan]gooseguard log delete --author user-4711[/cyan]

[cyan]gooseguard log prune --days 30[/cyan]"""

DAY_S = 86_400.0


class Kept(StrEnum):
    """What is kept: a key of `log_rows.TABLES` each."""

    VERDICTS = "verdicts"
    SUGGESTIONS = "suggestions"


_Request = Annotated[str | None, typer.Option("--request", metavar="ID", help="As in x-request-id.")]
_Item = Annotated[str | None, typer.Option("--item", metavar="ID", help="The caller's id of a content.")]
_Author = Annotated[str | None, typer.Option("--author", metavar="ID", help="The caller's id of an author.")]
_Since = Annotated[str | None, typer.Option("--since", metavar="TIME", help="From here: ISO 8601, UTC.")]
_Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before here: ISO 8601, UTC.")]
_Table = Annotated[Kept, typer.Option("--table", help="Verdicts, or suggested scores.")]
_Days = Annotated[float, typer.Option("--days", min=0, help="Older verdicts go.")]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    verbs = typer.Typer(help=HELP, epilog=EPILOG, no_args_is_help=True)
    app.add_typer(verbs, name="log")
    verbs.command("export", help="Write rows as JSON Lines, oldest first.", epilog=EPILOG)(_export)
    verbs.command("delete", help="Delete the rows that fit all options, for good.", epilog=EPILOG)(_delete)
    verbs.command("prune", help="Delete verdicts past their time.", epilog=EPILOG)(_prune)


def _export(
    table: _Table = Kept.VERDICTS,
    request: _Request = None,
    item: _Item = None,
    author: _Author = None,
    since: _Since = None,
    until: _Until = None,
    url: database.Database = None,
    config: database.Config = None,
) -> None:
    with database.opened(url, config) as engine, open_output(None) as results:
        from gooseguard.serving.log_rows import Selection, read_rows  # noqa: PLC0415

        selection = Selection(request, item, author, _time(since, "--since"), _time(until, "--until"))
        for row in read_rows(engine, table.value, selection):
            results.write_json(row)


def _delete(
    request: _Request = None,
    item: _Item = None,
    author: _Author = None,
    since: _Since = None,
    until: _Until = None,
    url: database.Database = None,
    config: database.Config = None,
    json: options.Json = False,
) -> None:
    with database.opened(url, config) as engine:
        from gooseguard.serving.log_rows import Selection, delete_rows  # noqa: PLC0415

        selection = Selection(request, item, author, _time(since, "--since"), _time(until, "--until"))
        _tell(delete_rows(engine, selection), is_json=json)


def _prune(
    days: _Days = 30.0,
    url: database.Database = None,
    config: database.Config = None,
    json: options.Json = False,
) -> None:
    with database.opened(url, config) as engine:
        from gooseguard.serving.log_rows import Selection, delete_rows  # noqa: PLC0415

        selection = Selection(until=time.time() - days * DAY_S)
        _tell(delete_rows(engine, selection, ("verdicts",)), is_json=json)


def _tell(counts: dict[str, int], *, is_json: bool) -> None:
    with open_output(None) as results:
        if is_json:
            results.write_json({"deleted": counts})
        else:
            results.write(", ".join(f"{count:,} {name} deleted" for name, count in counts.items()) + "\n")


def _time(text: str | None, option: str) -> float | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{option} {text!r}: expected a time such as 2026-11-24 or 2026-11-24T12:00Z"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
