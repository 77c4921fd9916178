"""Google's Perspective API: `comments:analyze` and `comments:suggestscore`, messages included.

Source: conversationai/perspectiveapi at the parent of 13ab6b5, 2-api/{methods,limits,models}.md; Google's
discovery document of commentanalyzer v1alpha1, revision 20200426; error bodies as clients have recorded them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from starlette.responses import Response

from gooseguard.codec.language import detect_language
from gooseguard.core.content import Content, Part
from gooseguard.core.scorer import ScoreError, is_probability
from gooseguard.serving.fields import parse_fields, select
from gooseguard.serving.hooks import LogEntry
from gooseguard.serving.judge import Item, judge
from gooseguard.serving.perspective_wire import (
    AnalyzeRequest,
    AnalyzeResponse,
    AttributeParameters,
    AttributeScores,
    CommentContext,
    Score,
    SpanScore,
    SuggestRequest,
    SuggestResponse,
    TextEntry,
    read_request,
    refusal,
)
from gooseguard.serving.problem import Kind, Problem
from gooseguard.serving.spans import Sentence, sentences_of, utf16_offsets
from gooseguard.serving.wire import Rule, apply_rule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gooseguard.codec.language import Language
    from gooseguard.core.scorer import Scores
    from gooseguard.serving.calls import Call
    from gooseguard.serving.deployment import Deployment

COMMENT_BYTES = 20480
"""Bytes of a comment at most, in UTF-8."""

CONTEXT_BYTES = 1 << 20
"""Bytes of one text of a context at most."""

SCORE_TYPES = frozenset({"PROBABILITY", "SCORE_TYPE_UNSPECIFIED"})
"""What can be asked for: our scores are calibrated, and nothing else."""

KNOWN_SCORE_TYPES = SCORE_TYPES | {"STD_DEV_SCORE", "PERCENTILE", "RAW"}
"""What Perspective knows."""

ITEM_TYPE = "PROBABILITY"


class _Attribute(NamedTuple):
    """One requested attribute."""

    name: str
    """As requested, version included."""
    rule: Rule
    """What it is made of."""
    threshold: float
    """Scores below are left out."""


async def analyze(call: Call) -> Response:
    """Answer `comments:analyze`."""
    answer = _answerer(call)
    request = read_request(await call.read(), AnalyzeRequest)
    text = _comment(request.comment)
    context = _context(request.context)
    attributes = _attributes(request, call.deployment)
    language = detect_language(text)
    effective = _languages(request, language, attributes, call.deployment)
    if effective is None:
        # All were dropped, as the client asked.
        attributes = []
    content = Content(
        (Part.from_text(text),),
        tuple(Part.from_text(entry) for entry in context),
        effective[0] if effective else None,
    )
    item = Item(content, community=request.communityId or "", may_store=not request.doNotStore)
    sentences = sentences_of(content) if request.spanAnnotations and attributes else []
    further = [Content.from_text(sentence.text) for sentence in sentences]
    (outcome,), scored = await judge(call, [item], call.deployment.policy, further)
    if isinstance(outcome, ScoreError):
        # The one thing that a text of at most COMMENT_BYTES can be refused for is that it shows nothing.
        raise refusal("Comment must be non-empty.", "COMMENT_EMPTY")
    spans = _span_scores(text, sentences, scored)
    response = AnalyzeResponse(
        attributeScores={
            attribute.name: scores
            for attribute in attributes
            if (scores := _scores(attribute, text, outcome.scores, spans)) is not None
        },
        languages=request.languages or [language.codes[0]],
        detectedLanguages=list(language.codes),
        clientToken=request.clientToken or msgspec.UNSET,
    )
    return answer(response)


async def suggest(call: Call) -> Response:
    """Answer `comments:suggestscore`."""
    answer = _answerer(call)
    request = read_request(await call.read(), SuggestRequest)
    text = _comment(request.comment)
    context = _context(request.context)
    suggested = _suggested(request.attributeScores or {}, call.deployment)
    language = detect_language(text)
    key = call.admit(1)
    begin = time.perf_counter()
    if not request.doNotStore:
        content = Content(
            (Part.from_text(text),),
            tuple(Part.from_text(entry) for entry in context),
            (request.languages or list(language.codes))[0],
        )
        entry = LogEntry(
            request=call.id,
            place=0,
            api="suggest",
            key=key.id,
            content=content,
            outcome=ScoreError("suggestion", "not scored: the client suggests the scores"),
            model=call.deployment.scorer.name,
            policy=call.policy,
            community=request.communityId or "",
            suggested=suggested,
        )
        await call.service.hooks.log.append([entry], is_alone=call.service.is_alone)
    call.stages["log"] = time.perf_counter() - begin
    response = SuggestResponse(
        requestedLanguages=request.languages or msgspec.UNSET,
        detectedLanguages=list(language.codes),
        clientToken=request.clientToken or msgspec.UNSET,
    )
    return answer(response)


def _answerer(call: Call) -> Callable[[Any], Response]:
    """Check the parameters that every method takes; gives what makes an answer of a value."""
    parameters = call.request.query_params
    if parameters.get("alt", "json") != "json":
        raise Problem(Kind.INVALID, "Invalid value for alt; expected json", param="alt")
    fields = parameters.get("fields")
    selection = parse_fields(fields) if fields else {}
    is_pretty = parameters.get("prettyPrint", "true").lower() not in {"false", "0"}

    def answer(value: Any) -> Response:  # noqa: ANN401  (any of the answers)
        body = select(msgspec.to_builtins(value), selection)
        encoded = msgspec.json.encode(body)
        if is_pretty:
            encoded = msgspec.json.format(encoded, indent=2) + b"\n"
        return Response(encoded, media_type="application/json")

    return answer


def _comment(comment: TextEntry | None) -> str:
    text = _text(comment)
    if not text.strip():
        raise refusal("Comment must be non-empty.", "COMMENT_EMPTY")
    if len(text.encode()) > COMMENT_BYTES:
        raise refusal("Comment text too long.", "COMMENT_TOO_LONG")
    return text


def _context(context: CommentContext | None) -> list[str]:
    """Give the texts that the comment replies to."""
    if context is None:
        return []
    if context.entries is not None and context.articleAndParentComment is not None:
        raise refusal(
            "Context can have either entries or article_and_parent_comment, but both fields were populated."
        )
    entries: Sequence[TextEntry | None] = context.entries or []
    if context.articleAndParentComment is not None:
        entries = [context.articleAndParentComment.article, context.articleAndParentComment.parentComment]
    texts = [text for entry in entries if (text := _text(entry))]
    if any(len(text.encode()) > CONTEXT_BYTES for text in texts):
        raise refusal("Context text too long.")
    return texts


def _text(entry: TextEntry | None) -> str:
    kind = (entry.type if entry else None) or "PLAIN_TEXT"
    if kind == "HTML":
        raise refusal("Currently, only 'PLAIN_TEXT' comments are supported")
    if kind not in {"PLAIN_TEXT", "TEXT_TYPE_UNSPECIFIED"}:
        raise refusal("Unknown text type")
    return (entry.text if entry else None) or ""


def _attributes(request: AnalyzeRequest, deployment: Deployment) -> list[_Attribute]:
    if not request.requestedAttributes:
        raise refusal("Missing requested_attributes", "NO_REQUESTED_ATTRIBUTES")
    attributes = []
    for name, given in request.requestedAttributes.items():
        parameters = given or AttributeParameters()
        rule = _find(name, deployment)
        if rule is None:
            if request.dropUnsupportedAttributes and name in deployment.perspective.rules:
                continue
            raise refusal(f"Unknown requested attribute: {name}")
        kind = parameters.scoreType or "PROBABILITY"
        if kind not in KNOWN_SCORE_TYPES:
            raise refusal("Unknown score type; expected PROBABILITY")
        if kind not in SCORE_TYPES:
            raise refusal(f"Requested score type {kind} is not supported by attribute {name}")
        attributes.append(_Attribute(name, rule, parameters.scoreThreshold or 0.0))
    return attributes


def _find(name: str, deployment: Deployment) -> Rule | None:
    """Give the rule of `TOXICITY` or of `TOXICITY@<digest of the model>`; other versions are not there."""
    plain, _, version = name.partition("@")
    if version and version != deployment.digest:
        return None
    return None if name.endswith("@") else deployment.perspective.usable.get(plain)


def _languages(
    request: AnalyzeRequest, language: Language, attributes: Sequence[_Attribute], deployment: Deployment
) -> list[str] | None:
    """Give the languages the comment is taken to be in; None where the model reads none of them.

    A guess that is not sure refuses nothing: that a short comment is taken for another language was what
    Perspective's users met most.
    """
    if request.languages:
        unread = [code for code in request.languages if not _is_read(code, deployment)]
        found, about = request.languages, {"requestedLanguages": request.languages}
    else:
        found, about = [language.codes[0]], {"detectedLanguages": list(language.codes)}
        unread = [code for code in found if language.is_sure and not _is_read(code, deployment)]
    if not unread or not attributes:
        return found
    if request.dropUnsupportedAttributes:
        return None
    name = attributes[0].name
    raise refusal(
        f"Attribute {name} does not support request languages: {', '.join(unread)}",
        "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE",
        languageNotSupportedByAttributeError={**about, "attribute": name},
    )


def _is_read(code: str, deployment: Deployment) -> bool:
    """Tell whether the model's training data held the language, whatever its region."""
    known = deployment.scorer.languages
    return code in known or code.partition("-")[0].lower() in known


def _span_scores(
    text: str, sentences: Sequence[Sentence], scored: Sequence[Scores | ScoreError]
) -> list[tuple[int, int, Mapping[str, float | None]]]:
    """Give begin and end in UTF-16 code units and the scores of each sentence."""
    places = [place for sentence in sentences for place in (sentence.begin, sentence.end)]
    offsets = utf16_offsets(text, places)
    return [
        (begin, end, scores.values)
        for begin, end, scores in zip(offsets[::2], offsets[1::2], scored, strict=True)
        if not isinstance(scores, ScoreError)
    ]


def _scores(
    attribute: _Attribute,
    text: str,
    scores: Scores,
    spans: Sequence[tuple[int, int, Mapping[str, float | None]]],
) -> AttributeScores | None:
    """Give an attribute's scores; None where all are below its threshold, or the model could not look."""
    summary = apply_rule(attribute.rule, scores.values)
    if summary is None:
        return None
    # Without sentences, the whole text is the one span, as it was with Perspective.
    places = spans or [(0, utf16_offsets(text, [len(text)])[0], scores.values)]
    span_scores = [
        SpanScore(begin, end, Score(best[0]))
        for begin, end, values in places
        if (best := apply_rule(attribute.rule, values)) is not None and best[0] >= attribute.threshold
    ]
    has_summary = summary[0] >= attribute.threshold
    if not has_summary and not span_scores:
        return None
    return AttributeScores(
        spanScores=span_scores or msgspec.UNSET,
        summaryScore=Score(summary[0]) if has_summary else msgspec.UNSET,
    )


def _suggested(given: Mapping[str, AttributeScores], deployment: Deployment) -> dict[str, float]:
    """Give category to the score that a client suggests."""
    if not given:
        raise refusal("Missing attribute_scores", "NO_REQUESTED_ATTRIBUTES")
    suggested = {}
    for name, scores in given.items():
        rule = deployment.perspective.rules.get(name.partition("@")[0])
        if rule is None:
            raise refusal(f"Unknown requested attribute: {name}")
        summary = scores.summaryScore
        if not isinstance(summary, Score) or (summary.type or ITEM_TYPE) not in SCORE_TYPES:
            raise refusal(f"Attribute {name} needs a summary_score of type PROBABILITY")
        if not is_probability(summary.value):
            raise refusal(f"Attribute {name} has a score outside 0 to 1")
        suggested[rule[0][0]] = float(summary.value)
    return suggested
