"""The facts of a build -> its card: what is in the dataset, where it is from, what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gooseguard.data.split import SPLITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

CARD = "card.md"
"""File of the card in a dataset."""


def write_card(name: str, facts: Mapping[str, Any]) -> str:
    """Write the card, in Markdown.

    Args:
        name: of the dataset.
        facts: of its manifest.
    """
    return "\n".join(_lines(name, facts)) + "\n"


def _lines(name: str, facts: Mapping[str, Any]) -> Iterator[str]:
    counts = facts["counts"]
    rows = {split: counts[split]["rows"] for split in SPLITS}
    yield from (f"# Dataset {name}", "")
    yield (
        f"{facts['rows_read']:,} rows were read from {len(facts['sets'])} sets; "
        f"{sum(rows.values()):,} are here."
    )
    yield "Labels that nobody gave are absent, never 0. Content warning: rows hold what moderation is about."
    yield from ("", "## Splits", "")
    yield from _table(
        ("split", "rows", "without labels"),
        [(split, f"{rows[split]:,}", f"{counts[split]['unlabelled']:,}") for split in SPLITS],
    )
    yield from ("", "## Categories: positive of annotated rows", "")
    yield from _table(("category", *SPLITS), _category_rows(counts))
    yield from ("", "## Sources", "")
    yield from _table(
        ("set", "rows here", "licence", "citation", "a 1 means", "known faults"),
        [
            (
                set_name + (" (weak labels)" if card["weak"] else ""),
                f"{sum(counts[split]['sources'].get(set_name, 0) for split in SPLITS):,}",
                card["licence"],
                card["citation"],
                card["meaning"],
                card["faults"],
            )
            for set_name, card in facts["sets"].items()
        ],
    )
    yield from ("", "## What was left out and changed", "")
    yield from _table(("why a row is not here", "rows"), _numbers(facts["dropped"]))
    yield from ("", *_table(("what cleaning did", "times"), _numbers(facts["cleaned"])))
    yield from _skipped(facts["skipped"])
    yield from ("", "## Duplicates", "")
    clusters = facts["clusters"]
    yield (
        f"{facts['near_duplicate_pairs']:,} pairs of near duplicates; "
        f"{clusters['rows_with_near_duplicates']:,} rows "
        f"lie in clusters of two or more, the largest has {clusters['largest']:,}. No cluster lies in two "
        f"splits."
    )
    disputed = facts["equal_contents_with_different_labels"]
    if disputed:
        yield from ("", *_table(("category", "equal contents with different labels"), _numbers(disputed)))
    yield from _plans(facts["plans"])
    yield from _stratification(facts["stratification"])


def _category_rows(counts: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for category in sorted({name for split in SPLITS for name in counts[split]["categories"]}):
        cells = []
        for split in SPLITS:
            found = counts[split]["categories"].get(category, {"positive": 0, "annotated": 0})
            cells.append(f"{found['positive']:,} of {found['annotated']:,}")
        yield (category, *cells)


def _skipped(skipped: Mapping[str, Any]) -> Iterator[str]:
    if skipped:
        yield from ("", "Faulty rows and files were skipped:", "")
        yield from _table(
            ("set", "file", "faults"),
            [
                (name, file, f"{count:,}")
                for name, facts in skipped.items()
                for file, count in facts["faults"].items()
            ],
        )


def _plans(plans: Mapping[str, Any]) -> Iterator[str]:
    yield from (
        "",
        "## Plans",
        "",
        "Train on one with `gooseguard train RECIPE --dataset FOLDER --plan NAME`.",
        "",
    )
    rows = []
    for name, plan in plans.items():
        short = ", ".join(
            f"{category} by {missing:,}" for category, missing in plan.get("floors_not_reached", {}).items()
        )
        rows.append((name, f"{plan['rows']:,}", f"{plan.get('distinct_rows', plan['rows']):,}", short))
    yield from _table(("plan", "rows an epoch", "distinct", "floors not reached"), rows)


def _stratification(found: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", "## Evenness of the split", "")
    yield f"Largest deviation from the wanted share: {found['largest_standard_errors']} standard errors."
    if found["uneven"]:
        rows = [
            (entry["kind"], entry["name"], entry["split"], f"{entry['share']:.1%}", f"{entry['wanted']:.1%}")
            for entry in found["uneven"]
        ]
        yield from ("", *_table(("of", "name", "split", "share", "wanted"), rows))


def _numbers(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    return [(name, f"{count:,}") for name, count in counts.items()]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield f"| {' | '.join(' '.join(str(cell).split()).replace('|', chr(92) + '|') for cell in row)} |"
