import sys

import pytest

from gooseguard.core.errors import ConfigError
from gooseguard.data.arrow import import_arrow


def test_arrow_and_its_modules():
    assert import_arrow().__name__ == "pyarrow"
    assert import_arrow("pyarrow.parquet").__name__ == "pyarrow.parquet"


def test_without_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"datasets need pyarrow, .* 'gooseguard\[data\]'"):
        import_arrow()
