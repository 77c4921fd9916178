"""The error tree: what can be caught with what."""

import inspect

from gooseguard.core import errors


def test_every_error_is_a_gooseguard_error_and_stands_in_the_tree_of_the_module_docstring():
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    assert len(classes) == 8
    for kind in classes:
        assert issubclass(kind, errors.GooseguardError)
        assert kind.__name__ in errors.__doc__


def test_siblings_do_not_catch_each_other():
    kinds = [kind for kind in errors.GooseguardError.__subclasses__() if kind.__module__ == errors.__name__]
    assert len(kinds) == 7
    for one in kinds:
        assert [other for other in kinds if issubclass(one, other)] == [one]
