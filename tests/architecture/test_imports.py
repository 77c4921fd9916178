"""Who may import whom, and what an import may pull in."""

import ast
import subprocess
import sys
import tomllib

EXTRAS = (
    "torch",
    "sklearn",
    "tokenizers",
    "pyarrow",
    "matplotlib",
    "scipy",
    "rwkv",
    "hypothesis",
    "httpx2",
    "starlette",
    "uvicorn",
    "msgspec",
    "uvloop",
    "httptools",
    "websockets",
    "sqlalchemy",
    "alembic",
    "prometheus_client",
    "psycopg",
    "pycld2",
    "PIL",
    "transformers",
    "peft",
)
"""What the base install does not have."""

BASE = ("core", "codec", "metrics", "chat", "data", "engine", "batch", "evaluation", "cli", "backends")
"""Packages and modules that the base install imports."""

OF_AN_EXTRA = {"codec/image.py", "evaluation/image_corruption.py"}
"""Modules among them that are imported late, by what runs with an extra."""


def run(program, *arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=cwd, check=False
    )


def test_import_contracts_hold(root):
    done = run(
        "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))", cwd=root
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_production_contract_names_every_package_of_production_that_exists(root, modules):
    contracts = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (contract,) = [
        contract for contract in contracts if contract["name"].startswith("What runs in production")
    ]
    named = {module.removeprefix("gooseguard.") for module in contract["source_modules"]}
    packages = {name.partition("/")[0] for name in modules}
    assert packages & {"serving", "batch", "review", "engine", "media"} <= named


def test_importing_the_package_pulls_in_next_to_nothing():
    done = run("import sys, gooseguard; print(*sorted({name.partition('.')[0] for name in sys.modules}))")
    assert done.returncode == 0, done.stderr
    assert not {"numpy", "typer", "rich", "safetensors", *EXTRAS} & set(done.stdout.split())


BLOCKED = """
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
for name in sys.argv[2].split(","):
    importlib.import_module(name)
"""


def test_the_base_install_imports_without_the_extras(modules):
    names = [
        "gooseguard." + name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in modules
        if name.removesuffix(".py").partition("/")[0] in BASE and name not in OF_AN_EXTRA
    ]
    done = run(BLOCKED, ",".join(EXTRAS), ",".join(names))
    assert done.returncode == 0, done.stderr


def test_importing_every_module_of_the_base_install_changes_nothing_global(modules):
    """No logging set-up, no seed, no signal handler, no warning filter."""
    names = [
        "gooseguard." + name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in modules
        if name.partition("/")[0] in {"core", "codec", "metrics", "engine", "batch"}
    ]
    program = """
import importlib, logging, os, random, signal, sys, warnings
import numpy, safetensors, threadpoolctl
before = lambda: (
    list(logging.root.handlers), logging.root.level, random.getstate(), str(numpy.random.get_state()),
    signal.getsignal(signal.SIGINT), list(warnings.filters), dict(os.environ),
    threadpoolctl.threadpool_info(),
)
one = before()
for name in sys.argv[1].split(","):
    importlib.import_module(name)
raise SystemExit(0 if before() == one else 1)
"""
    done = run(program, ",".join(names))
    assert done.returncode == 0, done.stderr


def imports_from_root(tree):
    """Give the names that a module takes from the package itself: "load" of `from gooseguard import load`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "gooseguard":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            yield from (name[1] if name[1:] else "" for name in names if name[0] == "gooseguard")


def test_only_codec_and_engine_import_the_extension_and_nobody_the_public_names(modules):
    """The import contracts cannot see this: there the extension is the package itself."""
    inside = {name.partition("/")[0].removesuffix(".py") for name in modules} - {"__init__", "__main__"}
    taken = {name: set(imports_from_root(tree)) - inside for name, tree in modules.items()}
    natives = {name for name, names in taken.items() if "_native" in names}
    assert {name.partition("/")[0] for name in natives} <= {"codec", "engine"}
    assert {name: names - {"_native"} for name, names in taken.items() if names - {"_native"}} == {}
    assert natives
