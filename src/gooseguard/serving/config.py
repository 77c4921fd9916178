"""The server's config: one TOML file to frozen dataclasses. Secrets are not in it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum

from gooseguard.core.errors import ConfigError


def _check_word(table: str, name: str, found: str, known: tuple[str, ...]) -> None:
    if found not in known:
        raise ConfigError(f"{table}: {name} is {found!r}, expected one of {', '.join(known)}")


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """How contents are gathered for the engine."""

    workers: int = 0
    """Batches scored at once; 0 is one a processor."""
    batch_bytes: int = 4096
    """Text of one batch, in bytes; a longer text is a batch of its own."""
    queue_items: int = 4096
    """Contents that wait at most; more are refused with 429."""
    queue_bytes: int = 16 << 20
    """Bytes of text that wait at most."""
    deadline_s: float = 30.0
    """Seconds after which a request that has no scores yet is given up with 504."""


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """What one request may hold."""

    body_bytes: int = 4 << 20
    """Bytes of a body."""
    items: int = 1024
    """Contents of a request."""
    item_bytes: int = 1 << 20
    """Bytes of text of one content; Perspective's own limit of 20,480 holds on its wire besides."""
    header_s: float = 10.0
    """Seconds a connection may take until its first request is there."""
    body_s: float = 20.0
    """Seconds a body may take."""
    keep_alive_s: float = 30.0
    """Seconds an idle connection is kept after an answer."""


@dataclass(frozen=True, slots=True)
class ImagesConfig:
    """Images of requests, where the model reads them: the table `[images]`."""

    size_bytes: int = 8 << 20
    """Bytes of one image; `limits.body_bytes` must leave room for it, a third larger as base64."""
    count: int = 16
    """Images of a request at most."""
    remote: bool = False
    """Whether images at http(s) URLs are fetched: public addresses only, on the schemes' own ports."""
    timeout_s: float = 5.0
    """Seconds that an image may take to arrive, redirects included."""
    redirects: int = 3
    """Redirects that are followed; each is checked like the first URL."""

    def __post_init__(self) -> None:
        for name, least in (("size_bytes", 1), ("count", 1), ("redirects", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"images: {name} is {getattr(self, name)}, expected at least {least}")
        if not self.timeout_s > 0:
            raise ConfigError(f"images: timeout_s is {self.timeout_s}, expected more than 0")


@dataclass(frozen=True, slots=True)
class SessionsConfig:
    """Streaming sessions."""

    max_open: int = 1000
    """Sessions at most, in memory and on disk together."""
    max_a_key: int = 1000
    """Sessions of one API key at most."""
    in_memory: int = 256
    """Idle states kept in memory at most; others lie on disk."""
    idle_s: float = 60.0
    """Seconds without a piece after which a state is written to disk."""
    expiry_s: float = 3600.0
    """Seconds without a piece after which a session ends."""
    folder: str = ""
    """Where states lie; "" is a folder that ends with the process, so that no session survives a restart."""


@dataclass(frozen=True, slots=True)
class RateLimits:
    """How much a minute; `None` for no limit. A server's table `[rates]`, and each key's own."""

    requests_per_minute: int | None = None
    """Requests."""
    items_per_minute: int | None = None
    """Contents."""
    bytes_per_minute: int | None = None
    """Bytes of bodies."""

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if value is not None and value < 1:
                raise ConfigError(f"rates: {limit.name} is {value}, expected at least 1")

    def as_mapping(self) -> dict[str, int]:
        """Give the limits that are set, by name."""
        values = {limit.name: getattr(self, limit.name) for limit in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


class OnFailure(StrEnum):
    """What becomes of a request whose rows cannot be written."""

    REFUSE = "refuse"
    ANSWER = "answer"


class Survives(StrEnum):
    """What committed rows survive."""

    KILL = "kill"
    POWER_CUT = "power-cut"


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What is logged, and how surely: the table `[log]` of a server's configuration."""

    enabled: bool = True
    """Whether verdicts are kept at all."""
    content: bool = False
    """Whether contents are kept beside their digests."""
    wait: bool = True
    """Whether an answer leaves only after its rows are committed; else when they are in the queue."""
    survives: str = "kill"
    """What committed rows of SQLite survive: "kill", the end of the process at any moment, or "power-cut",
    which waits for the disk itself. PostgreSQL's own configuration says it of PostgreSQL."""
    on_failure: str = "refuse"
    """"refuse": no row, no answer. "answer": answer all the same, count the row as lost and log it."""
    keep_days: int = 30
    """Verdicts older than this are deleted; 0 keeps them."""
    keep_suggestions_days: int = 0
    """Suggestions older than this are deleted; 0 keeps them."""
    queue_rows: int = 10_000
    """Rows that may wait for the database; beyond, it cannot keep up and `on_failure` decides."""
    batch_rows: int = 500
    """Rows of one commit at most."""

    def __post_init__(self) -> None:
        _check_word("log", "on_failure", self.on_failure, tuple(OnFailure))
        _check_word("log", "survives", self.survives, tuple(Survives))
        for name, least in (
            ("keep_days", 0),
            ("keep_suggestions_days", 0),
            ("queue_rows", 1),
            ("batch_rows", 1),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"log: {name} is {getattr(self, name)}, expected at least {least}")


LOG_LEVELS = ("debug", "info", "warning", "error")


class LineFormat(StrEnum):
    """How a line of the server's own log looks."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class LoggingConfig:
    """The server's own log, on standard error: the table `[logging]`."""

    level: str = "info"
    """The least level that is told: debug, info, warning or error."""
    format: str = "auto"
    """"json", "text", or "auto": text on a terminal and JSON elsewhere."""
    requests: bool = True
    """Whether every answered request is a line; one that the server failed always is."""

    def __post_init__(self) -> None:
        _check_word("logging", "level", self.level, LOG_LEVELS)
        _check_word("logging", "format", self.format, tuple(LineFormat))


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """Everything `gooseguard serve` reads from its TOML file."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8080
    """Port to listen on."""
    public_url: str = ""
    """Where clients find the server, such as "https://moderation.example/"; "" is what each request says."""
    proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    """Addresses of reverse proxies, whose word on a client's address and on https is taken."""
    model: str = ""
    """Engine file; "" is the packaged starter."""
    policy: str = "default"
    """Packaged policy or TOML file that decides where a request names none."""
    policies: tuple[str, ...] = ()
    """Further policy files that requests may name by id; the packaged ones may always be named."""
    drain_s: float = 30.0
    """Seconds that requests under way get when the server is told to stop."""
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    """How contents are gathered for the engine."""
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    """What one request may hold."""
    images: ImagesConfig = field(default_factory=ImagesConfig)
    """Images of requests."""
    sessions: SessionsConfig = field(default_factory=SessionsConfig)
    """Streaming sessions."""
    database: str = ""
    """SQLite file or PostgreSQL URL of keys and verdict log; "" is the user's own SQLite file. The variable
    GOOSEGUARD_DATABASE goes first: a URL with a password belongs in no file."""
    log: LogConfig = field(default_factory=LogConfig)
    """What is kept of verdicts."""
    rates: RateLimits = field(default_factory=RateLimits)
    """What a key may ask in a minute, where it has no limits of its own."""
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    """The server's own log."""
    page: bool = True
    """Whether `/` is a page to try texts on."""
