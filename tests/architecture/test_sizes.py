"""Sizes and names: what a person can hold in mind. Ruff counts parameters and statements."""

import ast

import pytest

MODULE_LINES = 400
FUNCTION_LINES = 60
NO_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "manager", "base"}
"""Names of nothing."""


def body_lines(function):
    """Count a function's lines, docstring and decorators aside."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is None:
        return lines
    return lines - (function.body[0].end_lineno - function.body[0].lineno + 1)


def test_modules_are_short(root, modules):
    package = root / "src" / "gooseguard"
    lines = {name: len((package / name).read_text("utf-8").splitlines()) for name in modules}
    assert {name: count for name, count in lines.items() if count > MODULE_LINES} == {}


def test_functions_are_short(modules):
    long = {
        f"{name}:{node.name}": body_lines(node)
        for name, tree in modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and body_lines(node) > FUNCTION_LINES
    }
    assert long == {}


def test_modules_are_named_after_what_they_make(modules):
    words = {name: set(name.removesuffix(".py").split("/")) & NO_NAMES for name in modules}
    assert {name: found for name, found in words.items() if found} == {}


@pytest.mark.parametrize(
    ("source", "lines"),
    [('def f():\n    """One.\n\n    Two.\n    """\n    return 1', 2), ("def f():\n    return 1", 2)],
)
def test_a_docstring_does_not_count(source, lines):
    assert body_lines(ast.parse(source).body[0]) == lines
