"""Items to outcomes: scored, decided, logged and observed; the one way that every API takes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from gooseguard.codec.scores import TEXT_ONLY
from gooseguard.core.content import Modality
from gooseguard.core.scorer import ScoreError
from gooseguard.core.verdict import decide
from gooseguard.serving.hooks import LogEntry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from gooseguard.core.content import Content
    from gooseguard.core.policy import Policy
    from gooseguard.core.scorer import Scores
    from gooseguard.core.verdict import Verdict
    from gooseguard.serving.calls import Call


class Item(NamedTuple):
    """A content as an API got it."""

    content: Content
    """What is judged."""
    id: str = ""
    """The client's."""
    author: str = ""
    """The client's name for whoever wrote it."""
    community: str = ""
    """The client's community."""
    may_store: bool = True
    """Whether the content may be stored at all."""


async def judge(
    call: Call,
    items: Sequence[Item],
    policy: Policy,
    further: Sequence[Content] = (),
) -> tuple[list[Verdict | ScoreError], list[Scores | ScoreError]]:
    """Judge items, in order.

    Args:
        call: the request.
        items: what is judged.
        policy: decides.
        further: contents that are scored with them and neither decided nor logged, such as single sentences.

    Returns:
        The outcome of each item, and the scores of each further content.

    Raises:
        Problem: what limits, scheduler and log raise.
    """
    key = call.admit(len(items))
    call.policy = policy.name
    scorer = call.deployment.scorer
    contents = [item.content for item in items]
    scored = await call.service.scheduler.score(scorer, [*contents, *further], key.id, call.timing)
    outcomes = [
        result if isinstance(result, ScoreError) else decide(result, policy, modalities_of(content))
        for content, result in zip(contents, scored[: len(contents)], strict=True)
    ]
    await _log(call, items, outcomes)
    for outcome in outcomes:
        for observer in call.service.hooks.observers:
            observer.judged(outcome, call.policy)
    return outcomes, scored[len(contents) :]


def modalities_of(content: Content) -> AbstractSet[Modality]:
    """Give what kinds of parts a content has."""
    if len(content.parts) == 1 and content.parts[0].modality is Modality.TEXT:
        # Nearly all contents, and hashing a member of an enumeration takes long.
        return TEXT_ONLY
    return {part.modality for part in content.parts}


async def _log(call: Call, items: Sequence[Item], outcomes: Sequence[Verdict | ScoreError]) -> None:
    assert call.key is not None
    begin = time.perf_counter()
    entries = [
        LogEntry(
            request=call.id,
            place=place,
            api=call.api.name,
            key=call.key.id,
            content=item.content,
            outcome=outcome,
            model=call.deployment.scorer.name,
            policy=call.policy,
            id=item.id,
            author=item.author,
            community=item.community,
            may_store=item.may_store,
        )
        for place, (item, outcome) in enumerate(zip(items, outcomes, strict=True))
    ]
    await call.service.hooks.log.append(entries, is_alone=call.service.is_alone)
    call.stages["log"] = time.perf_counter() - begin
