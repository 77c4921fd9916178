"""Other people's clients, as published, against a live server; only where they connect to is ours."""

import asyncio
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import openai
import pytest
from googleapiclient import discovery, errors

CLIENTS = Path(__file__).parent
TOXIC, NICE = "you are a moron", "have a nice day"

_spec = importlib.util.spec_from_file_location("google_host", CLIENTS / "google_host.py")
google_host = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(google_host)


@pytest.fixture(scope="module")
def google(live_server, tmp_path_factory):
    host = google_host.GoogleHost(live_server.port, tmp_path_factory.mktemp("google"))
    yield host
    host.close()


@pytest.fixture(scope="module")
def expected():
    """What the packaged model says of both texts, without any server."""
    import gooseguard
    from gooseguard.core.content import Content

    scored = gooseguard.load(threads=1).score([Content.from_text(text) for text in (TOXIC, NICE)])
    return [dict(scores.values) for scores in scored]


def lines_of(command, environment):
    clean = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=clean | environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_openai_client(live_server, expected):
    client = openai.OpenAI(base_url=f"{live_server.url}/v1", api_key="any", max_retries=0)
    answer = client.moderations.create(input="I want to kill them")
    assert answer.results[0].flagged
    assert answer.results[0].categories.violence
    assert answer.results[0].categories.harassment_threatening
    assert answer.results[0].category_applied_input_types.violence == ["text"]
    assert answer.id.startswith("modr-")
    assert answer._request_id.startswith("req_")
    several = client.moderations.create(input=[TOXIC, NICE], model="omni-moderation-latest")
    assert several.results[0].flagged
    for result, scores in zip(several.results, expected, strict=True):
        assert result.category_scores.harassment == pytest.approx(scores["insult"], abs=1e-5)
        assert result.category_scores.sexual_minors == 0.0
        assert result.category_applied_input_types.sexual_minors == []
    parts = client.moderations.create(
        input=[
            {"type": "text", "text": NICE},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        ]
    )
    assert parts.results[0].flagged
    assert parts.results[0].model_extra["errors"][0]["param"] == "input[1]"
    with pytest.raises(openai.BadRequestError) as caught:
        client.moderations.create(input=[])
    assert (caught.value.param, caught.value.type) == ("input", "invalid_request_error")
    assert "omni-moderation-latest" in [model.id for model in client.models.list()]
    assert client.models.retrieve("omni-moderation-latest").owned_by == "gooseguard"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("absent")
    client.close()


def test_the_asynchronous_openai_client(live_server):
    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{live_server.url}/v1", api_key="any") as client:
            return await asyncio.gather(
                *(
                    client.moderations.create(input=text, model="text-moderation-latest")
                    for text in [TOXIC, NICE] * 8
                )
            )

    answers = asyncio.run(ask())
    assert [answer.results[0].flagged for answer in answers[:2]] == [
        answer.results[0].flagged for answer in answers[2:4]
    ]
    assert {answer.model for answer in answers} == {"text-moderation-007"}


def google_service(live_server, **more):
    return discovery.build(
        "commentanalyzer",
        "v1alpha1",
        developerKey="any",
        discoveryServiceUrl=f"{live_server.url}/$discovery/rest?version=v1alpha1",
        static_discovery=False,
        **more,
    )


def test_the_google_client_with_only_its_discovery_url_changed(live_server, expected):
    with google_service(live_server) as service:
        body = {"comment": {"text": TOXIC}, "requestedAttributes": {"TOXICITY": {}}, "clientToken": "t"}
        answer = service.comments().analyze(body=body).execute()
        assert answer["attributeScores"]["TOXICITY"]["summaryScore"]["value"] == pytest.approx(
            expected[0]["toxicity"], abs=1e-5
        )
        assert answer["clientToken"] == "t"
        partial = service.comments().analyze(body=body, fields="languages").execute()
        assert partial == {"languages": ["en"]}
        with pytest.raises(errors.HttpError) as caught:
            service.comments().analyze(body=body | {"comment": {"text": ""}}).execute()
        assert caught.value.reason == "Comment must be non-empty."
        assert caught.value.error_details[0]["errorType"] == "COMMENT_EMPTY"
        suggestion = {
            "comment": {"text": "a"},
            "attributeScores": {"TOXICITY": {"summaryScore": {"value": 0}}},
            "clientToken": "s",
        }
        assert service.comments().suggestscore(body=suggestion).execute()["clientToken"] == "s"


def test_the_google_client_from_a_document(live_server):
    import urllib.request

    url = f"{live_server.url}/$discovery/rest?version=v1alpha1"
    with urllib.request.urlopen(url, timeout=10) as response:
        document = response.read().decode()
    with discovery.build_from_document(document, developerKey="any") as service:
        body = {"comment": {"text": NICE}, "requestedAttributes": {"INSULT": {}}}
        assert "INSULT" in service.comments().analyze(body=body).execute()["attributeScores"]


def test_python_clients_that_know_google_s_host_only(google, expected):
    command = [sys.executable, str(CLIENTS / "perspective_clients.py")]
    blocking, asynchronous, value = lines_of(command, google.environment)
    assert blocking["TOXICITY"] == pytest.approx(expected[0]["toxicity"], abs=1e-5)
    assert blocking["INSULT"] == pytest.approx(expected[0]["insult"], abs=1e-5)
    assert blocking["THREAT"] is None
    assert asynchronous["TOXICITY"] == pytest.approx(expected[1]["toxicity"], abs=1e-5)
    assert value == pytest.approx(expected[0]["toxicity"], abs=1e-5)


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
@pytest.mark.skipif(
    not (CLIENTS / "node_modules").is_dir(),
    reason="needs: npm ci --prefix tests/clients",
)
def test_the_node_client(google, expected):
    lines = lines_of(["node", str(CLIENTS / "perspective.js")], google.node_environment)
    toxic, nice, unknown, language, empty = lines
    assert toxic["attributeScores"]["TOXICITY"]["summaryScore"]["value"] == pytest.approx(
        expected[0]["toxicity"], abs=1e-5
    )
    assert set(nice["attributeScores"]) == {"TOXICITY", "INSULT"}
    assert unknown == {
        "name": "ResponseError", "message": "Unknown requested attribute: UNSUBSTANTIAL", "status": 400,
    }  # fmt: skip
    assert language["message"] == "Attribute TOXICITY does not support request languages: om"
    assert empty["message"] == "Comment must be non-empty."
