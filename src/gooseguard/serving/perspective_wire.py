"""Perspective's messages and errors as types: what its protocol buffers look like as JSON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec

from gooseguard.serving.bodies import convert
from gooseguard.serving.calls import bearer
from gooseguard.serving.problem import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import HTTPConnection

    from gooseguard.serving.problem import Quota

T = TypeVar("T")

ERROR_TYPE = "type.googleapis.com/google.commentanalyzer.v1alpha1.Error"
"""Of the detail that says what is wrong with a comment."""

INFO_TYPE = "type.googleapis.com/google.rpc.ErrorInfo"
"""Of the detail that says what is wrong with a key, or which quota it has used up."""

HELP_TYPE = "type.googleapis.com/google.rpc.Help"
"""Of the detail that says where to ask for more."""

SERVICE = "commentanalyzer.googleapis.com"
"""What Google calls the service in its errors."""

# Our limits in the words of Google's quotas: metric, limit, metric's short name. Google counted requests, of
# one comment each, and no bytes.
_ANALYSES = (
    "Analysis requests (AnalyzeComment)", "AnalyzeRequestsPerMinutePerProject", "analyze_requests",
)  # fmt: skip
_QUOTAS = {
    "requests_per_minute": _ANALYSES,
    "items_per_minute": _ANALYSES,
    "bytes_per_minute": ("Analysis bytes", "AnalyzeBytesPerMinutePerProject", "analyze_bytes"),
}

# The names of google.rpc.Code.
_STATUS = {
    Kind.INVALID: "INVALID_ARGUMENT",
    Kind.FORBIDDEN: "PERMISSION_DENIED",
    Kind.NOT_FOUND: "NOT_FOUND",
    Kind.WRONG_METHOD: "NOT_FOUND",
    Kind.TOO_SLOW: "DEADLINE_EXCEEDED",
    Kind.TOO_LARGE: "INVALID_ARGUMENT",
    Kind.RATE_LIMITED: "RESOURCE_EXHAUSTED",
    Kind.OVERLOADED: "RESOURCE_EXHAUSTED",
    Kind.ENGINE: "INTERNAL",
    Kind.LOG: "UNAVAILABLE",
    Kind.DRAINING: "UNAVAILABLE",
    Kind.DEADLINE: "DEADLINE_EXCEEDED",
}


class TextEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A body of text."""

    text: str | None = None
    """UTF-8, at most 20,480 bytes."""
    type: str | None = None
    """PLAIN_TEXT, which is also what nothing means."""


class ArticleAndParentComment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a comment replies to, on a board with single threads."""

    article: TextEntry | None = None
    """What is commented on."""
    parentComment: TextEntry | None = None  # noqa: N815  (the wire's name)
    """The comment it answers."""


class CommentContext(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a comment replies to; one of the two."""

    entries: list[TextEntry] | None = None
    """Messages."""
    articleAndParentComment: ArticleAndParentComment | None = None  # noqa: N815  (the wire's name)
    """Article and parent."""


class AttributeParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one attribute is wanted."""

    scoreType: str | None = None  # noqa: N815  (the wire's name)
    """PROBABILITY."""
    scoreThreshold: float | None = None  # noqa: N815  (the wire's name)
    """Scores below are left out."""


class AnalyzeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `comments:analyze` takes."""

    comment: TextEntry | None = None
    """What is judged."""
    context: CommentContext | None = None
    """What it replies to."""
    requestedAttributes: dict[str, AttributeParameters | None] | None = None  # noqa: N815  (the wire's name)
    """Attribute, such as TOXICITY or TOXICITY@<digest of the model>, to how it is wanted."""
    spanAnnotations: bool | None = None  # noqa: N815  (the wire's name)
    """Whether each sentence is scored."""
    languages: list[str] | None = None
    """BCP-47; detected if absent."""
    doNotStore: bool | None = None  # noqa: N815  (the wire's name)
    """Whether the comment must not be stored."""
    clientToken: str | None = None  # noqa: N815  (the wire's name)
    """Comes back."""
    sessionId: str | None = None  # noqa: N815  (the wire's name)
    """Not used."""
    communityId: str | None = None  # noqa: N815  (the wire's name)
    """Goes into the verdict log."""
    dropUnsupportedAttributes: bool | None = None  # noqa: N815  (the wire's name)
    """Whether attributes that cannot be scored are left out instead of refused."""


class Score(msgspec.Struct, frozen=True):
    """A number and what it means."""

    value: float
    """0..1."""
    type: str | None = "PROBABILITY"
    """PROBABILITY."""


class SpanScore(msgspec.Struct, frozen=True):
    """The score of a part of the text."""

    begin: int
    """First UTF-16 code unit."""
    end: int
    """One past the last."""
    score: Score
    """Of that part alone."""


class AttributeScores(msgspec.Struct, frozen=True):
    """The scores of one attribute."""

    spanScores: list[SpanScore] | msgspec.UnsetType = msgspec.UNSET  # noqa: N815  (the wire's name)
    """One a sentence, or one for the whole text."""
    summaryScore: Score | msgspec.UnsetType = msgspec.UNSET  # noqa: N815  (the wire's name)
    """Of the whole text."""


class AnalyzeResponse(msgspec.Struct, frozen=True):
    """What `comments:analyze` gives."""

    attributeScores: dict[str, AttributeScores]  # noqa: N815  (the wire's name)
    """Attribute, as requested, to scores."""
    languages: list[str]
    """As requested, else the most likely."""
    detectedLanguages: list[str]  # noqa: N815  (the wire's name)
    """Most likely first; "und" where nobody can tell."""
    clientToken: str | msgspec.UnsetType = msgspec.UNSET  # noqa: N815  (the wire's name)
    """The request's."""


class SuggestRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `comments:suggestscore` takes."""

    comment: TextEntry | None = None
    """What the scores are of."""
    context: CommentContext | None = None
    """What it replies to."""
    attributeScores: dict[str, AttributeScores] | None = None  # noqa: N815  (the wire's name)
    """Attribute to the score that is suggested."""
    languages: list[str] | None = None
    """BCP-47."""
    communityId: str | None = None  # noqa: N815  (the wire's name)
    """Whose norms the scores follow."""
    clientToken: str | None = None  # noqa: N815  (the wire's name)
    """Comes back."""
    sessionId: str | None = None  # noqa: N815  (the wire's name)
    """Not used."""
    doNotStore: bool | None = None  # noqa: N815  (the wire's name)
    """Whether the suggestion is thrown away at once."""


class SuggestResponse(msgspec.Struct, frozen=True):
    """What `comments:suggestscore` gives."""

    detectedLanguages: list[str]  # noqa: N815  (the wire's name)
    """Most likely first."""
    requestedLanguages: list[str] | msgspec.UnsetType = msgspec.UNSET  # noqa: N815  (the wire's name)
    """The request's."""
    clientToken: str | msgspec.UnsetType = msgspec.UNSET  # noqa: N815  (the wire's name)
    """The request's."""


class GoogleErrorBody(msgspec.Struct, frozen=True):
    """What went wrong."""

    code: int
    """HTTP status."""
    message: str
    """What clients show, and match on."""
    status: str
    """Name of the google.rpc.Code."""
    details: list[dict[str, Any]] = []
    """Each says in "@type" what it is."""


class GoogleError(msgspec.Struct, frozen=True):
    """A refused request."""

    error: GoogleErrorBody
    """What went wrong."""


class PerspectiveApi:
    """How Google's APIs speak."""

    name: ClassVar[str] = "perspective"

    def secret(self, request: HTTPConnection) -> str | None:
        """Give the parameter `key`, or one of the other places that Google's clients put a secret in."""
        parameters = request.query_params
        return (
            parameters.get("key")
            or request.headers.get("x-goog-api-key")
            or bearer(request)
            or parameters.get("access_token")
            or parameters.get("oauth_token")
        )

    def refuse(self, problem: Problem, request: HTTPConnection) -> tuple[int, Mapping[str, Any]]:
        """Give {"error": {"code", "message", "status", "details"}}."""
        if problem.kind is Kind.NO_KEY:
            return _no_key(has_secret=self.secret(request) is not None)
        if problem.quota is not None:
            return _quota_exceeded(problem.quota, str(request.base_url))
        status = problem.kind.status
        details: list[dict[str, Any]] = []
        if problem.details:
            details.append({"@type": ERROR_TYPE, **problem.details})
        elif problem.kind in {Kind.INVALID, Kind.TOO_LARGE}:
            details.append({"@type": ERROR_TYPE, "errorType": "INVALID_REQUEST"})
        elif status == Kind.RATE_LIMITED.status:
            details.append(_info("RATE_LIMIT_EXCEEDED", {"service": SERVICE}))
        error = {"code": status, "message": problem.message, "status": _STATUS.get(problem.kind, "UNKNOWN")}
        return status, {"error": error | ({"details": details} if details else {})}


def _no_key(*, has_secret: bool) -> tuple[int, Mapping[str, Any]]:
    """Give what Google's front end answers: 400 for a key that is wrong, 403 where there is none."""
    if not has_secret:
        message = "The request is missing a valid API key."
        return 403, {"error": {"code": 403, "message": message, "status": "PERMISSION_DENIED"}}
    message = "API key not valid. Please pass a valid API key."
    details = [_info("API_KEY_INVALID", {"service": SERVICE})]
    return 400, {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT", "details": details}}


def _quota_exceeded(quota: Quota, url: str) -> tuple[int, Mapping[str, Any]]:
    """Give what Google answers where a project, here an API key, has used up its minute."""
    metric, limit, short = _QUOTAS[quota.limit]
    message = (
        f"Quota exceeded for quota metric '{metric}' and limit '{metric} per minute' of service '{SERVICE}' "
        f"for consumer 'project_number:{quota.key}'."
    )
    metadata = {
        "consumer": f"projects/{quota.key}",
        "quota_limit": limit,
        "quota_limit_value": str(quota.value),
        "quota_location": "global",
        "quota_metric": f"CommentAnalyzerService/{short}",
        "service": SERVICE,
    }
    links = [{"description": "Request a higher quota limit.", "url": url}]
    details = [_info("RATE_LIMIT_EXCEEDED", metadata), {"@type": HELP_TYPE, "links": links}]
    error = {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED", "details": details}
    return 429, {"error": error}


def _info(reason: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    return {"@type": INFO_TYPE, "reason": reason, "domain": "googleapis.com", "metadata": metadata}


def refusal(message: str, error_type: str = "INVALID_REQUEST", **more: Any) -> Problem:  # noqa: ANN401  (JSON)
    """Give a problem with Perspective's own message and `errorType`."""
    return Problem(Kind.INVALID, message, details={"errorType": error_type, **more})


_TYPES = (
    TextEntry,
    CommentContext,
    ArticleAndParentComment,
    AttributeParameters,
    AnalyzeRequest,
    SuggestRequest,
    AttributeScores,
)

# Protocol buffers may be written in either spelling.
_SPELLINGS = {
    re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name): name
    for kind in _TYPES
    for name in kind.__struct_fields__
    if not name.islower()
}


def read_request(value: Any, kind: type[T]) -> T:  # noqa: ANN401  (JSON)
    """Give a JSON value as one of the requests.

    Raises:
        Problem: INVALID, in Google's words.
    """
    try:
        return convert(_spell(value), kind)
    except Problem as problem:
        raise refusal(f"Invalid JSON payload received. {problem.message}") from None


def _spell(value: Any) -> Any:  # noqa: ANN401  (JSON)
    """Give keys as `lowerCamelCase`; attributes, which are upper case, as they are."""
    if isinstance(value, dict):
        return {_SPELLINGS.get(key, key): _spell(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_spell(entry) for entry in value]
    return value
