"""The verb `data audit`: what is in a dataset, as a table, JSON, and one page of HTML."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gooseguard.cli import options  # noqa: TC001  (typer reads the annotations)
from gooseguard.cli.data_build import read_data_recipe
from gooseguard.cli.display import open_counter
from gooseguard.cli.output import open_output
from gooseguard.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gooseguard.data.recipe import DataRecipe

    Progress = Callable[[str, int, int], None]
    """Told the step, and how much of how much of it is done."""

EPILOG = """[bold]Examples[/bold]

[cyan]gooseguard data audit datasets/text --html audit.html[/cyan]

[cyan]gooseguard data audit ../data/text --no-noise --json[/cyan]

[cyan]gooseguard data audit datasets/text-2 --against datasets/text[/cyan]"""


def register(verbs: typer.Typer) -> None:
    """Add the verb to those of `data`."""
    verbs.command(
        "audit",
        help="Say what is in a dataset, in what a recipe names, or in the folder of the labelled text sets.",
        epilog=EPILOG,
    )(audit_verb)


def audit_verb(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A dataset, a recipe, or a folder of sets.")],
    against: Annotated[
        Path | None, typer.Option("--against", metavar="FOLDER", help="An earlier build, to tell the drift.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the report as one page with plots.")
    ] = None,
    noise: Annotated[
        bool, typer.Option("--noise/--no-noise", help="Estimate how many labels are wrong (minutes).")
    ] = True,
    noise_rows: Annotated[
        int, typer.Option("--noise-rows", min=200, help="Most rows of a category for that estimate.")
    ] = 20_000,
    json: options.Json = False,
) -> None:
    """Audit a dataset, built first from a recipe or a folder of sets where it is none."""
    # What would stop it at the end is found before minutes are spent.
    if noise:
        from gooseguard.data.audit_noise import need_packages  # noqa: PLC0415  (needs NumPy)

        need_packages()
    if html is not None and not html.parent.is_dir():
        raise ConfigError(f"--html {html}: {html.parent} is no folder; make it first")
    with tempfile.TemporaryDirectory() as scratch, open_counter() as count:
        folder = path if (path / "manifest.json").is_file() else _build(path, Path(scratch), count)
        report = make_report(folder, against, noise_rows if noise else 0, count)
    report["dataset"] = path.stem
    from gooseguard.data.audit_page import write_page, write_text  # noqa: PLC0415  (only this verb needs them)

    if html is not None:
        try:
            html.write_text(write_page(report), "utf-8")
        except OSError as error:
            raise ConfigError(f"--html {html}: cannot be written ({error.strerror})") from None
    with open_output(None) as results:
        if json:
            results.write_json(report)
        else:
            results.write(write_text(report))


def make_report(folder: Path, against: Path | None, noise_rows: int, count: Progress) -> dict[str, Any]:
    """Audit a dataset; without `noise_rows`, without the estimate of label noise."""
    from gooseguard.data.audit import audit, drift  # noqa: PLC0415  (needs pyarrow)
    from gooseguard.data.audit_noise import estimate_noise  # noqa: PLC0415
    from gooseguard.data.executor import LocalExecutor  # noqa: PLC0415

    report = audit(folder, count)
    if noise_rows:
        count("estimate label noise", 0, 0)
        report["noise"] = estimate_noise(folder, noise_rows, LocalExecutor(), count)
    if against is not None:
        report["drift"] = drift(against, folder, report)
    return report


def _build(path: Path, scratch: Path, count: Progress) -> Path:
    """Build what is to be audited: as a recipe says, or the sets of a folder as they were published."""
    from gooseguard.data.executor import LocalExecutor  # noqa: PLC0415  (needs the extra "data")
    from gooseguard.data.pipeline import build_dataset  # noqa: PLC0415

    if not path.exists():
        raise ConfigError(f"{path}: no such file or folder; expected a dataset, a recipe or a folder of sets")
    recipe = read_data_recipe(path, []) if path.is_file() else _as_published(path)
    return build_dataset(recipe, scratch / "dataset", LocalExecutor(), count)


def _as_published(folder: Path) -> DataRecipe:
    """Name every set that lies in a folder, those that nobody may train on too; its texts stay as they are.

    Everything falls into one split, so that no row is left out because it stands between two.
    """
    from gooseguard.core.taxonomy import load_taxonomy  # noqa: PLC0415  (as above)
    from gooseguard.data.cleaning import CleanConfig  # noqa: PLC0415
    from gooseguard.data.cleaning_quality import QualityConfig  # noqa: PLC0415
    from gooseguard.data.mapping import read_mapping  # noqa: PLC0415
    from gooseguard.data.recipe import DataRecipe, SplitConfig  # noqa: PLC0415
    from gooseguard.data.sources.source import SourceConfig  # noqa: PLC0415

    found = tuple(source.name for source in read_mapping().sets if (folder / source.path).is_file())
    if not found:
        raise ConfigError(f"{folder}: holds none of the labelled text sets; expected open/ and weak/ in it")
    keep = QualityConfig(
        shortest=0, longest=sys.maxsize, letters=False, links=False, most_repeated=1.0, not_text=False
    )
    cleaning = CleanConfig(
        encoding=False, html=False, boilerplate=False, personal_data=False, language=False, quality=keep
    )
    return DataRecipe(
        folder.name,
        (SourceConfig("labelled_text", str(folder), select=found),),
        weak_categories=tuple(load_taxonomy()),
        cleaning=cleaning,
        split=SplitConfig(0.0, 0.0),
    )
