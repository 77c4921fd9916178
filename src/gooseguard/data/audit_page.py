"""The report of an audit -> a table for a terminal, and one page of HTML that needs nothing beside it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MOST_BARS = 60
"""Bars of one plot; the rest is summed."""

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
body { color: #1c2430; } h2 { margin-top: 2.2rem; } table { border-collapse: collapse; }
td, th { padding: .2rem .8rem .2rem 0; text-align: left; }
td.n { text-align: right; font-variant-numeric: tabular-nums; } tr { border-bottom: 1px solid #e3e7ed; }
svg text { font: 12px system-ui, sans-serif; fill: #1c2430; } .bar { fill: #4a7bb5; } .part { fill: #c1553f; }
details { margin: .6rem 0; } code { font-size: 13px; }
"""


def write_text(report: Mapping[str, Any]) -> str:
    """Write the report as a table for a terminal."""
    lines = [f"dataset {report['dataset']}: {sum(report['rows'].get('split', {}).values()):,} rows"]
    for title, head, rows in _tables(report):
        lines += ["", title, *_aligned([head, *rows])]
    return "\n".join(lines) + "\n"


def write_page(report: Mapping[str, Any]) -> str:
    """Write the report as one page of HTML, with plots."""
    total = sum(report["rows"].get("split", {}).values())
    name = escape(report["dataset"])
    body = [f"<h1>Dataset {name}</h1><p>{total:,} rows. Ids only; no content is shown.</p>"]
    body.append("<h2>Categories: annotated rows, and the positive among them</h2>")
    body.append(
        _bars([(key, entry["annotated"], entry["positive"]) for key, entry in report["categories"].items()])
    )
    for title, head, rows in _tables(report):
        body.append(f"<h2>{escape(title)}</h2>{_table(head, rows)}")
    for kind in ("exact", "near"):
        groups = report["duplicates"][f"{kind}_across_sources"]
        body.append(
            _listed(
                f"Every {kind} duplicate across sources ({len(groups):,} groups)",
                [", ".join(ids) for ids in groups],
            )
        )
    for category, entry in report.get("noise", {}).items():
        worst = [f"{row['id']}: label {row['label']:g}, model {row['model']:.3f}" for row in entry["worst"]]
        body.append(_listed(f"Labels of {category} that are doubted most ({len(worst)})", worst))
    for what in ("source", "language", "split", "modality", "subgroup"):
        counts = report["rows"].get(what)
        if counts:
            body.append(f"<h2>Rows by {what}</h2>{_bars([(key, n, 0) for key, n in counts.items()])}")
    lengths = [(length, n, 0) for length, n in report["lengths"].items()]
    body.append(f"<h2>Rows by length in characters</h2>{_bars(lengths)}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Audit of {name}</title>'
        f"<style>{STYLE}</style>{''.join(body)}</html>\n"
    )


def _listed(title: str, lines: Sequence[str]) -> str:
    """Fold lines away under a title."""
    items = "".join(f"<li><code>{escape(line)}</code></li>" for line in lines)
    return f"<details><summary>{escape(title)}</summary><ol>{items}</ol></details>"


Table = tuple[str, list[str], list[list[str]]]
"""Title, head and rows."""


def _tables(report: Mapping[str, Any]) -> Iterator[Table]:
    yield (
        "Categories",
        [
            "category", "annotated", "positive", "share", "negatives a positive", "sources with positives",
            "largest of them", "its share",
        ],
        [
            [
                name, f"{entry['annotated']:,}", f"{entry['positive']:,}", f"{entry['positive_share']:.1%}",
                _number(entry["negatives_for_each_positive"]),
                str(sum(source["positive"] > 0 for source in entry["sources"].values())),
                entry["largest_source_of_positives"] or "", _share(entry["its_share_of_positives"]),
            ]
            for name, entry in report["categories"].items()
        ],
    )  # fmt: skip
    findings = report["findings"]
    yield (
        "Sources whose every label is positive",
        ["source", "categories"],
        [[source, ", ".join(names)] for source, names in findings["sources_all_positive"].items()],
    )
    yield (
        "Categories whose positives come from one source",
        ["category", "source"],
        [[name, source] for name, source in findings["categories_with_positives_of_one_source"].items()],
    )
    yield (
        "Duplicates across sources",
        ["sources", "exact groups", "near groups"],
        [
            [" + ".join(pair["sources"]), f"{pair['exact']:,}", f"{pair['near']:,}"]
            for pair in report["duplicates"]["pairs_of_sources"]
        ],
    )
    yield ("Leaks between splits", ["clusters"], [[str(len(report["leaks"]))]])
    yield (
        "Left out of the build",
        ["why", "rows"],
        [[name, f"{n:,}"] for name, n in (report["build"].get("dropped") or {}).items()],
    )
    if "noise" in report:
        yield (
            "Label noise: labels of which a cross-validated model is sure of the opposite",
            ["category", "rows", "of positives", "of negatives", "worst"],
            [
                [
                    name, f"{entry['rows']:,}", _share(entry["doubted_positives"]),
                    _share(entry["doubted_negatives"]), ", ".join(row["id"] for row in entry["worst"][:3]),
                ]
                for name, entry in report["noise"].items()
            ],
        )  # fmt: skip
    if "drift" in report:
        drift = report["drift"]
        rows = [[name, str(drift[name])] for name in ("added", "removed")]
        rows += [[name, str(len(drift[name]))] for name in ("moved_to_another_split", "labels_changed")]
        rows += [[f"stability index of {key}", str(value)] for key, value in drift["stability_index"].items()]
        yield ("Drift from the other build", ["what", "rows"], rows)


def _number(value: float | None) -> str:
    return "" if value is None else str(value)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    if len(rows) == 1:
        return ["  none"]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "<p>None.</p>"
    first = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{first}</tr>{lines}</table>"


def _cell(cell: str) -> str:
    is_number = cell.replace(",", "").replace(".", "").rstrip("%").isdigit()
    return f'<td class="n">{cell}</td>' if is_number else f"<td>{escape(cell)}</td>"


def _bars(rows: Sequence[tuple[str, int, int]]) -> str:
    """Draw a bar for each row, with a part of it in another colour."""
    shown = list(rows[:MOST_BARS])
    if len(rows) > MOST_BARS:
        shown.append((f"{len(rows) - MOST_BARS} more", sum(row[1] for row in rows[MOST_BARS:]), 0))
    most = max((row[1] for row in shown), default=0) or 1
    lines = []
    for number, (name, count, part) in enumerate(shown):
        y, width = 20 * number, 420 * count / most
        label = f"{count:,}" + (f" ({part:,} positive)" if part else "")
        lines.append(
            f'<text x="260" y="{y + 13}" text-anchor="end">{escape(name[:44])}</text>'
            f'<rect class="bar" x="268" y="{y + 2}" width="{width:.1f}" height="14"/>'
            f'<rect class="part" x="268" y="{y + 2}" width="{420 * part / most:.1f}" height="14"/>'
            f'<text x="{276 + width:.1f}" y="{y + 13}">{label}</text>'
        )
    height = 20 * len(shown) + 4
    return f'<svg viewBox="0 0 900 {height}" width="900" height="{height}" role="img">{"".join(lines)}</svg>'
