"""One client for OpenAI-compatible chat endpoints: bounded retries, Retry-After, concurrency, a budget.

Knows messages and answers, nothing of moderation. Errors name statuses and codes, never what was said.

Source: the request and response of `POST /v1/chat/completions` in openai/openai-openapi (`openapi.yaml`);
Retry-After in RFC 9110, section 10.2.3.
"""

from __future__ import annotations

import random
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self

from gooseguard.chat.budget import Ledger, Prices, most_prompt_tokens
from gooseguard.chat.pace import Pace
from gooseguard.core.errors import ConfigError, EngineError
from gooseguard.core.extras import needing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    import httpx2

    Messages = Sequence[Mapping[str, str]]

RETRIED = frozenset({408, 409, 425, 429, *range(500, 600)})
"""Statuses after which a request may succeed unchanged; those that the official client retries."""

FIRST_WAIT_S = 0.5
"""Before the first retry, where the endpoint does not say; doubled each time."""

LONGEST_BODY = 4_000_000
"""Bytes of an answer that are read."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask, and how patiently."""

    url: str
    """Up to and with the version, such as "https://api.example.org/v1"."""
    model: str
    """Name of the model there."""
    timeout_s: float = 60.0
    """Longest wait for one answer."""
    parallel: int = 4
    """Requests under way at once."""
    retries: int = 5
    """Times that a request is sent again."""
    longest_wait_s: float = 60.0
    """Longest wait before a retry; an endpoint that asks for more is given up on."""
    prices: Prices = field(default_factory=Prices)
    """What tokens cost, and the budget."""
    requests_per_minute: float = 0.0
    """Most requests that begin in a minute, retries included; 0 sets no bound."""

    def __post_init__(self) -> None:
        if not re.match(r"https?://[^/?#@]+(/[^?#]*)?$", self.url):
            raise ConfigError("endpoint url: expected http(s)://host/v1, without user, query or fragment")
        if not self.model:
            raise ConfigError("endpoint model is empty; expected the name of a model of the endpoint")
        for name, least in (("parallel", 1), ("retries", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"endpoint {name} is {getattr(self, name)}, expected at least {least}")
        for name in ("timeout_s", "longest_wait_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"endpoint {name} is {getattr(self, name)}, expected more than 0")
        if not self.requests_per_minute >= 0:
            raise ConfigError(
                f"endpoint requests_per_minute is {self.requests_per_minute}, expected at least 0"
            )


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model answered."""

    text: str
    """The answer."""
    finish: str
    """"stop", or why it ended otherwise, such as "length"."""
    usage: tuple[int, int] | None = field(default=None, compare=False)
    """Tokens of the prompt and of the answer, as the endpoint counts them, where it does."""


class ChatClient:
    """Asks one endpoint; safe to use from several threads. Close it, or use it as a context."""

    def __init__(
        self, endpoint: Endpoint, key: str = "", sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Open connections on demand.

        Args:
            endpoint: where and how.
            key: sent as bearer token; kept out of every message.
            sleep: waits so many seconds.

        Raises:
            ConfigError: httpx2 is not installed.
        """
        with needing("asking an endpoint needs", "remote"):
            import httpx2  # noqa: PLC0415  (the base install has no HTTP client)
        self.endpoint, self.ledger, self._sleep = endpoint, Ledger(endpoint.prices), sleep
        self._pace = Pace(endpoint.requests_per_minute, sleep)
        # Redirects are not followed: the key would go to wherever they point.
        self._http = httpx2.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=endpoint.timeout_s,
            limits=httpx2.Limits(max_connections=endpoint.parallel),
            follow_redirects=False,
        )
        self._failures: tuple[type[Exception], ...] = (httpx2.TransportError,)
        self._pool = ThreadPoolExecutor(endpoint.parallel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._pool.shutdown(cancel_futures=True)
        self._http.close()

    def ask_all(
        self, conversations: Sequence[Messages], *, longest: int = 512, **parameters: object
    ) -> list[Reply | EngineError]:
        """Ask several at once: same order, same length; one that fails stands in its place as its error."""

        def ask(messages: Messages) -> Reply | EngineError:
            try:
                return self.ask(messages, longest=longest, **parameters)
            except EngineError as error:
                return error

        return list(self._pool.map(ask, conversations))

    def ask(self, messages: Messages, *, longest: int = 512, **parameters: object) -> Reply:
        """Ask once.

        Args:
            messages: `{"role", "content"}` each, as the endpoint takes them.
            longest: most tokens of the answer.
            parameters: further fields of the request, such as `temperature=0`.

        Raises:
            EngineError: refused, out of retries, out of budget, or the answer is not of the protocol.
        """
        most = self.endpoint.prices.of(most_prompt_tokens(messages), longest)
        self.ledger.reserve(most)
        usage, was_answered = None, False
        try:
            body = {"model": self.endpoint.model, "messages": list(messages), "max_tokens": longest}
            table = self._send({**body, **parameters})
            usage, was_answered = _usage(table), True
            return _reply(table, usage)
        finally:
            self.ledger.settle(most, usage, was_answered=was_answered)

    def _send(self, body: Mapping[str, Any]) -> Any:  # noqa: ANN401  (whatever JSON the endpoint sent)
        """Send until it is answered; give the JSON."""
        address = f"{self.endpoint.url.rstrip('/')}/chat/completions"
        for attempt in range(self.endpoint.retries + 1):
            wait: float | None = None
            self._pace.wait()
            try:
                response = self._http.post(address, json=body)
            except self._failures as error:
                found = type(error).__name__
            else:
                if response.is_success:
                    return _json(response)
                found = f"status {response.status_code}{_code(response)}"
                if response.status_code not in RETRIED:
                    raise EngineError(f"endpoint refused a request: {found}; not retried")
                wait = retry_after_s(response.headers.get("retry-after"), datetime.now(UTC))
            if attempt == self.endpoint.retries:
                break
            # Spread, so that requests refused together do not come back together.
            backoff = FIRST_WAIT_S * 2**attempt * random.uniform(0.75, 1.25)  # noqa: S311  (no secret)
            seconds = min(backoff, self.endpoint.longest_wait_s) if wait is None else wait
            if seconds > self.endpoint.longest_wait_s:
                raise EngineError(
                    f"endpoint asked to wait {seconds:.0f} s ({found}), more than longest_wait_s "
                    f"{self.endpoint.longest_wait_s:g}; run again later"
                )
            self._sleep(seconds)
        raise EngineError(
            f"endpoint gave no answer in {self.endpoint.retries + 1} attempts, the last: {found}"
        )


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Read a Retry-After header, seconds or a date; None where it is absent or unreadable."""
    if value is None:
        return None
    if re.fullmatch(r"\s*\d{1,9}(\.\d+)?\s*", value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max((date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds(), 0.0)


def _json(response: httpx2.Response) -> Any:  # noqa: ANN401  (whatever JSON the endpoint sent)
    if len(response.content) > LONGEST_BODY:
        raise EngineError(
            f"endpoint answered with {len(response.content):,} bytes, more than {LONGEST_BODY:,}"
        )
    try:
        return response.json()
    except ValueError:
        raise EngineError("endpoint answered with something else than JSON; is its url right?") from None


def _code(response: httpx2.Response) -> str:
    """Give the error's code, where it is a plain word: a message might repeat content."""
    try:
        table = response.json()
    except ValueError:
        return ""
    error = table.get("error") if isinstance(table, dict) else None
    codes = [error.get("code"), error.get("type")] if isinstance(error, dict) else []
    words = [code for code in codes if isinstance(code, str) and re.fullmatch(r"[a-z][a-z_.-]{1,39}", code)]
    return f" ({words[0]})" if words else ""


def _usage(table: object) -> tuple[int, int] | None:
    usage = table.get("usage") if isinstance(table, dict) else None
    if not isinstance(usage, dict):
        return None
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    return (counts[0], counts[1]) if all(type(count) is int and count >= 0 for count in counts) else None  # type: ignore[return-value]  # checked in this very line


def _reply(table: object, usage: tuple[int, int] | None) -> Reply:
    try:
        [choice] = table["choices"]  # type: ignore[index]  # what is no table raises, as it should
        text, finish = choice["message"]["content"], choice.get("finish_reason")
    except (TypeError, KeyError, ValueError):
        text = finish = None
    if not isinstance(text, str):
        raise EngineError("endpoint answered without one text under choices[0].message.content")
    return Reply(text, str(finish or "stop"), usage)
