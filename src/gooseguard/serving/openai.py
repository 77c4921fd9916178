"""OpenAI's moderation API: `POST /v1/moderations` and `GET /v1/models`, as its clients know them.

Our verdict appears as their booleans: a category is true where the policy flags it. `flagged` is true where
any of theirs is, and where the content could not be judged: whoever reads nothing else must not let it pass.

Source: openai/openai-openapi@f85dbe2, openapi.yaml, `createModeration`; openai/openai-python@e43b422,
types/moderation.py and types/moderation_create_params.py.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003  (msgspec reads the annotations)
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from gooseguard.core.content import Content, Modality
from gooseguard.core.scorer import ScoreError
from gooseguard.core.verdict import Action
from gooseguard.serving.bodies import convert
from gooseguard.serving.calls import bearer, json_response
from gooseguard.serving.images import ImageUrl, read_parts
from gooseguard.serving.judge import Item, judge
from gooseguard.serving.problem import Kind, Problem
from gooseguard.serving.wire import apply_rule, is_flagged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import HTTPConnection
    from starlette.responses import Response

    from gooseguard.core.verdict import Verdict
    from gooseguard.serving.calls import Call
    from gooseguard.serving.deployment import Deployment

DEFAULT_MODEL = "omni-moderation-latest"
"""What a request without `model` means."""

MODELS = (
    "omni-moderation-latest",
    "omni-moderation-2024-09-26",
    "text-moderation-latest",
    "text-moderation-stable",
)
"""The names that OpenAI's specification lists; any other is taken as well."""

NOTHING: frozenset[Modality] = frozenset()
"""What a score without `applied` rests on."""

LEGACY_PREFIX = "text-moderation"
"""Models whose answers have the older shape: no `illicit`, no `category_applied_input_types`."""

LEGACY_MODEL = "text-moderation-007"
"""What OpenAI answers as the model to `text-moderation-latest` and `-stable`."""

CREATED = 1727389042
"""`created` of the models: that of omni-moderation-latest, in seconds since 1970."""

_TYPES = {
    Kind.NO_KEY: ("invalid_request_error", "invalid_api_key"),
    Kind.FORBIDDEN: ("invalid_request_error", "forbidden"),
    Kind.NOT_FOUND: ("invalid_request_error", "not_found"),
    Kind.WRONG_METHOD: ("invalid_request_error", "method_not_supported"),
    Kind.TOO_SLOW: ("invalid_request_error", "timeout"),
    Kind.TOO_LARGE: ("invalid_request_error", "request_too_large"),
    Kind.RATE_LIMITED: ("requests", "rate_limit_exceeded"),
    Kind.OVERLOADED: ("requests", "rate_limit_exceeded"),
    Kind.ENGINE: ("server_error", "internal_error"),
    Kind.LOG: ("server_error", "unavailable"),
    Kind.DRAINING: ("server_error", "unavailable"),
    Kind.DEADLINE: ("server_error", "timeout"),
}


class TextInput(msgspec.Struct, frozen=True, tag="text", tag_field="type"):
    """A text."""

    text: str
    """What is read."""


class ImageInput(msgspec.Struct, frozen=True, tag="image_url", tag_field="type"):
    """An image."""

    image_url: ImageUrl
    """Where it is."""


class ModerationRequest(msgspec.Struct, frozen=True):
    """What `POST /v1/moderations` takes."""

    input: str | list[str | TextInput | ImageInput]
    """One text; several texts, each judged alone; or parts that are judged as one."""
    model: str = DEFAULT_MODEL
    """Chooses the shape of the answer; the model that scores is the server's."""


class ItemError(msgspec.Struct, frozen=True):
    """Why something was not judged."""

    type: str
    """Such as "ContentError"."""
    message: str
    """What was found and what to do; never content."""
    param: str
    """Where in the request."""


class ModerationResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """One result, as OpenAI's; `errors` is ours and absent where all was judged."""

    flagged: bool
    """Whether a person should look."""
    categories: dict[str, bool]
    """OpenAI's categories, flagged by the policy."""
    category_scores: dict[str, float]
    """0..1; 0.0 where `category_applied_input_types` is empty."""
    category_applied_input_types: dict[str, Sequence[str]] | msgspec.UnsetType = msgspec.UNSET
    """What each score rests on; empty: the model cannot score the category. Not in the older shape."""
    errors: list[ItemError] | msgspec.UnsetType = msgspec.UNSET
    """What could not be judged."""


class ModerationResponse(msgspec.Struct, frozen=True):
    """What `POST /v1/moderations` gives."""

    id: str
    """Begins with "modr-"."""
    model: str
    """The requested name; which model scored stands in the header `gooseguard-model`."""
    results: list[ModerationResult]
    """One for a text, one each for several texts, one for all parts together."""


class ModelInfo(msgspec.Struct, frozen=True):
    """One model, as OpenAI lists it, and what stands behind the name here."""

    id: str
    """What requests call it."""
    created: int
    """Seconds since 1970."""
    gooseguard_model: str
    """"name@digest" of the model that scores."""
    scored: dict[str, list[list[str]]]
    """OpenAI category to what it is made of: alternatives, each of which needs all its categories."""
    unscored: list[str]
    """OpenAI categories that are always 0.0, since nothing maps to them."""
    object: str = "model"
    """Always "model"."""
    owned_by: str = "gooseguard"
    """Always "gooseguard"."""


class ModelList(msgspec.Struct, frozen=True):
    """What `GET /v1/models` gives."""

    data: list[ModelInfo]
    """All models."""
    object: str = "list"
    """Always "list"."""


class OpenAiErrorBody(msgspec.Struct, frozen=True):
    """What went wrong; all four are always there."""

    message: str
    """What was found, where, what was expected, what to do."""
    type: str
    """Such as "invalid_request_error"."""
    param: str | None
    """The field it is about."""
    code: str | None
    """Such as "invalid_api_key"."""


class OpenAiError(msgspec.Struct, frozen=True):
    """A refused request."""

    error: OpenAiErrorBody
    """What went wrong."""


class OpenAiApi:
    """How OpenAI's API speaks."""

    name: ClassVar[str] = "openai"

    def secret(self, request: HTTPConnection) -> str | None:
        """Give the bearer token."""
        return bearer(request)

    def refuse(self, problem: Problem, request: HTTPConnection) -> tuple[int, Mapping[str, Any]]:
        """Give {"error": {"message", "type", "param", "code"}}."""
        kind, code = _TYPES.get(problem.kind, ("invalid_request_error", None))
        error = {
            "message": problem.message,
            "type": kind,
            "param": problem.param,
            "code": problem.code or code,
        }
        return problem.kind.status, {"error": error}


async def moderate(call: Call) -> Response:
    """Answer `POST /v1/moderations`."""
    request = convert(await call.read(), ModerationRequest)
    contents, errors = await _contents(request.input, call)
    outcomes, _ = await judge(call, [Item(content) for content in contents], call.deployment.policy)
    is_legacy = request.model.startswith(LEGACY_PREFIX)
    is_combined = not isinstance(request.input, str) and not isinstance(request.input[0], str)
    results = []
    for place, outcome in enumerate(outcomes):
        found = list(errors)
        if isinstance(outcome, ScoreError) and not (is_combined and errors):
            param = "input" if is_combined or isinstance(request.input, str) else f"input[{place}]"
            found.append(ItemError(outcome.type, outcome.message, param))
        results.append(_result(outcome, found, call.deployment, is_legacy=is_legacy))
    model = LEGACY_MODEL if is_legacy else request.model
    return json_response(ModerationResponse(call.id.replace("req_", "modr-"), model, results))


async def list_models(call: Call) -> Response:
    """Answer `GET /v1/models`."""
    call.authenticate()
    call.admit(0)
    return json_response(ModelList([model_info(name, call.deployment) for name in _names(call.deployment)]))


async def show_model(call: Call) -> Response:
    """Answer `GET /v1/models/{model}`."""
    call.authenticate()
    call.admit(0)
    name = call.request.path_params["model"]
    if name not in _names(call.deployment):
        raise Problem(
            Kind.NOT_FOUND, "no model of that name; see /v1/models", param="model", code="model_not_found"
        )
    return json_response(model_info(name, call.deployment))


def model_info(name: str, deployment: Deployment) -> ModelInfo:
    """Give what stands behind a model's name."""
    rules = deployment.openai
    return ModelInfo(
        id=name,
        created=CREATED,
        gooseguard_model=deployment.scorer.name,
        scored={
            category: [list(alternative) for alternative in rule] for category, rule in rules.usable.items()
        },
        unscored=rules.unscored,
    )


def _names(deployment: Deployment) -> list[str]:
    return [*MODELS, deployment.scorer.name]


async def _contents(
    given: str | Sequence[str | TextInput | ImageInput], call: Call
) -> tuple[list[Content], list[ItemError]]:
    """Give what is judged, and the errors of parts that cannot be."""
    errors: list[ItemError] = []
    if isinstance(given, str):
        contents = [Content.from_text(given)]
    elif not given:
        raise Problem(Kind.INVALID, "input is an empty list; expected at least one text", param="input")
    elif all(isinstance(part, str) for part in given):
        contents = [Content.from_text(part) for part in given if isinstance(part, str)]
    elif any(isinstance(part, str) for part in given):
        raise Problem(
            Kind.INVALID, "input mixes texts and typed parts; expected one kind only", param="input"
        )
    else:
        content, errors = await _combined(given, call)
        contents = [content]
    most_bytes = call.service.config.limits.item_bytes
    for content in contents:
        texts = (part for part in content.parts if part.modality is Modality.TEXT)
        if sum(len(part.data) for part in texts) > most_bytes:
            raise Problem(
                Kind.TOO_LARGE, f"a text is longer than {most_bytes} bytes; send it in pieces", param="input"
            )
    return contents, errors


async def _combined(
    given: Sequence[str | TextInput | ImageInput], call: Call
) -> tuple[Content, list[ItemError]]:
    """Give the parts as one content. Images that cannot be judged are left out and named."""
    config = call.service.config.images
    n_image = sum(isinstance(part, ImageInput) for part in given)
    if n_image > config.count:
        raise Problem(
            Kind.INVALID, f"input has {n_image} images, expected at most {config.count}", param="input"
        )
    texts_and_urls = [
        part if isinstance(part, str) else part.text if isinstance(part, TextInput) else part.image_url
        for part in given
    ]
    parts, missing = await read_parts(texts_and_urls, call.deployment.scorer, config)
    errors = [
        ItemError("ContentError", f"input[{place}]: {reason}", f"input[{place}]")
        for place, reason in missing.items()
    ]
    return Content(tuple(parts.values())), errors


def _result(
    outcome: Verdict | ScoreError, errors: list[ItemError], deployment: Deployment, *, is_legacy: bool
) -> ModerationResult:
    names: Iterable[str] = deployment.openai.rules
    if is_legacy:
        names = [name for name in names if not name.startswith("illicit")]
    categories = dict.fromkeys(names, False)
    scores = dict.fromkeys(names, 0.0)
    applied: dict[str, Sequence[str]] = dict.fromkeys(names, ())
    if not isinstance(outcome, ScoreError):
        flagged = {category for category, is_over in outcome.flagged.items() if is_over}
        for name, rule in deployment.openai.usable.items():
            if name in scores and (best := apply_rule(rule, outcome.scores.values)) is not None:
                scores[name], chosen = best
                kinds = [outcome.scores.applied.get(category, NOTHING) for category in chosen]
                applied[name] = _modalities(*kinds)
                categories[name] = bool(flagged) and is_flagged(rule, flagged)
    is_doubtful = (
        bool(errors)
        or isinstance(outcome, ScoreError)
        # The policy wants a person to look although no category is flagged: a score was missing.
        or (outcome.action is Action.REVIEW and not outcome.is_flagged)
    )
    return ModerationResult(
        flagged=any(categories.values()) or is_doubtful,
        categories=categories,
        category_scores=scores,
        category_applied_input_types=msgspec.UNSET if is_legacy else applied,
        errors=errors or msgspec.UNSET,
    )


@cache
def _modalities(*applied: frozenset[Modality]) -> tuple[str, ...]:
    return tuple(sorted({str(kind) for kinds in applied for kind in kinds}))
