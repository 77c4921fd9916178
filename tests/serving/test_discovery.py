"""The discovery document agrees with what is served, and with Google's where that is at hand."""

import json
from pathlib import Path

import pytest

from gooseguard.serving import perspective_wire as wire
from gooseguard.serving.discovery import document

TYPES = {
    "TextEntry": wire.TextEntry,
    "ArticleAndParentComment": wire.ArticleAndParentComment,
    "Context": wire.CommentContext,
    "AttributeParameters": wire.AttributeParameters,
    "AttributeScores": wire.AttributeScores,
    "Score": wire.Score,
    "SpanScore": wire.SpanScore,
    "AnalyzeCommentRequest": wire.AnalyzeRequest,
    "AnalyzeCommentResponse": wire.AnalyzeResponse,
    "SuggestCommentScoreRequest": wire.SuggestRequest,
    "SuggestCommentScoreResponse": wire.SuggestResponse,
}
OURS = {"SuggestCommentScoreRequest": {"doNotStore"}}
"""Fields that Google's document lacks."""


def test_every_field_is_in_the_document_and_no_other():
    schemas = document("")["schemas"]
    assert {name: set(schema["properties"]) for name, schema in schemas.items()} == {
        name: set(kind.__struct_fields__) for name, kind in TYPES.items()
    }


def test_it_names_the_server_that_was_asked(client):
    response = client.get("/$discovery/rest?version=v1alpha1", headers={"host": "moderation.example:81"})
    assert response.json()["rootUrl"] == "http://moderation.example:81/"
    assert client.get("/$discovery/rest").status_code == 200
    assert client.get("/$discovery/rest?version=v2").status_code == 404


def test_it_names_the_public_address_where_the_operator_says_one(make_client):
    client = make_client(public_url="https://moderation.example")
    assert client.get("/$discovery/rest").json()["rootUrl"] == "https://moderation.example/"


def test_it_names_paths_that_are_answered(client):
    for method in document("")["resources"]["comments"]["methods"].values():
        assert (
            client.post("/" + method["path"], json={}).json()["error"]["message"]
            == "Comment must be non-empty."
        )


def test_it_has_all_that_google_s_has():
    path = Path(__file__).parents[3] / "shared" / "commentanalyzer.v1alpha1.json"
    if not path.is_file():
        pytest.skip("needs a transcription of Google's document, ../shared/commentanalyzer.v1alpha1.json")
    theirs, ours = json.loads(path.read_text("utf-8")), document("")
    assert set(theirs["schemas"]) == set(ours["schemas"])
    for name, schema in theirs["schemas"].items():
        mine = ours["schemas"][name]["properties"]
        assert set(mine) - OURS.get(name, set()) == set(schema["properties"]), name
        for field, entry in schema["properties"].items():
            for key in ("type", "$ref", "format", "enum", "items", "additionalProperties"):
                assert mine[field].get(key) == entry.get(key), (name, field)
    for name, method in theirs["resources"]["comments"]["methods"].items():
        for key in ("id", "path", "flatPath", "httpMethod", "request", "response"):
            assert ours["resources"]["comments"]["methods"][name][key] == method[key]
    assert set(ours["parameters"]) == set(theirs["parameters"])
    assert ours["id"] == theirs["id"]
