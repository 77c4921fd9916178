import asyncio
import importlib.util
import json
from pathlib import Path

import pytest

from gooseguard.serving.config import LogConfig
from gooseguard.serving.database import open_database
from gooseguard.serving.verdict_log import VerdictLog

# Tests are no package: what makes entries is loaded from where it is.
_path = Path(__file__).parents[1] / "serving" / "log_entries.py"
_spec = importlib.util.spec_from_file_location("log_entries", _path)
log_entries = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(log_entries)

# 2026-11-20T00:00Z and 12:00Z: `date -u -d 2026-11-20 +%s` says 1795132800.
MIDNIGHT, NOON = 1_795_132_800.0, 1_795_176_000.0


@pytest.fixture
def url(tmp_path):
    """A log of two verdicts, by ann at midnight and by bob at noon, and a suggestion at midnight."""
    url = str(tmp_path / "log.db")

    async def fill():
        moment = MIDNIGHT
        log = VerdictLog(open_database(url), LogConfig(keep_days=0), clock=lambda: moment)
        log.start()
        await log.append([log_entries.make_entry("r0", author="ann")])
        await log.append([log_entries.make_entry("s0", api="suggest", suggested={"insult": 1.0})])
        moment = NOON
        await log.append([log_entries.make_entry("r1", author="bob")])
        await log.close()

    asyncio.run(fill())
    return url


def exported(program, url, *options):
    status, output, told = program("log", "export", *options, "--database", url)
    assert (status, told) == (0, "")
    return [json.loads(line) for line in output.splitlines()]


def test_export(program, url):
    one, other = exported(program, url)
    assert (one["request"], one["created"]) == ("r0", "2026-11-20T00:00:00.000+00:00")
    assert (one["action"], one["flagged"], one["content"]) == ("block", ["toxicity"], None)
    assert other["request"] == "r1"
    (suggestion,) = exported(program, url, "--table", "suggestions")
    assert suggestion["scores"] == {"insult": 1.0}


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--since", "2026-11-20T06:00"), ["r1"]),
        (("--until", "2026-11-20T13:00+01:00"), ["r0"]),
        (("--author", "bob"), ["r1"]),
        (("--request", "r0"), ["r0"]),
        (("--item", "x"), []),
    ],
)
def test_export_some(program, url, options, found):
    assert [row["request"] for row in exported(program, url, *options)] == found


def test_delete_an_author(program, url):
    status, output, _ = program("log", "delete", "--author", "ann", "--database", url)
    assert (status, output) == (0, "1 verdicts deleted, 0 suggestions deleted\n")
    assert [row["request"] for row in exported(program, url)] == ["r1"]


def test_prune_leaves_suggestions(program, url):
    status, output, _ = program("log", "prune", "--days", "0", "--json", "--database", url)
    # Midnight and noon of a day before this was written.
    assert (status, json.loads(output)) == (0, {"deleted": {"verdicts": 2}})
    assert len(exported(program, url, "--table", "suggestions")) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("delete",), "nothing says which rows"),
        (("export", "--since", "yesterday"), "--since 'yesterday': expected a time such as 2026-11-24"),
    ],
)
def test_wrong_use(program, url, words, message):
    status, output, told = program("log", *words, "--database", url)
    assert (status, output) == (2, "")
    assert message in told
