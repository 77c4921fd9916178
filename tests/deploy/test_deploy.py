"""What is in deploy/ fits the program: every entry of the config, files that are there, a hardened unit."""

import re
import shutil
import subprocess
import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest
import yaml

from gooseguard.core.config import read_config
from gooseguard.serving.config import ServeConfig

DEPLOY = Path(__file__).parents[2] / "deploy"


def entries(kind, table=""):
    hints = get_type_hints(kind)
    for field in fields(kind):
        if is_dataclass(hints[field.name]):
            yield from entries(hints[field.name], field.name)
        else:
            yield table, field.name


def test_the_example_says_every_entry_with_its_default_and_a_comment():
    text = (DEPLOY / "serve.toml").read_text("utf-8")
    assert read_config(ServeConfig, DEPLOY / "serve.toml") == ServeConfig()
    found, table, is_explained = [], "", False
    for line in text.splitlines():
        if head := re.fullmatch(r"\[(\w+)\]", line):
            table = head[1]
        elif entry := re.match(r"(?:# )?(\w+) = ", line):
            found.append((table, entry[1]))
            assert is_explained, f"{table}.{entry[1]} has no comment above it"
            continue
        # A comment explains the entries right below it.
        is_explained = line.startswith("# ")
    assert sorted(found) == sorted(entries(ServeConfig))


def test_entries_that_are_commented_out_would_be_taken(tmp_path):
    text = (DEPLOY / "serve.toml").read_text("utf-8")
    path = tmp_path / "serve.toml"
    path.write_text(re.sub(r"^# (\w+ = \d+)$", r"\1", text, flags=re.MULTILINE), "utf-8")
    rates = read_config(ServeConfig, path).rates
    assert set(rates.as_mapping()) == {"requests_per_minute", "items_per_minute", "bytes_per_minute"}


def test_the_container_is_closed_until_there_is_a_key():
    config = read_config(ServeConfig, DEPLOY / "container.toml")
    assert (config.host, config.logging.format, config.log) == ("0.0.0.0", "json", ServeConfig().log)


def test_the_dockerfile_copies_what_is_there_and_runs_as_nobody_special():
    lines = (DEPLOY / "Dockerfile").read_text("utf-8").splitlines()
    copied = [line.split()[1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    assert copied
    assert all((DEPLOY.parent / path).exists() for path in copied)
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users == ["10001"]
    assert any("useradd" in line and "--uid 10001" in line for line in lines)
    assert any(line.startswith("HEALTHCHECK ") for line in lines)
    extras = re.search(r"'\.\[(.+)\]'", "\n".join(lines))[1].split(",")
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(extras) <= set(project["optional-dependencies"])


def test_compose_names_what_is_there():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]
    build = services["server"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
    # Published to this machine only: a proxy with TLS stands before it.
    assert all(port.startswith("127.0.0.1:") for port in services["server"]["ports"])
    assert services["database"]["profiles"] == ["postgres"]


def test_the_unit_starts_a_verb_that_exists():
    unit = (DEPLOY / "gooseguard.service").read_text("utf-8")
    assert re.search(r"^ExecStart=\S+/gooseguard serve \S+/serve\.toml$", unit, re.MULTILINE)
    assert int(re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[1]) > ServeConfig().drain_s + 10


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze: apt-get install systemd"
)
def test_the_unit_is_valid_and_hardened(tmp_path):
    # The program and the user are of the machine it is installed on.
    unit = (DEPLOY / "gooseguard.service").read_text("utf-8")
    path = tmp_path / "gooseguard.service"
    path.write_text(re.sub(r"/opt/gooseguard/bin/gooseguard", "/bin/true", unit), "utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False
    )
    assert [line for line in done.stderr.splitlines() if "gooseguard.service:" in line] == []
    # systemd's own judgement, 0 (good) to 10: below 2 it calls a unit "OK".
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-500:]
