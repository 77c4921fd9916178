"""Perspective's API on a scorer whose answers are known: every request field, every message."""

import pytest
from serving_fakes import Recorder

from gooseguard.serving.hooks import Hooks

LONG_GERMAN = (
    "Der Rat der Stadt hat gestern beschlossen, dass die alte Brücke über den Fluss im nächsten Jahr "
    "gesperrt wird, weil sie nicht mehr sicher ist und die Reparatur zu teuer wäre."
)
LONG_OROMO = (
    "Namoonni hundinuu birmaduu ta'anii mirgaa fi ulfinaanis wal-qixxee ta'anii dhalatan. Sammuu fi qalbii "
    "ittiin yaadan waan kennameef, hafuura obbolummaatiin walii-wajjin jiraachuu qabu."
)
PROBABILITY = "PROBABILITY"


def analyze(client, body, query="", **more):
    return client.post(f"/v1alpha1/comments:analyze{query}", json=body, **more)


def request(text="you moron", **more):
    return {"comment": {"text": text}, "requestedAttributes": {"TOXICITY": {}}} | more


def score(value):
    return {"value": value, "type": PROBABILITY}


def test_the_answer_of_a_plain_request(client):
    response = analyze(client, request(languages=["en"], clientToken="t1"))
    assert response.status_code == 200
    assert response.json() == {
        "attributeScores": {
            "TOXICITY": {
                "spanScores": [{"begin": 0, "end": 9, "score": score(0.97)}],
                "summaryScore": score(0.97),
            }
        },
        "languages": ["en"],
        "detectedLanguages": ["en"],
        "clientToken": "t1",
    }


def test_spans_are_sentences_in_utf_16_code_units(client):
    # In UTF-16 a goose is two code units: "🦢🦢 Fine." is 0 to 10, "You moron!" 11 to 21.
    body = analyze(client, request("🦢🦢 Fine. You moron!", spanAnnotations=True)).json()
    assert body["attributeScores"]["TOXICITY"]["spanScores"] == [
        {"begin": 0, "end": 10, "score": score(0.02)},
        {"begin": 11, "end": 21, "score": score(0.97)},
    ]
    whole = analyze(client, request("🦢🦢 Fine. You moron!")).json()
    assert whole["attributeScores"]["TOXICITY"]["spanScores"] == [
        {"begin": 0, "end": 21, "score": score(0.97)}
    ]


def test_scores_below_the_threshold_are_left_out(client):
    attributes = {"TOXICITY": {"scoreThreshold": 0.97}, "INSULT": {"scoreThreshold": 0.76}}
    body = analyze(client, request(requestedAttributes=attributes)).json()
    assert list(body["attributeScores"]) == ["TOXICITY"]
    spans = analyze(
        client,
        request(
            "Fine. You moron!", requestedAttributes={"INSULT": {"scoreThreshold": 0.5}}, spanAnnotations=True
        ),
    ).json()["attributeScores"]["INSULT"]["spanScores"]
    assert [(span["begin"], span["score"]["value"]) for span in spans] == [(6, 0.75)]


def test_attributes_of_this_model_s_version_are_known_and_others_are_not(client):
    named = {"TOXICITY@0123456789ab": {}, "TOXICITY": {}, "INSULT": None}
    body = analyze(client, request(requestedAttributes=named)).json()
    assert list(body["attributeScores"]) == list(named)
    for name in ("TOXICITY@6", "TOXICITY@", "UNSUBSTANTIAL", "SEVERE_TOXICITY", "toxicity", "@"):
        response = analyze(client, request(requestedAttributes={name: {}}))
        assert response.status_code == 400
        assert response.json()["error"]["message"] == f"Unknown requested attribute: {name}"


def test_a_score_that_the_model_could_not_give_is_left_out(client):
    # The scorer's hate is None: IDENTITY_ATTACK is no number, and not 0.
    attributes = {"IDENTITY_ATTACK": {}, "THREAT": {}}
    assert list(analyze(client, request(requestedAttributes=attributes)).json()["attributeScores"]) == [
        "THREAT"
    ]


@pytest.mark.parametrize(
    ("changes", "message", "error_type"),
    [
        ({"comment": {}}, "Comment must be non-empty.", "COMMENT_EMPTY"),
        ({"comment": None}, "Comment must be non-empty.", "COMMENT_EMPTY"),
        ({"comment": {"text": " \n"}}, "Comment must be non-empty.", "COMMENT_EMPTY"),
        ({"comment": {"text": "<unscored>"}}, "Comment must be non-empty.", "COMMENT_EMPTY"),
        ({"comment": {"text": "é" * 10241}}, "Comment text too long.", "COMMENT_TOO_LONG"),
        ({"requestedAttributes": {}}, "Missing requested_attributes", "NO_REQUESTED_ATTRIBUTES"),
        ({"requestedAttributes": None}, "Missing requested_attributes", "NO_REQUESTED_ATTRIBUTES"),
        (
            {"comment": {"text": "a", "type": "HTML"}},
            "Currently, only 'PLAIN_TEXT' comments are supported",
            "INVALID_REQUEST",
        ),
        ({"comment": {"text": "a", "type": "RTF"}}, "Unknown text type", "INVALID_REQUEST"),
        (
            {"requestedAttributes": {"TOXICITY": {"scoreType": "RAW"}}},
            "Requested score type RAW is not supported by attribute TOXICITY",
            "INVALID_REQUEST",
        ),
        (
            {"context": {"entries": [], "articleAndParentComment": {}}},
            "Context can have either entries or article_and_parent_comment, but both fields were populated.",
            "INVALID_REQUEST",
        ),
        (
            {"languages": ["om", "en", "xx"]},
            "Attribute TOXICITY does not support request languages: om, xx",
            "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE",
        ),
    ],
)
def test_the_messages_that_clients_match_on(client, changes, message, error_type):
    response = analyze(client, request() | changes)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["code"], error["message"], error["status"]) == (400, message, "INVALID_ARGUMENT")
    (detail,) = error["details"]
    assert detail["@type"] == "type.googleapis.com/google.commentanalyzer.v1alpha1.Error"
    assert detail["errorType"] == error_type


def test_a_comment_of_exactly_the_limit_is_scored(client):
    assert analyze(client, request("é" * 10240)).status_code == 200


def test_languages_are_detected_and_a_sure_one_that_nobody_reads_is_refused(client):
    body = analyze(client, request(LONG_GERMAN)).json()
    assert (body["languages"], body["detectedLanguages"][0]) == (["de"], "de")
    response = analyze(client, request(LONG_OROMO))
    assert response.status_code == 400
    (detail,) = response.json()["error"]["details"]
    assert detail["languageNotSupportedByAttributeError"] == {
        "detectedLanguages": ["om"], "attribute": "TOXICITY",
    }  # fmt: skip
    dropped = analyze(client, request(LONG_OROMO, dropUnsupportedAttributes=True))
    assert dropped.json()["attributeScores"] == {}
    assert dropped.json()["languages"] == ["om"]


@pytest.mark.parametrize("text", ["🦢", "ok", "???", "123", "idiota", "😀😀😀", "a\u200b"])
def test_short_and_undetermined_comments_are_scored(client, text):
    body = analyze(client, request(text)).json()
    assert body["attributeScores"]["TOXICITY"]["summaryScore"] == score(0.02)
    assert body["detectedLanguages"]


def test_a_region_does_not_matter(client):
    assert analyze(client, request(languages=["de-AT"])).json()["languages"] == ["de-AT"]


def test_what_the_model_cannot_score_is_dropped_on_request_and_made_up_never(client):
    attributes = {"SEVERE_TOXICITY": {}, "TOXICITY": {}}
    body = analyze(client, request(requestedAttributes=attributes, dropUnsupportedAttributes=True)).json()
    assert list(body["attributeScores"]) == ["TOXICITY"]
    unknown = request(requestedAttributes={"NOTHING": {}}, dropUnsupportedAttributes=True)
    assert analyze(client, unknown).status_code == 400


def test_fields_and_pretty_print(client):
    partial = analyze(client, request(), "?fields=attributeScores/TOXICITY/summaryScore/value,languages")
    assert partial.json() == {
        "attributeScores": {"TOXICITY": {"summaryScore": {"value": 0.97}}}, "languages": ["en"],
    }  # fmt: skip
    assert "\n" in partial.text
    assert "\n" not in analyze(client, request(), "?prettyPrint=false&alt=json").text
    assert analyze(client, request(), "?fields=a(").status_code == 400
    assert analyze(client, request(), "?alt=proto").status_code == 400


def test_other_spellings_of_the_fields(client):
    body = {"comment": {"text": "you moron"}, "requested_attributes": {"TOXICITY": {"score_threshold": 0.98}}}
    assert analyze(client, body | {"client_token": "t"}).json() == {
        "attributeScores": {}, "languages": ["en"], "detectedLanguages": ["en"], "clientToken": "t",
    }  # fmt: skip


@pytest.mark.parametrize(
    "body", [[], "x", {"comment": "x"}, {"coment": {}}, request(languages="en"), request(spanAnnotations=1)]
)
def test_wrong_types_are_refused_in_googles_envelope(client, body):
    error = analyze(client, body).json()["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert error["message"].startswith("Invalid JSON payload received.")


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def watched(make_client, recorder):
    return make_client(Hooks(log=recorder, observers=(recorder,)))


def test_community_and_do_not_store_reach_the_log(watched, recorder):
    context = {"entries": [{"text": "earlier"}]}
    analyze(watched, request(communityId="forum", doNotStore=True, context=context, sessionId="s"))
    (entry,) = recorder.entries
    assert (entry.api, entry.community, entry.may_store) == ("perspective", "forum", False)
    assert [part.text for part in entry.content.context] == ["earlier"]


SUGGESTION = {
    "comment": {"text": "Get busy living, or get busy dying."},
    "attributeScores": {"TOXICITY": {"summaryScore": {"value": 0}}, "OBSCENE": {"summaryScore": score(0.25)}},
    "communityId": "/forum/movies",
    "clientToken": "comment-53922",
    "languages": ["en"],
}


def suggest(client, body):
    return client.post("/v1alpha1/comments:suggestscore", json=body)


def test_a_suggestion_is_kept_with_its_community(watched, recorder):
    assert suggest(watched, SUGGESTION).json() == {
        "detectedLanguages": ["en"], "requestedLanguages": ["en"], "clientToken": "comment-53922",
    }  # fmt: skip
    (entry,) = recorder.entries
    assert (entry.api, entry.community) == ("suggest", "/forum/movies")
    assert entry.suggested == {"toxicity": 0.0, "profanity": 0.25}
    assert entry.content.language == "en"


def test_a_suggestion_that_must_not_be_stored_is_not(watched, recorder):
    assert suggest(watched, SUGGESTION | {"doNotStore": True}).status_code == 200
    assert recorder.entries == []


@pytest.mark.parametrize(
    "scores",
    [
        {},
        None,
        {"NOTHING": {"summaryScore": {"value": 1}}},
        {"TOXICITY": {}},
        {"TOXICITY": {"summaryScore": {"value": 1.5}}},
        {"TOXICITY": {"summaryScore": {"value": 1, "type": "RAW"}}},
    ],
)
def test_a_wrong_suggestion_is_an_invalid_argument(watched, recorder, scores):
    response = suggest(watched, SUGGESTION | {"attributeScores": scores})
    assert (response.status_code, response.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert recorder.entries == []


def test_without_a_log_a_suggestion_is_not_thanked_for(client):
    response = suggest(client, SUGGESTION)
    assert (response.status_code, response.json()["error"]["status"]) == (503, "UNAVAILABLE")
