"""OpenAI's API on a scorer whose answers are known: shapes, arity, derived categories, errors."""

import pytest

from gooseguard.serving.hooks import Hooks, Key
from gooseguard.serving.problem import Kind, Problem

NAMES = {
    "harassment",
    "harassment/threatening",
    "sexual",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm/intent",
    "self-harm/instructions",
    "self-harm",
    "sexual/minors",
    "violence",
    "violence/graphic",
}


def post(client, body):
    return client.post("/v1/moderations", json=body)


def result(client, body):
    response = post(client, body)
    assert response.status_code == 200, response.text
    (only,) = response.json()["results"]
    return only


def test_all_thirteen_categories_are_in_all_three_maps(client):
    body = post(client, {"input": "you moron"}).json()
    assert body["id"].startswith("modr-")
    assert body["model"] == "omni-moderation-latest"
    (only,) = body["results"]
    assert only.keys() == {"flagged", "categories", "category_scores", "category_applied_input_types"}
    for name in ("categories", "category_scores", "category_applied_input_types"):
        assert set(only[name]) == NAMES


def test_what_the_model_lacks_is_derived_or_zero_with_no_applied_types(client):
    # The scorer knows toxicity, insult and threat; hate is None. "moron" is insult 0.75, flagged from 0.5.
    only = result(client, {"input": "you moron"})
    assert only["flagged"] is True
    assert only["categories"] == dict.fromkeys(NAMES, False) | {"harassment": True}
    assert only["category_scores"]["harassment"] == 0.75
    assert only["category_scores"]["violence"] == 0.02
    assert only["category_applied_input_types"]["violence"] == ["text"]
    for name in ("hate", "hate/threatening", "sexual", "illicit"):
        assert only["category_scores"][name] == 0.0
        assert only["category_applied_input_types"][name] == []


def test_a_threat_is_violence_and_threatening_harassment(client):
    only = result(client, {"input": "I want to kill them"})
    true = {name for name, is_true in only["categories"].items() if is_true}
    assert true == {"violence", "harassment/threatening"}
    assert only["category_scores"]["violence"] == only["category_scores"]["harassment/threatening"] == 0.6


def test_nothing_found_is_not_flagged(client):
    only = result(client, {"input": "have a nice day"})
    assert only["flagged"] is False
    assert not any(only["categories"].values())


def test_texts_are_judged_alone_and_parts_together(client):
    results = post(client, {"input": ["you moron", "nice", "kill"]}).json()["results"]
    assert [each["flagged"] for each in results] == [True, False, True]
    parts = [{"type": "text", "text": "nice"}, {"type": "text", "text": "you moron"}]
    assert result(client, {"input": parts})["categories"]["harassment"] is True


def test_an_image_is_an_error_of_its_part_and_the_text_is_judged(client):
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    only = result(client, {"input": [{"type": "text", "text": "nice"}, image, image]})
    # Nobody looked at the images, so nobody may take this for harmless.
    assert only["flagged"] is True
    assert not any(only["categories"].values())
    assert only["category_scores"]["violence"] == 0.02
    assert [error["param"] for error in only["errors"]] == ["input[1]", "input[2]"]
    assert "is an image" in only["errors"][0]["message"]
    alone = result(client, {"input": [image]})
    assert alone["flagged"] is True
    assert [error["param"] for error in alone["errors"]] == ["input[0]"]
    assert set(alone["category_scores"].values()) == {0.0}
    assert all(kinds == [] for kinds in alone["category_applied_input_types"].values())


def test_what_cannot_be_scored_is_flagged_with_its_error(client):
    one, two = post(client, {"input": ["<unscored>", "nice"]}).json()["results"]
    assert one["flagged"] is True
    assert one["errors"] == [
        {"type": "ContentError", "message": "part 0 cannot be judged", "param": "input[0]"}
    ]
    assert (two["flagged"], "errors" in two) == (False, False)
    assert result(client, {"input": "<unscored>"})["errors"][0]["param"] == "input"


@pytest.mark.parametrize("model", ["text-moderation-latest", "text-moderation-stable"])
def test_the_older_models_have_the_older_shape(client, model):
    body = post(client, {"input": "you moron", "model": model}).json()
    assert body["model"] == "text-moderation-007"
    (only,) = body["results"]
    assert set(only["categories"]) == set(only["category_scores"]) == NAMES - {"illicit", "illicit/violent"}
    assert "category_applied_input_types" not in only


def test_any_model_name_is_taken(client):
    assert post(client, {"input": "a", "model": "mine"}).json()["model"] == "mine"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, None),
        ({"input": 3}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", 3]}, "input[1]"),
        ({"input": ["a", {"type": "text", "text": "b"}]}, "input"),
        ({"input": [{"type": "video", "text": "b"}]}, "input[0].type"),
        ({"input": [{"type": "text"}]}, "input[0]"),
        ({"input": None}, "input"),
        ({"input": "a", "model": 7}, "model"),
    ],
)
def test_a_wrong_body_is_400_in_openais_envelope(client, body, param):
    response = post(client, body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param


class NoKey:
    def authenticate(self, secret, client):
        if secret == "busy":
            raise Problem(Kind.RATE_LIMITED, "too fast", retry_after_s=3)
        if secret != "sk-right":
            raise Problem(Kind.NO_KEY, "unknown key")
        return Key("k")


def test_errors_have_the_codes_that_clients_know(make_client):
    client = make_client(Hooks(keys=NoKey()))

    def ask(secret):
        headers = {"authorization": f"Bearer {secret}"}
        return client.post("/v1/moderations", json={"input": "<crash>"}, headers=headers)

    wrong, busy, crash = ask("sk-wrong"), ask("busy"), ask("sk-right")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "invalid_api_key")
    assert (busy.status_code, busy.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert busy.headers["retry-after"] == "3"
    assert (crash.status_code, crash.json()["error"]["type"]) == (500, "server_error")
    assert client.get("/v1/models").status_code == 401


def test_models_say_what_they_score(client):
    body = client.get("/v1/models").json()
    assert body["object"] == "list"
    first = body["data"][0]
    assert (first["id"], first["object"], first["gooseguard_model"]) == (
        "omni-moderation-latest", "model", "fake@0123456789ab",
    )  # fmt: skip
    assert first["scored"]["hate/threatening"] == [["hate", "threat"]]
    assert first["unscored"] == [
        "sexual", "illicit", "illicit/violent", "self-harm/intent", "self-harm/instructions", "self-harm",
        "sexual/minors", "violence/graphic",
    ]  # fmt: skip
    assert client.get("/v1/models/omni-moderation-latest").json() == first
    assert client.get("/v1/models/fake@0123456789ab").status_code == 200
    missing = client.get("/v1/models/gpt-4")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")
