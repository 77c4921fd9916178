"""What the architecture tests look at: the project's texts, the parsed modules, the verbs."""

import ast
from pathlib import Path

import pytest

FOLDERS = ("src", "tests", "docs", "examples", "recipes", "benchmarks", ".ci")
SUFFIXES = {"", ".py", ".pyi", ".md", ".toml", ".jsonl"}
GENERATED = {"__pycache__", "node_modules"}


@pytest.fixture(scope="session")
def root():
    """The folder of the checkout."""
    return Path(__file__).parents[2]


@pytest.fixture(scope="session")
def modules(root):
    """Path within the package, such as "core/policy.py", to the module's syntax tree."""
    package = root / "src" / "gooseguard"
    return {
        path.relative_to(package).as_posix(): ast.parse(path.read_text("utf-8"))
        for path in sorted(package.rglob("*.py"))
    }


@pytest.fixture(scope="session")
def texts(root):
    """Path within the checkout to the text of every file that people wrote."""
    found = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*"))]
    found += [
        path for path in sorted(root.glob("*")) if path.suffix in {".md", ".toml"} or path.name == "Makefile"
    ]
    return {
        path.relative_to(root).as_posix(): path.read_text("utf-8")
        for path in found
        if path.is_file() and path.suffix in SUFFIXES and not GENERATED & set(path.parts)
    }


@pytest.fixture(scope="session")
def commands():
    """Each verb, such as "score", and "" for the program itself, to its command."""
    import typer.main

    from gooseguard.cli.main import create_app

    def walk(name, command):
        yield name, command
        for verb, inner in getattr(command, "commands", {}).items():
            yield from walk(f"{name} {verb}".strip(), inner)

    return dict(walk("", typer.main.get_command(create_app())))
