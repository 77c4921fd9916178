"""What the server's tests share: a scorer whose answers are known beforehand, and the application around it.

A text with "moron" scores 0.97 for toxicity and 0.75 for insult, one with "kill" 0.6 for threat, another 0.02
for all; hate is always None. "<unscored>" gives a ScoreError, "<crash>" is a bug, "<slow>" takes 0.5 s,
"<why>" has a rationale.
"""

import importlib.util
import os
import pwd
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

import pytest
from starlette.testclient import TestClient

from gooseguard.core.content import Modality
from gooseguard.core.scorer import ScoreError, Scores
from gooseguard.serving.app import create_app
from gooseguard.serving.config import ServeConfig
from gooseguard.serving.problem import Kind, Problem

POLICY = """
id = "mine"
version = "1"
[thresholds]
toxicity = {review = 0.5, block = 0.9}
insult = {review = 0.5, block = 0.9}
threat = {review = 0.5, block = 0.9}
"""


class FakeScorer:
    categories = frozenset({"toxicity", "insult", "threat", "hate"})
    modalities = frozenset({Modality.TEXT})
    languages = frozenset({"en", "de"})

    def __init__(self, name="fake@0123456789ab"):
        self.name = name
        self.batches = []

    def score(self, contents):
        self.batches.append([content.parts[0].data.decode() for content in contents])
        return [self._score(content) for content in contents]

    def _score(self, content):
        if any(part.modality is not Modality.TEXT for part in content.parts):
            return ScoreError("ContentError", "part 0 is image; fake reads text only")
        text = "\n".join(part.text for part in content.parts)
        if "<unscored>" in text or not text.strip():
            return ScoreError("ContentError", "part 0 cannot be judged")
        if "<crash>" in text:
            raise KeyError(text)
        if "<slow>" in text:
            time.sleep(0.5)
        values = {"toxicity": 0.02, "insult": 0.02, "threat": 0.02, "hate": None}
        if "moron" in text:
            values |= {"toxicity": 0.97, "insult": 0.75}
        if "kill" in text:
            values |= {"threat": 0.6}
        rationale = "It asks why." if "<why>" in text else None
        applied = dict.fromkeys(values, frozenset({Modality.TEXT}))
        return Scores(values, self.name, applied=applied, rationale=rationale)


class Recorder:
    """A log and an observer."""

    def __init__(self):
        self.entries, self.outcomes, self.records, self.names = [], [], [], []
        self.is_full = False

    async def append(self, entries, *, is_alone=False):
        if self.is_full:
            raise Problem(Kind.LOG, "the disk is full")
        self.entries += entries

    async def close(self):
        self.entries.append("closed")

    def judged(self, outcome, policy):
        self.outcomes.append((outcome, policy))

    def answered(self, record):
        self.records.append(record)

    def deployed(self, model, policy):
        self.names.append((model, policy))


_fakes = ModuleType("serving_fakes")
_fakes.FakeScorer = FakeScorer
_fakes.Recorder = Recorder
sys.modules["serving_fakes"] = _fakes


@pytest.fixture
def scorer():
    return FakeScorer()


@pytest.fixture
def policy_path(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(POLICY, "utf-8")
    return str(path)


@pytest.fixture
def make_client(scorer, policy_path):
    """Start the application in this process, with changes to its config; gives a client on this machine."""
    clients = []

    def make(hooks=None, *, client=("127.0.0.1", 50000), reload=None, **changes):
        app = create_app(ServeConfig(policy=policy_path, **changes), scorer, hooks, reload=reload)
        http = TestClient(app, client=client, raise_server_exceptions=False)
        clients.append(http)
        return http.__enter__()

    yield make
    for http in clients:
        http.__exit__(None, None, None)


@pytest.fixture
def client(make_client):
    return make_client()


sys.modules["serving_fakes"].LiveServer = sys.modules["live"].LiveServer

# Tests are no package: modules that are no tests are made importable under their names.
for _name in ("log_entries", "postgres_server"):
    _spec = importlib.util.spec_from_file_location(_name, Path(__file__).with_name(f"{_name}.py"))
    sys.modules[_name] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[_name])


@pytest.fixture(scope="session")
def postgres():
    if sys.modules["postgres_server"].find_program("initdb") is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    if os.getuid() == 0:
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    with tempfile.TemporaryDirectory(prefix="gooseguard-pg-") as folder:
        server = sys.modules["postgres_server"].Postgres(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database_url(request, tmp_path):
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/gooseguard.db"
    return request.getfixturevalue("postgres").new_database("test")


@pytest.fixture
def engine(database_url):
    from gooseguard.serving.database import open_database

    engine = open_database(database_url)
    yield engine
    engine.dispose()


_fakes.postgres = postgres
