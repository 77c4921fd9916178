"""The OpenAPI document describes what is served; requests made from it break nothing."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serving_fakes import FakeScorer, Recorder

from gooseguard.core.content import Content
from gooseguard.serving.app import create_app, operations
from gooseguard.serving.config import ServeConfig
from gooseguard.serving.hooks import Hooks
from gooseguard.serving.openapi import make_document
from gooseguard.serving.problem import Kind


def test_it_lists_every_operation_with_its_types(client):
    document = client.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert {(path, method) for path, methods in document["paths"].items() for method in methods} == {
        (operation.path, operation.method.lower()) for operation in operations()
    }
    body = document["paths"]["/v1/score"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/ScoreRequest"}
    components = document["components"]["schemas"]
    assert components["ScoreRequest"]["required"] == ["items"]
    assert components["ScoreRequest"]["additionalProperties"] is False
    assert set(components["ModerationResult"]["required"]) == {"flagged", "categories", "category_scores"}


def test_references_lead_somewhere_and_statuses_are_those_of_problems():
    document = make_document(operations(), "1")
    text = json.dumps(document)
    for name in {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in document["components"]["schemas"]
    statuses = {str(kind.status) for kind in Kind}
    for methods in document["paths"].values():
        for described in methods.values():
            assert set(described["responses"]) - {"200"} <= statuses


def test_path_parameters_are_described():
    (parameter,) = make_document(operations(), "1")["paths"]["/v1/models/{model}"]["get"]["parameters"]
    assert (parameter["name"], parameter["in"], parameter["required"]) == ("model", "path", True)


class Streaming(FakeScorer):
    """Keeps the pieces as they are."""

    def open(self):
        return []

    def append(self, state, text):
        state.append(text)
        return self._score(Content.from_text("".join(state) + "."))

    def finish(self, state):
        return self.append(state, "")

    def dump(self, state):
        return json.dumps(state).encode()

    def load(self, data):
        return json.loads(data)


@pytest.fixture
def schema(policy_path):
    recorder = Recorder()
    app = create_app(ServeConfig(policy=policy_path), Streaming(), Hooks(log=recorder))
    return schemathesis.openapi.from_asgi("/openapi.json", app)


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.handler.__name__)
def test_no_request_made_from_the_document_gives_a_5xx_or_breaks_the_schema(schema, operation, mode):
    described = schema[operation.path][operation.method]

    @given(described.as_strategy(generation_mode=mode))
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    def ask(case):
        case.call_and_validate(checks=CHECKS)

    ask()
