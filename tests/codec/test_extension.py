"""The compiled extension: it is what its stub says, and its absence is told."""

import ast
import importlib
import inspect
import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest

from gooseguard.codec import extension

needs_native = pytest.mark.skipif(
    extension.problem() is not None, reason=f"native extension {extension.problem()}"
)


@pytest.fixture
def forgetful():
    """What is known of the extension is found out again, before and after."""
    extension.problem.cache_clear()
    yield
    extension.problem.cache_clear()


@needs_native
def test_it_says_what_it_was_built_with():
    assert extension.describe().endswith("C++20")


def test_absent(forgetful, monkeypatch):
    monkeypatch.setattr(extension, "NAME", "gooseguard._absent")
    assert extension.problem() == "not built: no C++ compiler was found when gooseguard was installed"
    assert extension.describe() == extension.problem()


def test_broken(forgetful, monkeypatch, tmp_path):
    """A library that the loader refuses, as after a move to another system."""
    (tmp_path / "broken_extension.py").write_text("raise ImportError('wrong ELF class')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(extension, "NAME", "broken_extension")
    assert extension.problem() == "cannot be loaded: wrong ELF class"


@needs_native
def test_the_stub_is_the_extension():
    """Every public name is in the stub, and nothing else; classes have the same members."""
    native = importlib.import_module(extension.NAME)
    stub = ast.parse((Path(util.find_spec("gooseguard").origin).parent / "_native.pyi").read_text("utf-8"))
    assert public(native) == {name for name in names(stub) if not name.startswith("_")}
    for node in stub.body:
        if isinstance(node, ast.ClassDef):
            members = {name for name in names(node) if not name.startswith("_")}
            assert public(getattr(native, node.name)) == members, node.name


def public(thing):
    return {name for name, _ in inspect.getmembers(thing) if not name.startswith("_")}


def names(node):
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef | ast.ClassDef):
            yield inner.name
        elif isinstance(inner, ast.AnnAssign):
            yield inner.target.id


@needs_native
def test_importing_it_starts_no_thread_and_prints_nothing():
    program = (
        "import gooseguard._native, pathlib, sys; "
        "tasks = pathlib.Path('/proc/self/task'); "
        "sys.exit(tasks.is_dir() and len(list(tasks.iterdir())) != 1)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
