"""Our own API: `POST /v1/score`, verdicts for many contents at once, and `POST /v1/policies:check`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import msgspec

from gooseguard.core.content import Content, Part
from gooseguard.core.errors import PolicyError
from gooseguard.core.policy import parse_policy
from gooseguard.core.scorer import ScoreError
from gooseguard.core.verdict import Action
from gooseguard.serving.bodies import convert
from gooseguard.serving.calls import bearer, json_response
from gooseguard.serving.images import ImageUrl, read_parts
from gooseguard.serving.judge import Item, judge
from gooseguard.serving.problem import Kind, Problem
from gooseguard.serving.spans import find_spans, sentences_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import HTTPConnection
    from starlette.responses import Response

    from gooseguard.core.verdict import Verdict
    from gooseguard.serving.calls import Call

Name = Annotated[str, msgspec.Meta(max_length=256)]
"""An id that the client chose."""


class TextPart(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A text."""

    text: str
    """What is read."""
    type: Literal["text"] = "text"
    """Always "text"."""


class ScorePart(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A text or an image: `text`, or `image_url`."""

    text: str | msgspec.UnsetType = msgspec.UNSET
    """What is read."""
    image_url: ImageUrl | msgspec.UnsetType = msgspec.UNSET
    """Where the image is: a data URL, or an http(s) one where the operator allows it."""
    type: Literal["text", "image_url"] | msgspec.UnsetType = msgspec.UNSET
    """Which of them it is; the field itself says so without."""


class ScoreItem(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One content: `text`, or `parts`."""

    text: str | None = None
    """A single text."""
    parts: list[ScorePart] = []
    """Texts and images that are judged as one."""
    context: list[TextPart] = []
    """Earlier texts that it replies to; read, never scored."""
    id: Name = ""
    """Yours; comes back in the result and goes into the verdict log."""
    author: Name = ""
    """Your name for whoever wrote it; goes into the verdict log, for deletion by author."""
    community: Name = ""
    """Yours; goes into the verdict log."""
    language: Name | None = None
    """BCP-47 tag, where you know it."""


class ScoreRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What `POST /v1/score` takes."""

    items: list[ScoreItem]
    """The contents, judged one by one."""
    policy: Name | None = None
    """Id of a policy, or "id@version"; the server's default if absent."""
    spans: bool = False
    """Whether to say which sentences score high; about twice the work."""
    store: bool = True
    """False forbids storing the contents, even where the server's verdict log stores them."""


class ResultSpan(msgspec.Struct, frozen=True):
    """Where in a text."""

    part: int
    """Number of the part."""
    begin: int
    """First code point."""
    end: int
    """One past the last code point."""
    category: str
    """What was found there."""
    score: float
    """Of the sentence alone, 0..1."""


class ResultError(msgspec.Struct, frozen=True):
    """Why an item, or an image of it, was not scored."""

    type: str
    """Such as "ContentError"."""
    message: str
    """What was found and what to do; never content."""


class Result(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What became of one item."""

    id: str
    """The item's."""
    action: Literal["allow", "review", "block"]
    """What to do with it; "review" where it could not be scored."""
    flagged: bool
    """Whether any category is at or above its review threshold."""
    categories: list[str]
    """Those that are."""
    scores: dict[str, float | None]
    """Category to score, 0..1; null: could not look."""
    spans: list[ResultSpan]
    """Which sentences score high, where asked."""
    rationale: str | None
    """Why, in words, where the model writes any."""
    error: ResultError | None = None
    """Only where the item, or an image of it, could not be scored."""


class ScoreResponse(msgspec.Struct, frozen=True):
    """What `POST /v1/score` gives."""

    id: str
    """Of the request."""
    model: str
    """"name@digest"."""
    policy: str
    """"id@version"."""
    results: list[Result]
    """One an item, in order."""


class PolicyCheckRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What `POST /v1/policies:check` takes."""

    policy: str
    """A policy as TOML text."""


class PolicyCheckResponse(msgspec.Struct, frozen=True):
    """What `POST /v1/policies:check` gives."""

    ok: bool
    """Whether the server's model can be used with the policy."""
    model: str
    """"name@digest"."""
    policy: str | None
    """"id@version", where it could be read."""
    findings: list[str]
    """What is wrong."""
    without_thresholds: list[str]
    """Categories the model scores and the policy never acts on."""


class ErrorBody(msgspec.Struct, frozen=True):
    """What went wrong."""

    type: str
    """Such as "INVALID"."""
    message: str
    """What was found, where, what was expected, what to do."""
    param: str | None
    """The field it is about."""


class ErrorResponse(msgspec.Struct, frozen=True):
    """A refused request."""

    error: ErrorBody
    """What went wrong."""


class ScoreApi:
    """How our own API speaks."""

    name: ClassVar[str] = "score"

    def secret(self, request: HTTPConnection) -> str | None:
        """Give the bearer token, or what `x-api-key` says."""
        return bearer(request) or request.headers.get("x-api-key")

    def refuse(self, problem: Problem, request: HTTPConnection) -> tuple[int, Mapping[str, Any]]:
        """Give {"error": {"type", "message", "param"}}."""
        error = {"type": problem.kind.name, "message": problem.message, "param": problem.param}
        return problem.kind.status, {"error": error}


@dataclass(frozen=True, slots=True)
class _Read:
    """An item whose images are there, as far as they could be had."""

    item: Item
    """What is judged."""
    places: Sequence[int]
    """Where each part of the content stands in the request."""
    missing: str
    """Which images were not read and why; "" where all were."""


async def score(call: Call) -> Response:
    """Answer `POST /v1/score`."""
    request = convert(await call.read(), ScoreRequest)
    policy = call.deployment.find_policy(request.policy)
    _check_images(request, call.service.config.images.count)
    read = [
        await _read(item, place, call, may_store=request.store) for place, item in enumerate(request.items)
    ]
    items = [one.item for one in read]
    sentences = [sentences_of(item.content) if request.spans else [] for item in items]
    further = [Content.from_text(sentence.text) for found in sentences for sentence in found]
    outcomes, scored = await judge(call, items, policy, further)
    rest = iter(scored)
    results = []
    for one, outcome, found in zip(read, outcomes, sentences, strict=True):
        spans = find_spans([(sentence, next(rest)) for sentence in found])
        results.append(_result(one, outcome, [ResultSpan(one.places[span[0]], *span[1:]) for span in spans]))
    return json_response(ScoreResponse(call.id, call.deployment.scorer.name, policy.name, results))


async def check_policy(call: Call) -> Response:
    """Answer `POST /v1/policies:check`."""
    request = convert(await call.read(), PolicyCheckRequest)
    call.admit(0)
    scorer = call.deployment.scorer
    findings: list[str] = []
    name, idle = None, []
    try:
        policy = parse_policy(request.policy, "policy")
        name = policy.name
        idle = sorted(scorer.categories - set(policy.thresholds))
        policy.check(scorer.categories, scorer.name)
    except PolicyError as error:
        findings.append(str(error))
    return json_response(PolicyCheckResponse(not findings, scorer.name, name, findings, idle))


def _check_images(request: ScoreRequest, most: int) -> None:
    n_images = sum(part.image_url is not msgspec.UNSET for item in request.items for part in item.parts)
    if n_images > most:
        raise Problem(
            Kind.INVALID, f"items have {n_images} images, expected at most {most} in a request", param="items"
        )


async def _read(item: ScoreItem, place: int, call: Call, *, may_store: bool) -> _Read:
    """Check an item and read its images."""
    where = f"items[{place}]"
    if (item.text is None) == (not item.parts):
        found = "neither text nor parts" if item.text is None else "both text and parts"
        raise Problem(Kind.INVALID, f"{where} has {found}; expected one of them", param=where)
    given = (
        [_text_or_url(part, f"{where}.parts[{number}]") for number, part in enumerate(item.parts)]
        if item.text is None
        else [item.text]
    )
    n_bytes = sum(len(text.encode()) for text in given if isinstance(text, str))
    most_bytes = call.service.config.limits.item_bytes
    if n_bytes > most_bytes:
        raise Problem(
            Kind.TOO_LARGE, f"{where} has {n_bytes} bytes of text, expected at most {most_bytes}", param=where
        )
    parts, missing = await read_parts(given, call.deployment.scorer, call.service.config.images)
    context = tuple(Part.from_text(part.text) for part in item.context)
    content = Content(tuple(parts.values()), context, item.language)
    return _Read(
        Item(content, item.id, item.author, item.community, may_store),
        list(parts),
        "; ".join(f"parts[{number}]: {reason}" for number, reason in missing.items()),
    )


def _text_or_url(part: ScorePart, where: str) -> str | ImageUrl:
    given = {"text": part.text, "image_url": part.image_url}
    found = [name for name, value in given.items() if value is not msgspec.UNSET]
    if len(found) != 1 or part.type not in (msgspec.UNSET, *found):
        raise Problem(
            Kind.INVALID,
            f"{where} has {' and '.join(found) or 'neither text nor image_url'}; "
            "expected one of them, and its name as the type if any",
            param=where,
        )
    value = given[found[0]]
    assert not isinstance(value, msgspec.UnsetType)
    return value


def _result(read: _Read, outcome: Verdict | ScoreError, spans: list[ResultSpan]) -> Result:
    """Give what became of an item; without one of its images it is for a person to look at, at least."""
    error = ResultError("ContentError", read.missing) if read.missing else None
    if isinstance(outcome, ScoreError):
        return Result(
            id=read.item.id,
            action=Action.REVIEW.value,
            flagged=False,
            categories=[],
            scores={},
            spans=[],
            rationale=None,
            error=error or ResultError(outcome.type, outcome.message),
        )
    is_doubtful = error is not None and outcome.action is Action.ALLOW
    return Result(
        id=read.item.id,
        action=Action.REVIEW.value if is_doubtful else outcome.action.value,
        flagged=outcome.is_flagged,
        categories=[category for category, is_flagged in outcome.flagged.items() if is_flagged],
        scores=dict(outcome.scores.values),
        spans=spans,
        rationale=outcome.rationale,
        error=error,
    )
