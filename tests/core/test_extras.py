"""A missing package is one error that says what wanted it and how to get it."""

import json
import re

import pytest

from gooseguard.core.errors import ConfigError
from gooseguard.core.extras import import_extra


def test_what_is_there_is_imported():
    assert import_extra("json", "figures need") is json


def test_what_is_missing_is_named():
    message = "figures need no_such_package, which is not installed; run: pip install 'gooseguard[data]'"
    with pytest.raises(ConfigError, match=re.escape(message)):
        import_extra("no_such_package", "figures need", "data")
