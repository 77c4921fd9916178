"""Opens a source of a folder that a test wrote, and writes small tables."""

import csv
import io

from gooseguard.data.sources import Faults, OnFault, SourceConfig, open_source


def opened(name, path, **options):
    return open_source(SourceConfig(name, str(path), **options))


def rows_of(name, path, faults=None, **options):
    return [row for source in opened(name, path, **options) for row in source.rows(faults)]


def labels_of(name, path, **options):
    return [dict(row.example.labels) for row in rows_of(name, path, **options)]


def skipping(name, path, **options):
    """Give the rows, and what was skipped."""
    faults = Faults(OnFault.SKIP)
    return rows_of(name, path, faults, **options), faults.shown


def write_csv(path, header, rows, delimiter=","):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    if header:
        writer.writerow(header)
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.getvalue(), "utf-8")
