"""Examples run: those in docstrings, and the programs in examples/."""

import doctest
import importlib
import json
import subprocess
import sys


def test_examples_in_docstrings(modules, root):
    package = root / "src" / "gooseguard"
    names = [name for name in modules if ">>> " in (package / name).read_text("utf-8")]
    for name in names:
        path = "gooseguard." + name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        result = doctest.testmod(importlib.import_module(path))
        assert result.attempted, name
        assert not result.failed, name


def test_the_quickstart_judges_every_comment(root):
    done = subprocess.run(
        [sys.executable, "examples/quickstart.py"], capture_output=True, text=True, cwd=root, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = [
        json.loads(line) for line in (root / "examples" / "comments.jsonl").read_text("utf-8").splitlines()
    ]
    head, *lines = done.stdout.splitlines()
    assert head.startswith("model ")
    assert [line.split()[0] for line in lines] == [row["id"] for row in rows]
    assert {line.split()[1] for line in lines} <= {"allow", "review", "block"}
