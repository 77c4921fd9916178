"""What CI says of skipped tests, on reports that pytest itself writes."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "skips.py"


@pytest.fixture
def check(tmp_path):
    """Let pytest skip tests for the reasons given, and the script judge it."""

    def run(*reasons, ci=True):
        lines = ["import pytest", "def test_passes(): pass"]
        lines += [f"def test_{number}(): pytest.skip({reason!r})" for number, reason in enumerate(reasons)]
        (tmp_path / "test_it.py").write_text("\n".join(lines), "utf-8")
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--junitxml=report.xml", "test_it.py"],
            cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip
        done = subprocess.run(
            [sys.executable, str(SCRIPT), "report.xml"],
            cwd=tmp_path, env={"CI": "true"} if ci else {}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    return run


def test_nothing_skipped(check):
    assert check() == (0, "0 skipped, 0 of them for reasons that CI does not allow\n")


def test_a_missing_program_is_not_allowed_in_ci(check):
    status, told = check(
        "no PostgreSQL here: apt-get install postgresql", "not tested: this CPU has no avx512"
    )
    assert status == 1
    assert "1 skipped: no PostgreSQL here" in told
    assert told.endswith("2 skipped, 1 of them for reasons that CI does not allow\n")


def test_elsewhere_it_is_told_only(check):
    status, told = check("no PostgreSQL here: apt-get install postgresql", ci=False)
    assert (status, told.splitlines()[-1].split(",")[0]) == (0, "1 skipped")


def test_data_that_is_not_there_may_be_missing(check):
    assert check("the published rwkv-7-tiny is not beside this checkout (shared/data/rwkv-tiny)")[0] == 0
