"""The public names: what `__all__` says is what can be imported, and is documented."""

import ast
import importlib
import inspect

import gooseguard


def test_all_names_are_there_and_listed():
    assert gooseguard.__all__ == sorted(gooseguard.__all__)
    assert len(set(gooseguard.__all__)) == len(gooseguard.__all__)
    for name in gooseguard.__all__:
        assert getattr(gooseguard, name) is not None
        assert name in dir(gooseguard)


def test_type_checkers_see_the_same_names(modules):
    """The imports under TYPE_CHECKING, by hand beside the lazy ones, must not drift from them."""
    seen = {"__version__"}
    for node in ast.walk(modules["__init__.py"]):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gooseguard."):
            for alias in node.names:
                seen.add(alias.name)
                assert getattr(importlib.import_module(node.module), alias.name) is getattr(
                    gooseguard, alias.name
                )
    assert seen == set(gooseguard.__all__)


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(gooseguard, "nothing")


def test_public_names_have_docstrings():
    bare = [
        name
        for name in gooseguard.__all__
        if name != "__version__" and not inspect.getdoc(getattr(gooseguard, name))
    ]
    assert bare == []


def test_every_dunder_all_in_the_package_is_importable(modules):
    for name, tree in modules.items():
        has_all = any(
            isinstance(node, ast.Assign)
            and any(getattr(target, "id", "") == "__all__" for target in node.targets)
            for node in tree.body
        )
        if has_all:
            path = "gooseguard." + name.removesuffix(".py").removesuffix("__init__").replace("/", ".")
            module = importlib.import_module(path.rstrip("."))
            for exported in module.__all__:
                assert hasattr(module, exported), f"{name}: {exported}"
