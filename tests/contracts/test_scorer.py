"""Every scorer that ships, through the battery of `scorer.py`."""

import importlib.util
import json
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from gooseguard.backends import load
from gooseguard.engine.file import write_engine_file

HERE = Path(__file__).parent


def _load(name):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


battery = _load("scorer")
tiny = _load("tiny_text_model")
chat = _load("chat_server")


def _text_scorer(folder, **options):
    model = tiny.make_model()
    write_engine_file(folder / "tiny.safetensors", model, "bf16", model.digest())
    return load(folder / "tiny.safetensors", **options)


def _baseline():
    pytest.importorskip("sklearn")
    from gooseguard.evaluation.baseline import BaselineConfig, HeldOut, fit_baseline

    texts = ["have a nice day", "you moron", "good morning to you", "what a moron you are"] * 10
    labels = np.array([[0.0], [1.0], [0.0], [1.0]] * 10, np.float32)
    held_out = HeldOut(texts, labels, np.array(["s"] * 40))
    return fit_baseline(texts, labels, ("insult",), held_out, BaselineConfig(strengths=(1.0,)), {"en"})


def _remote(stack):
    pytest.importorskip("httpx2")
    from gooseguard.chat.client import ChatClient, Endpoint
    from gooseguard.engine.remote import RemoteScorer

    def rate(body):
        share = sum(map(ord, body["messages"][1]["content"])) % 101 / 100
        return chat.completion(json.dumps({"insult": share, "threat": 1 - share}))

    server = stack.enter_context(chat.serve(rate))
    client = stack.enter_context(ChatClient(Endpoint(server.url, "m")))
    return RemoteScorer(client, ("insult", "threat"), languages=("en",))


def _language_scorer(folder):
    pytest.importorskip("torch")
    official = _load("official_files")
    from gooseguard.models.scorer import LanguageScorer

    return LanguageScorer(official.load_small(folder, "x070", " Yes", " No"), categories=("insult", "spam"))


def _fusion_scorer():
    pytest.importorskip("torch")
    from gooseguard.core.errors import ContentError
    from gooseguard.models.fusion import FusionKind

    def refuse(_part):
        raise ContentError("the image is damaged")

    return _load("fusion_model").make_scorer(FusionKind.ASYMMETRIC, ("insult", "threat"), image=refuse)


@pytest.fixture(scope="module")
def scorers(tmp_path_factory):
    made = {}
    stack = ExitStack()

    def get(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            made[name] = {
                "text": lambda: _text_scorer(folder, threads=1),
                "text_threads_spans": lambda: _text_scorer(folder, threads=3, spans=True),
                "baseline": _baseline,
                "remote": lambda: _remote(stack),
                "language": lambda: _language_scorer(folder),
                "fusion": _fusion_scorer,
            }[name]()
        return made[name]

    with stack:
        yield get


@pytest.mark.parametrize("name", ["text", "text_threads_spans", "baseline", "remote", "language", "fusion"])
@pytest.mark.parametrize("check", battery.CHECKS, ids=lambda check: check.__name__)
def test_scorer(scorers, name, check):
    check(scorers(name))
