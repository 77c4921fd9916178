"""The server as tests/serving starts it, and its PostgreSQL; tests are no package, hence by path."""

import importlib.util
import sys
from pathlib import Path

if "serving_fakes" not in sys.modules:
    _path = Path(__file__).parents[1] / "serving" / "conftest.py"
    _spec = importlib.util.spec_from_file_location("serving_conftest", _path)
    _conftest = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(_conftest)

# The module that tests/serving/conftest.py makes of what others may use.
postgres = sys.modules["serving_fakes"].postgres
