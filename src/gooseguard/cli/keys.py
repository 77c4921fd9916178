"""The verb `keys`: make, list and revoke the API keys of a server, while it runs or before."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gooseguard.cli import database, options
from gooseguard.cli.output import open_output

if TYPE_CHECKING:
    from gooseguard.serving.keys import ApiKey

HELP = "Make, list and revoke the API keys of a server; a running one follows within a second or two."

EPILOG = """[bold]Examples[/bold]

[cyan]gooseguard keys create forum --requests-per-minute 600[/cyan]

[cyan]gooseguard keys list[/cyan]

[cyan]gooseguard keys revoke 5f1c0a9be2d4[/cyan]"""

_Requests = Annotated[int | None, typer.Option("--requests-per-minute", min=1, help="Else the server's.")]
_Items = Annotated[int | None, typer.Option("--items-per-minute", min=1, help="Contents; else the server's.")]
_Bytes = Annotated[
    int | None, typer.Option("--bytes-per-minute", min=1, help="Of bodies; else the server's.")
]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    verbs = typer.Typer(help=HELP, epilog=EPILOG, no_args_is_help=True)
    app.add_typer(verbs, name="keys")
    verbs.command("create", help="Make a key, and show it this once.", epilog=EPILOG)(_create)
    verbs.command("list", help="List all keys, without their secrets.", epilog=EPILOG)(_list)
    verbs.command("revoke", help="Revoke a key, for good.", epilog=EPILOG)(_revoke)


def _create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is, for lists.")],
    requests: _Requests = None,
    items: _Items = None,
    n_bytes: _Bytes = None,
    url: database.Database = None,
    config: database.Config = None,
    json: options.Json = False,
) -> None:
    with database.opened(url, config) as engine:
        from gooseguard.serving.config import RateLimits  # noqa: PLC0415
        from gooseguard.serving.keys import create_key  # noqa: PLC0415

        key, token = create_key(engine, name, RateLimits(requests, items, n_bytes))
    with open_output(None) as results:
        if json:
            results.write_json({**_facts(key), "key": token})
        else:
            # Alone on standard output, so that a script can take it.
            results.write(f"{token}\n")
            typer.echo(f"key {key.id} for {key.name}: keep it now, it is not shown again", err=True)


def _list(url: database.Database = None, config: database.Config = None, json: options.Json = False) -> None:
    with database.opened(url, config) as engine:
        from gooseguard.serving.keys import list_keys  # noqa: PLC0415

        keys = list_keys(engine)
    with open_output(None) as results:
        for key in keys:
            if json:
                results.write_json(_facts(key))
            else:
                results.write(_line(key))
        if not keys and not json:
            typer.echo("no keys: a server answers its own machine only", err=True)


def _revoke(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="As keys list shows it.")],
    url: database.Database = None,
    config: database.Config = None,
    json: options.Json = False,
) -> None:
    with database.opened(url, config) as engine:
        from gooseguard.serving.keys import revoke_key  # noqa: PLC0415

        key = revoke_key(engine, identifier)
    with open_output(None) as results:
        if json:
            results.write_json(_facts(key))
        else:
            results.write(_line(key))


def _facts(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "created": _time(key.created),
        "revoked": None if key.revoked is None else _time(key.revoked),
        "limits": key.limits.as_mapping(),
    }


def _line(key: ApiKey) -> str:
    state = "good" if key.revoked is None else f"revoked {_time(key.revoked)}"
    limits = ", ".join(f"{name} {value:,}" for name, value in key.limits.as_mapping().items())
    return f"{key.id}  {_time(key.created)}  {state}  {key.name}" + (f"  ({limits})" if limits else "") + "\n"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
