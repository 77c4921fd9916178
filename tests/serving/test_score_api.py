"""Our own API."""

import pytest

MORON = {"toxicity": 0.97, "insult": 0.75, "threat": 0.02, "hate": None}


def post(client, body, **more):
    return client.post("/v1/score", json=body, **more)


def test_results_come_in_order_with_ids_and_verdicts(client):
    response = post(client, {"items": [{"id": "a", "text": "you moron"}, {"text": "nice day"}]})
    assert response.status_code == 200
    body = response.json()
    assert body["model"] == "fake@0123456789ab"
    assert body["policy"] == "mine@1"
    assert response.headers["x-request-id"] == body["id"]
    one, two = body["results"]
    assert one == {
        "id": "a", "action": "block", "flagged": True, "categories": ["toxicity", "insult"], "scores": MORON,
        "spans": [], "rationale": None,
    }  # fmt: skip
    assert (two["id"], two["action"], two["flagged"], two["categories"]) == ("", "allow", False, [])


def test_what_the_model_writes_is_the_rationale(client):
    results = post(client, {"items": [{"text": "<why>"}, {"text": "nice day"}]}).json()["results"]
    assert [result["rationale"] for result in results] == ["It asks why.", None]


def test_one_failure_is_an_error_of_its_item(client):
    results = post(client, {"items": [{"text": "<unscored>"}, {"text": "you moron"}]}).json()["results"]
    assert results[0]["action"] == "review"
    assert results[0]["scores"] == {}
    assert results[0]["error"] == {"type": "ContentError", "message": "part 0 cannot be judged"}
    assert results[1]["scores"] == MORON
    assert "error" not in results[1]


def test_spans_are_code_points_of_the_part(client):
    parts = [{"type": "text", "text": "Fine."}, {"type": "text", "text": "🦢 Good. You moron!"}]
    (result,) = post(client, {"items": [{"parts": parts}], "spans": True}).json()["results"]
    # "🦢 Good." is code points 0 to 7, "You moron!" 8 to 18.
    assert result["spans"] == [
        {"part": 1, "begin": 8, "end": 18, "category": "toxicity", "score": 0.97},
        {"part": 1, "begin": 8, "end": 18, "category": "insult", "score": 0.75},
    ]


def test_a_policy_is_chosen_by_id_or_by_id_and_version(client):
    for name in ("mine", "mine@1"):
        assert post(client, {"items": [], "policy": name}).json()["policy"] == "mine@1"
    for name in ("mine@2", "absent"):
        response = post(client, {"items": [], "policy": name})
        assert response.status_code == 404
        assert response.json()["error"]["param"] == "policy"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, None),
        ({"items": [{"text": 3}]}, "items[0].text"),
        ({"items": [{}]}, "items[0]"),
        ({"items": [{"text": "a", "parts": [{"text": "b"}]}]}, "items[0]"),
        ({"items": [{"txt": "a"}]}, "items[0]"),
        ({"items": [{"parts": [{"type": "image", "text": "a"}]}]}, "items[0].parts[0].type"),
        ({"items": [{"parts": [{"text": "a"}, {}]}]}, "items[0].parts[1]"),
        ({"items": [{"parts": [{"text": "a", "image_url": {"url": "data:,"}}]}]}, "items[0].parts[0]"),
        ({"items": [{"parts": [{"type": "image_url", "text": "a"}]}]}, "items[0].parts[0]"),
        ({"items": [], "spans": "yes"}, "spans"),
        ([], None),
    ],
)
def test_a_wrong_body_is_400_and_says_where(client, body, param):
    response = post(client, body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["type"] == "INVALID"
    assert error["param"] == param
    assert error["message"]


def test_too_many_and_too_long_items(make_client):
    from gooseguard.serving.config import LimitsConfig

    client = make_client(limits=LimitsConfig(items=2, item_bytes=10))
    assert post(client, {"items": [{"text": "a"}] * 3}).status_code == 400
    assert post(client, {"items": [{"text": "é" * 6}]}).status_code == 413
    assert post(client, {"items": [{"text": "é" * 5}] * 2}).status_code == 200


@pytest.mark.parametrize(
    ("text", "ok", "finding"),
    [
        ('id = "p"\nversion = "1"\n[thresholds.insult]\nreview = 0.5\nblock = 0.9', True, None),
        (
            'id = "p"\nversion = "1"\n[thresholds.spam]\nreview = 0.5\nblock = 0.9',
            False,
            "does not score spam",
        ),
        ('id = "p"\nversion = "1"\n[thresholds.insult]\nreview = 1\nblock = 0.9', False, "above block"),
        ("not toml", False, "not valid TOML"),
    ],
)
def test_a_policy_is_checked_against_the_model(client, text, ok, finding):
    body = client.post("/v1/policies:check", json={"policy": text}).json()
    assert body["ok"] is ok
    assert [finding in found for found in body["findings"]] == ([True] if finding else [])
    if ok:
        assert body["policy"] == "p@1"
        assert body["without_thresholds"] == ["hate", "threat", "toxicity"]
