"""What a publisher's labels mean here: rules from TOML, and what they make of one row. Knows no file format.

    [[labels]]
    field = "toxicity"                   # column, or key, of the row
    category = "toxicity"
    range = [0.0, 1.0]                   # a number: its least and greatest value become 0 and 1
    votes = "toxicity_annotator_count"   # column with the number of annotators
    absent = "unannotated"               # what an empty or missing cell means; "error", or a number

    [[labels]]
    field = "label"
    category = "hate"
    values = { hatespeech = 1.0, offensive = 0.0, normal = "unannotated" }
    weight = 0.5

A cell may hold a list: what each annotator said (`list_of = "annotators"`: the label is their mean, and the
single values are kept), or several tags (`list_of = "tags"`: the label is the greatest of what they mean).
Not annotated is not 0: no rule reads an absent label as 0 unless it says so.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gooseguard.core.errors import ConfigError, DataError
from gooseguard.core.taxonomy import load_taxonomy, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

UNANNOTATED, ERROR = "unannotated", "error"
"""Words in place of a number: nobody annotated it; it must not happen."""

Meaning = float | str
"""A label 0..1, `UNANNOTATED` or `ERROR`."""


@dataclass(frozen=True, slots=True)
class Votes:
    """How many people labelled a category, and what each said where that is known."""

    n: int
    """Annotators."""
    values: tuple[float, ...] = ()
    """One value an annotator, 0..1; empty where only their mean was published."""


@dataclass(frozen=True, slots=True)
class LabelRule:
    """One field of a row -> one category."""

    field: str
    """Column or key."""
    category: str
    """Category of the taxonomy."""
    values: Mapping[str, Meaning] = dataclasses.field(default_factory=dict)
    """Class to label; a class that is not here is met as `otherwise` says."""
    range: tuple[float, float] | None = None
    """Least and greatest value of a number, which become 0 and 1."""
    otherwise: Meaning = ERROR
    """What a class means that `values` does not name."""
    absent: Meaning = UNANNOTATED
    """What an empty or missing cell means."""
    missing: tuple[str, ...] = ()
    """Cells that mean the same as an empty one."""
    list_of: str = "annotators"
    """What a list holds: `annotators` or `tags`."""
    votes: str = ""
    """Field with the number of annotators."""
    weight: float = 1.0
    """Of the label in training, 0..1."""


@dataclass(frozen=True, slots=True)
class SubgroupRule:
    """One field of a row -> people it mentions."""

    field: str
    """Column or key."""
    name: str = ""
    """Subgroup that a number of `at_least` means; empty where the cell names subgroups itself."""
    at_least: float = 0.5
    """See `name`."""
    ignored: tuple[str, ...] = ("", "none")
    """Cells that name nobody."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """What rules made of one row."""

    labels: dict[str, float]
    """Category to label, 0..1; a category that is not here was not annotated."""
    votes: dict[str, Votes]
    """Category to its annotators, where they are known."""
    weights: dict[str, float]
    """Category to weight, where it is not 1."""


def annotate(rules: Sequence[LabelRule], row: Mapping[str, Any]) -> Annotation:
    """Apply rules to a row; of two rules for one category the greater label holds.

    Raises:
        DataError: a class is unknown, or a value is none the rule allows; names field and class.
    """
    made = Annotation({}, {}, {})
    for rule in rules:
        label, votes = _apply(rule, row)
        if label is None or label < made.labels.get(rule.category, 0.0):
            continue
        made.labels[rule.category] = label
        made.votes.pop(rule.category, None)
        made.weights.pop(rule.category, None)
        if votes is not None:
            made.votes[rule.category] = votes
        if rule.weight != 1.0:
            made.weights[rule.category] = rule.weight
    return made


def find_subgroups(rules: Sequence[SubgroupRule], row: Mapping[str, Any]) -> tuple[str, ...]:
    """Give the people that a row says its content mentions, each once.

    Raises:
        DataError: a number is none.
    """
    found: list[str] = []
    for rule in rules:
        cell = row.get(rule.field)
        if rule.name:
            if not _is_empty(cell, ()) and _number(cell, rule.field) >= rule.at_least:
                found.append(rule.name)
        else:
            cells = cell if isinstance(cell, list) else [cell]
            found += [
                name for name in cells if isinstance(name, str) and name.strip().lower() not in rule.ignored
            ]
    return tuple(dict.fromkeys(found))


def _apply(rule: LabelRule, row: Mapping[str, Any]) -> tuple[float | None, Votes | None]:
    cell = row.get(rule.field)
    if _is_empty(cell, rule.missing) or cell == []:
        if rule.absent == ERROR:
            raise DataError(f"field {rule.field!r} is empty; expected a label")
        return _meant(rule.absent), None
    if isinstance(cell, list):
        meant = [_label(rule, one) for one in cell if not _is_empty(one, rule.missing)]
        values = tuple(value for value in meant if value is not None)
        if rule.list_of == "tags":
            return (max(values) if values else None), None
        return (sum(values) / len(values), Votes(len(values), values)) if values else (None, None)
    label = _label(rule, cell)
    if label is None or not rule.votes:
        return label, None
    count = row.get(rule.votes)
    return label, None if _is_empty(count, ()) else Votes(_count(count, rule.votes))


def _label(rule: LabelRule, cell: object) -> float | None:
    if rule.range is None:
        name = _class_of(cell)
        meaning = rule.values.get(name, rule.otherwise)
        if meaning == ERROR:
            known = ", ".join(rule.values)
            raise DataError(
                f"field {rule.field!r}: unknown class {name[:60]!r}; expected one of {known}"
                f"{nearest(name[:60], rule.values)}"
            )
        return _meant(meaning)
    low, high = rule.range
    number = _number(cell, rule.field)
    # Published fractions are float32 sums: a hair over 1 is rounding.
    label = (number - low) / (high - low)
    if not -1e-6 <= label <= 1 + 1e-6:
        raise DataError(f"field {rule.field!r} is {number:g}, expected {low:g} to {high:g}")
    return min(max(label, 0.0), 1.0)


def _meant(meaning: Meaning) -> float | None:
    return None if isinstance(meaning, str) else meaning


def _class_of(cell: object) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()


def _is_empty(cell: object, missing: Sequence[str]) -> bool:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return True
    return isinstance(cell, str | int | float) and (
        _class_of(cell) in missing or (isinstance(cell, str) and not cell.strip())
    )


def _number(cell: object, name: str) -> float:
    try:
        number = float(cell)  # type: ignore[arg-type]  # what is no number raises, as it should
    except (TypeError, ValueError):
        raise DataError(f"field {name!r} is no number; expected one") from None
    if not math.isfinite(number):
        raise DataError(f"field {name!r} is not finite; expected a number")
    return number


def _count(cell: object, name: str) -> int:
    number = _number(cell, name)
    if number < 0 or number != int(number):
        raise DataError(f"field {name!r} is {number:g}, expected a number of annotators")
    return int(number)


def read_label_rule(table: Mapping[str, Any], where: str) -> LabelRule:
    """Make a rule from its TOML table.

    Raises:
        ConfigError: a key is unknown, missing or of the wrong type, or the category is none of the taxonomy.
    """
    kinds: dict[str, type | tuple[type, ...]] = {
        "field": str, "category": str, "values": dict, "range": list, "otherwise": (str, int, float),
        "absent": (str, int, float), "missing": list, "list_of": str, "votes": str, "weight": (int, float),
    }  # fmt: skip
    _check_keys(table, kinds, ("field", "category"), where)
    if table["category"] not in load_taxonomy():
        raise ConfigError(
            f"{where}: category {table['category']!r} is unknown{nearest(table['category'], load_taxonomy())}"
        )
    if ("values" in table) == ("range" in table):
        raise ConfigError(f"{where}: expected either values or range")
    values = {str(name): _meaning(value, where) for name, value in table.get("values", {}).items()}
    if table.get("list_of", "annotators") not in ("annotators", "tags"):
        raise ConfigError(f'{where}: list_of is {table["list_of"]!r}, expected "annotators" or "tags"')
    weight = float(table.get("weight", 1.0))
    if not 0.0 < weight <= 1.0:
        raise ConfigError(f"{where}: weight is {weight}, expected above 0 and at most 1")
    return LabelRule(
        field=table["field"],
        category=table["category"],
        values=MappingProxyType(values),
        range=_range(table["range"], where) if "range" in table else None,
        otherwise=_meaning(table.get("otherwise", ERROR), where),
        absent=_meaning(table.get("absent", UNANNOTATED), where),
        missing=tuple(str(cell) for cell in table.get("missing", ())),
        list_of=table.get("list_of", "annotators"),
        votes=table.get("votes", ""),
        weight=weight,
    )


def read_subgroup_rule(table: Mapping[str, Any], where: str) -> SubgroupRule:
    """Make a rule from its TOML table.

    Raises:
        ConfigError: a key is unknown, missing or of the wrong type.
    """
    kinds: dict[str, type | tuple[type, ...]] = {
        "field": str, "name": str, "at_least": (int, float), "ignored": list,
    }  # fmt: skip
    _check_keys(table, kinds, ("field",), where)
    rule = SubgroupRule(table["field"], table.get("name", ""), float(table.get("at_least", 0.5)))
    ignored = table.get("ignored")
    return rule if ignored is None else SubgroupRule(rule.field, rule.name, rule.at_least, tuple(ignored))


def _check_keys(
    table: Mapping[str, Any],
    kinds: Mapping[str, type | tuple[type, ...]],
    required: Sequence[str],
    where: str,
) -> None:
    for key, value in table.items():
        if key not in kinds:
            raise ConfigError(
                f"{where}: unknown key {key!r}; expected one of {', '.join(kinds)}{nearest(key, kinds)}"
            )
        if not isinstance(value, kinds[key]) or isinstance(value, bool):
            raise ConfigError(f"{where}: {key} is {value!r}, which is of the wrong type")
    for key in required:
        if not table.get(key):
            raise ConfigError(f"{where}: {key} is missing")


def _meaning(value: object, where: str) -> Meaning:
    if value in (UNANNOTATED, ERROR):
        return str(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise ConfigError(f'{where}: {value!r} is no label; expected 0..1, "{UNANNOTATED}" or "{ERROR}"')


def _range(value: Sequence[Any], where: str) -> tuple[float, float]:
    if len(value) != 2 or not all(isinstance(end, int | float) for end in value) or not value[0] < value[1]:
        raise ConfigError(f"{where}: range is {value!r}, expected its least and its greatest value")
    return float(value[0]), float(value[1])
