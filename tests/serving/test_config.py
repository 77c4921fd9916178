"""The server's config: what is wrong in it is said by the name of its table."""

import pytest

from gooseguard.core.config import build_config
from gooseguard.core.errors import ConfigError
from gooseguard.serving.config import ServeConfig


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"log": {"on_failure": "allow"}}, "log: on_failure is 'allow', expected one of refuse, answer"),
        ({"log": {"survives": "fire"}}, "log: survives is 'fire', expected one of kill, power-cut"),
        ({"log": {"keep_days": -1}}, "log: keep_days is -1, expected at least 0"),
        ({"log": {"queue_rows": 0}}, "log: queue_rows is 0, expected at least 1"),
        ({"rates": {"items_per_minute": 0}}, "rates: items_per_minute is 0, expected at least 1"),
        ({"logging": {"level": "loud"}}, "logging: level is 'loud', expected one of debug"),
        ({"logging": {"format": "xml"}}, "logging: format is 'xml', expected one of auto"),
        ({"log": {"contents": True}}, "unknown key 'contents'"),
    ],
)
def test_wrong_entries(table, message):
    with pytest.raises(ConfigError, match=message):
        build_config(ServeConfig, table, "serve.toml")


def test_rates_that_are_not_set_are_no_limits():
    config = build_config(ServeConfig, {"rates": {"items_per_minute": 5}}, "serve.toml")
    assert config.rates.as_mapping() == {"items_per_minute": 5}
