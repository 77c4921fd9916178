"""Benchmarks run rarely and no type checker sees them: what they import must be there."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))


def names_of(path):
    """Give the names that a module defines or imports at its top."""
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        else:
            # Imports too, those for type checkers among them.
            for found in ast.walk(node):
                if isinstance(found, ast.alias):
                    names.add((found.asname or found.name).partition(".")[0])
                elif isinstance(found, ast.Name):
                    names.add(found.id)
    return names


def find_module(name):
    """Give the file of a module of ours, or `None`."""
    base = ROOT / "benchmarks" if not name.startswith("gooseguard") else ROOT / "src"
    path = base.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.name)
def test_what_a_benchmark_imports_is_there(path):
    missing = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and (module := find_module(node.module)):
            # Modules are names of their package.
            known = names_of(module) | {file.stem for file in module.parent.glob("*")}
            missing += [f"{node.module}.{alias.name}" for alias in node.names if alias.name not in known]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gooseguard"):
            missing.append(node.module)
    assert missing == []
