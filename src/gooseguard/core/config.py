"""TOML to a frozen dataclass: a stage's config, with overrides from `--set`; an unknown key is an error."""

from __future__ import annotations

import tomllib
import types
import typing
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from gooseguard.core.errors import ConfigError
from gooseguard.core.taxonomy import nearest

if typing.TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

T = TypeVar("T")

FILES, FOLDERS = ("path", "mapping", "held_out", "previous"), ("root",)
"""Keys of recipes whose values say where files lie, and where folders of them do."""


@dataclass(frozen=True, slots=True)
class _Override:
    """A value from the command line: what it says as TOML, and as it was typed for keys that hold text."""

    typed: str
    parsed: Any


def read_config(kind: type[T], path: Path | None, overrides: Sequence[str] = ()) -> T:
    """Read a recipe, without a path an empty one, and apply `key.sub=value` overrides.

    Raises:
        ConfigError: no such file, not TOML, an unknown or missing key, a value of the wrong type.
    """
    where = "the defaults" if path is None else f"recipe {path.name}"
    return build_config(kind, read_table(path, overrides), where)


def read_recipe(kinds: Mapping[str, type[T]], default: str, path: Path, overrides: Sequence[str] = ()) -> T:
    """Read a recipe whose key `kind` says what it is of; without that key, it is of kind `default`.

    Raises:
        ConfigError: as `read_config`, or the kind is unknown.
    """
    table = read_table(path, overrides)
    value = table.pop("kind", default)
    kind = value.typed if isinstance(value, _Override) else value
    if kind not in kinds:
        known = ", ".join(kinds)
        raise ConfigError(
            f"recipe {path.name}: kind is {kind!r}, expected {known}{nearest(str(kind), kinds)}"
        )
    return build_config(kinds[kind], table, f"recipe {path.name}")


def read_table(path: Path | None, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a recipe's table, overrides applied but not yet converted; without a path an empty one.

    Raises:
        ConfigError: no such file, not TOML, or an override that is none.
    """
    table = {} if path is None else _read_file(path)
    for override in overrides:
        _apply(table, override)
    return table


def _read_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"recipe {path}: cannot be read ({type(error).__name__}); expected a TOML file"
        ) from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"recipe {path}: not valid TOML: {error}") from None


def _apply(table: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override!r}: expected key=value, such as data.root=../data")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        # Not a TOML literal: a bare word or a path.
        parsed = value
    *parents, last = key.split(".")
    for parent in parents:
        child = table.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"--set {override!r}: {parent} is a value, not a table")
        table = child
    table[last] = _Override(value, parsed)


def build_config(kind: type[T], table: dict[str, Any], where: str) -> T:
    """Make a `kind` from a table; nested dataclasses take nested tables.

    Raises:
        ConfigError: an unknown or missing key, a value of the wrong type.
    """
    assert is_dataclass(kind)
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    for key in table:
        if key not in names:
            raise ConfigError(
                f"{where}: unknown key {key!r}; expected one of {', '.join(names)}{nearest(key, names)}"
            )
    values: dict[str, Any] = {}
    for field in fields(kind):
        if field.name in table:
            values[field.name] = _convert(table[field.name], hints[field.name], f"{where}: {field.name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{where}: {field.name} is missing; add it or pass --set {field.name}=…")
    return typing.cast("T", kind(**values))


def without_paths(table: Mapping[str, Any]) -> dict[str, Any]:
    """Give a recipe's table without where files lay, since digests say what was in them; as JSON has it.

    Of files the names stay.
    """

    def bare(key: str, value: object) -> object:
        if isinstance(value, dict):
            return without_paths(value)
        if isinstance(value, list | tuple):
            return [bare("", entry) for entry in value]
        if isinstance(value, str) and key in FOLDERS:
            return ""
        return Path(value).name if isinstance(value, str) and key in FILES else value

    return {key: bare(key, value) for key, value in table.items()}


def _convert(value: Any, hint: Any, where: str) -> Any:  # noqa: ANN401  (TOML values are of any type until here)
    origin = get_origin(hint)
    if origin is types.UnionType:
        # Only `kind | None` is used; TOML has no null, so that a value that is there is of the kind.
        hint = next(option for option in get_args(hint) if option is not type(None))
        return _convert(value, hint, where)
    if isinstance(value, _Override):
        # As typed: 1.10 is a version, not the number 1.1.
        value = value.typed if hint is str and not isinstance(value.parsed, str) else value.parsed
    if is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise ConfigError(f"{where} is {value!r}, expected a table")
        return build_config(hint, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"{where} is {value!r}, expected a list")
        return tuple(_convert(entry, get_args(hint)[0], where) for entry in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where} is {value!r}, expected a table")
        kind = get_args(hint)[1]
        return {key: _convert(entry, kind, f"{where}.{key}") for key, entry in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        words = [word.value for word in hint]
        if value not in words:
            raise ConfigError(
                f"{where} is {value!r}, expected one of {', '.join(words)}{nearest(str(value), words)}"
            )
        return hint(value)
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise ConfigError(f"{where} is {value!r}, expected {hint.__name__}")
    return value
