"""The server's config: one TOML file to frozen dataclasses. Secrets are not in it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """How contents are gathered for the engine."""

    workers: int = 0
    """Batches scored at once; 0 is one a processor."""
    batch_bytes: int = 8192
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
class ServeConfig:
    """Everything `gooseguard serve` reads from its TOML file."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8080
    """Port to listen on."""
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
    sessions: SessionsConfig = field(default_factory=SessionsConfig)
    """Streaming sessions."""
