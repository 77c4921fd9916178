"""Every module with logic has its own test file."""

import ast

LEAST_STATEMENTS = 6
"""In functions, docstrings aside: a module with fewer has no logic of its own."""

COVERED_ELSEWHERE = {
    "__init__.py": "architecture/test_exports.py",
    "engine/blocks.py": "engine/test_portable.py",
    "models/eagle.py": "models/test_rwkv.py",
    "models/finch.py": "models/test_rwkv.py",
    "models/goose.py": "models/test_rwkv.py",
    "models/layers.py": "models/test_rwkv.py",
}
"""Module to the test that exercises it through what it is a part of."""


def n_statements(tree):
    """Count the statements inside functions, docstrings aside."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    statements = {node for function in functions for node in ast.walk(function) if isinstance(node, ast.stmt)}
    docstrings = {
        node for node in statements if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return len(statements - docstrings - set(functions))


def test_every_module_with_logic_has_a_test_of_its_name(root, modules):
    missing = []
    for name, tree in modules.items():
        folder, _, module = name.rpartition("/")
        path = root / "tests" / folder / f"test_{module}"
        if n_statements(tree) >= LEAST_STATEMENTS and not path.is_file() and name not in COVERED_ELSEWHERE:
            missing.append(path.relative_to(root).as_posix())
    assert not missing, "\n".join(missing)


def test_no_exception_is_left_over(root, modules):
    for name, test in COVERED_ELSEWHERE.items():
        folder, _, module = name.rpartition("/")
        assert name in modules
        assert (root / "tests" / test).is_file(), f"{name} names {test}"
        assert not (root / "tests" / folder / f"test_{module}").is_file(), f"{name} has a test of its own"


def test_every_test_is_of_a_module_that_is_there(root, modules):
    packages = {name.rpartition("/")[0] for name in modules}
    stray = [
        path.relative_to(root).as_posix()
        for path in sorted((root / "tests").rglob("test_*.py"))
        if (folder := path.parent.relative_to(root / "tests").as_posix()) in packages
        and f"{folder}/{path.name.removeprefix('test_')}" not in modules
    ]
    assert not stray, "\n".join(stray)


def test_test_folders_are_no_packages(root):
    assert list((root / "tests").rglob("__init__.py")) == []
