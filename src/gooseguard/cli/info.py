"""The verb `info`: versions, the machine, the model and the policies, as a bug report needs them."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gooseguard.cli import options  # noqa: TC001  (typer reads the annotations)
from gooseguard.cli.output import open_output
from gooseguard.cli.render import to_text
from gooseguard.codec import extension
from gooseguard.core.errors import GooseguardError
from gooseguard.core.policy import packaged_policies

if TYPE_CHECKING:
    from collections.abc import Mapping

    import typer

    from gooseguard.cli.score import LoadScorer

HELP = "Show versions, CPU features, the model and its card, and the packaged policies."

EPILOG = """[bold]Examples[/bold]

[cyan]gooseguard info[/cyan]

[cyan]gooseguard info --model mine.safetensors --json[/cyan]"""

PACKAGES = ("gooseguard", "numpy", "safetensors", "torch")
"""Packages whose versions change what is computed; asked for without importing them."""

CPU_FEATURES: Mapping[str, frozenset[str]] = {
    "avx2": frozenset({"avx2"}),
    "avx512f": frozenset({"avx512f"}),
    "vnni": frozenset({"avx512_vnni", "avx_vnni"}),
    "bf16": frozenset({"avx512_bf16", "amx_bf16", "bf16"}),
    "neon": frozenset({"neon", "asimd"}),
}
"""Feature to the flags of the Linux kernel that mean it, any of them."""


def register(app: typer.Typer, load: LoadScorer) -> None:
    """Add the verb."""

    @app.command("info", help=HELP, epilog=EPILOG)
    def info(
        model: options.Model = None,
        threads: options.Threads = None,
        json: options.Json = False,
    ) -> None:
        facts = collect_facts(load, model, threads)
        with open_output(None) as output:
            if json:
                output.write_json(facts)
            else:
                output.write(to_text(_page(facts), is_terminal=output.is_terminal))


def collect_facts(load: LoadScorer, model: str | None, threads: int | None) -> dict[str, Any]:
    """Gather everything, JSON-ready.

    Raises:
        GooseguardError: the model that was asked for cannot be loaded; a missing starter is only told.
    """
    facts: dict[str, Any] = {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cpu_features": read_cpu_features(),
            "native_extension": extension.describe(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        },
        "model": None,
        "policies": packaged_policies(),
    }
    try:
        scorer = load(model, threads=threads, spans=False)
    except GooseguardError as error:
        if model is not None:
            raise
        facts["model_error"] = str(error)
        return facts
    facts["model"] = {
        "name": scorer.name,
        "backend": getattr(scorer, "backend", f"{type(scorer).__module__}.{type(scorer).__qualname__}"),
        "instruction_set": getattr(scorer, "isa", None),
        "threads": threads or facts["machine"]["cores"],
        "categories": sorted(scorer.categories),
        "languages": sorted(scorer.languages),
        "modalities": sorted(str(modality) for modality in scorer.modalities),
        "card": dict(getattr(scorer, "card", {})),
    }
    return facts


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def read_cpu_features(path: Path = Path("/proc/cpuinfo")) -> dict[str, bool] | None:
    """Tell which features the CPU has; `None` where the system does not say."""
    try:
        text = path.read_text("ascii", errors="replace")
    except OSError:
        return {name: name == "neon" for name in CPU_FEATURES} if platform.machine() == "arm64" else None
    return parse_cpu_features(text)


def parse_cpu_features(text: str) -> dict[str, bool] | None:
    """Read the first `flags` (x86) or `Features` (ARM) line of /proc/cpuinfo.

    Source: Linux, `arch/x86/include/asm/cpufeatures.h` and `arch/arm64/kernel/cpuinfo.c`, for the names.
    """
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            flags = set(value.split())
            return {name: bool(names & flags) for name, names in CPU_FEATURES.items()}
    return None


def _page(facts: Mapping[str, Any]) -> Group:
    machine, model = facts["machine"], facts["model"]
    features = machine["cpu_features"]
    known = (
        "unknown" if features is None else " ".join(name for name, has in features.items() if has) or "none"
    )
    parts: list[RenderableType] = [
        _table("versions", {name: version or "not installed" for name, version in facts["versions"].items()}),
        _table(
            "machine",
            {
                "system": machine["system"],
                "CPU features": known,
                "native extension": machine["native_extension"],
                "cores": machine["cores"],
            },
        ),
    ]
    if model is None:
        parts += [
            Text("model", style="bold"),
            Text(f"  not available: {facts['model_error']}\n", style="yellow"),
        ]
    else:
        isa = {"instruction set": model["instruction_set"]} if model["instruction_set"] else {}
        lists = {key: ", ".join(model[key]) for key in ("categories", "languages", "modalities")}
        parts.append(
            _table(
                "model",
                {
                    **{key: model[key] for key in ("name", "backend")},
                    **isa,
                    "threads": model["threads"],
                    **lists,
                },
            )
        )
        if model["card"]:
            parts.append(_table("model card", card_lines(model["card"])))
    parts.append(_table("policies", {"packaged": ", ".join(facts["policies"]) or "none"}))
    return Group(*parts)


def card_lines(card: Mapping[str, Any]) -> dict[str, str]:
    """Give what a person wants of a model card, a line a fact; `--json` has all of it."""
    lines: dict[str, str] = {}
    for name, value in card.items():
        if not isinstance(value, dict):
            lines[name] = f"{value:,}" if isinstance(value, int) else str(value)
            continue
        scalars = [f"{key} {entry}" for key, entry in value.items() if not isinstance(entry, dict | list)]
        sizes = [f"{len(entry)} {key}" for key, entry in value.items() if isinstance(entry, dict)]
        lines[name] = ", ".join(sizes + scalars)
    return lines


def _table(title: str, entries: Mapping[str, object]) -> Group:
    table = Table(box=None, show_header=False, pad_edge=True)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in entries.items():
        table.add_row(Text(str(name)), Text(str(value)))
    return Group(Text(title, style="bold"), table, Text(""))
