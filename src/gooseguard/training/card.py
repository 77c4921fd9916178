"""What a run leaves on the model's card: how it was trained, on what, and with what. JSON values only."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from gooseguard.core.manifest import digest_file
from gooseguard.core.taxonomy import load_taxonomy
from gooseguard.data.shards import read_dataset_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gooseguard.models.mod_rwkv import ModRwkv


def make_card(
    model: ModRwkv, facts: Mapping[str, Any], recipe: Mapping[str, Any], dataset: Path
) -> dict[str, Any]:
    """Collect what a model card says; `recipe` says nothing of where files lay: the card travels."""
    data = describe_data(read_dataset_manifest(dataset).facts, list(model.config.categories))
    return {
        "training": {**facts, **environment()},
        "data": {**data, "dataset": digest_file(dataset / "manifest.json")},
        "recipe": recipe,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def describe_data(facts: Mapping[str, Any], categories: list[str]) -> dict[str, Any]:
    """Take from a dataset's facts what a model card says: sets and their licences, rows of each category."""
    counts = facts["counts"]
    return {
        "sets": {
            name: {
                "licence": source["licence"],
                "citation": source["citation"],
                "language": source["language"],
                "weak": source["weak"],
                "rows": counts["train"]["sources"].get(name, 0),
            }
            for name, source in facts["sets"].items()
        },
        "categories": {
            category: {split: counts[split]["categories"].get(category) for split in counts}
            for category in categories
        },
        "not_scored": {
            category: {split: counts[split]["categories"].get(category) for split in counts}
            for category in load_taxonomy()
            if category not in categories
        },
        "languages": counts["train"]["languages"],
    }


def environment() -> dict[str, str]:
    """Give what a run was made with, for its card."""
    return {
        "gooseguard": version("gooseguard"),
        "torch": version("torch"),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
