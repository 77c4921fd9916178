"""From items to outcomes: what the log and the observers see."""

import pytest
from serving_fakes import Recorder

from gooseguard.core.scorer import ScoreError
from gooseguard.core.verdict import Action
from gooseguard.serving.hooks import Hooks


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def watched(make_client, recorder):
    return make_client(Hooks(log=recorder, observers=(recorder,)))


def test_the_log_gets_every_item_with_who_and_what(watched, recorder):
    body = {
        "items": [{"id": "c1", "author": "u7", "text": "you moron"}, {"text": "<unscored>"}],
        "store": False,
    }
    response = watched.post("/v1/score", json=body)
    one, two = recorder.entries
    assert (one.request, one.place, one.api, one.key) == (response.json()["id"], 0, "score", "local")
    assert (one.id, one.author, one.may_store, one.model, one.policy) == (
        "c1", "u7", False, "fake@0123456789ab", "mine@1",
    )  # fmt: skip
    assert one.content.parts[0].text == "you moron"
    assert one.outcome.action is Action.BLOCK
    assert (two.place, two.outcome) == (1, ScoreError("ContentError", "part 0 cannot be judged"))


def test_sentences_are_neither_logged_nor_counted(watched, recorder):
    watched.post("/v1/score", json={"items": [{"text": "One. Two moron."}], "spans": True})
    assert len(recorder.entries) == len(recorder.outcomes) == 1
    assert recorder.records[-1].n_items == 1


def test_no_answer_without_its_log_entry(watched, recorder):
    recorder.is_full = True
    response = watched.post("/v1/score", json={"items": [{"text": "you moron"}]})
    assert response.status_code == 503
    assert "scores" not in response.text
    assert recorder.outcomes == []
    assert recorder.records[-1].problem == "LOG"
    recorder.is_full = False
    assert watched.post("/v1/score", json={"items": [{"text": "you moron"}]}).status_code == 200
