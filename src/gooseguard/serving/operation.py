"""A server's config to its hooks: keys, limits, verdict log, metrics, log of requests, pages."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gooseguard.serving.config import OnFailure, Survives
from gooseguard.serving.database import describe, open_database
from gooseguard.serving.hooks import Hooks
from gooseguard.serving.keys import KeyRing
from gooseguard.serving.limits import RateLimiter
from gooseguard.serving.logs import AccessLog
from gooseguard.serving.metrics import Metrics
from gooseguard.serving.page.routes import page_routes
from gooseguard.serving.verdict_log import VerdictLog

if TYPE_CHECKING:
    from gooseguard.serving.config import ServeConfig

logger = logging.getLogger(__name__)


def make_hooks(config: ServeConfig, database: str) -> Hooks:
    """Open the database, and start what runs beside the requests. The log's `close` ends it.

    Args:
        config: the server's.
        database: URL or SQLite file of keys and verdict log.

    Raises:
        ConfigError: the URL is wrong, or the database of a newer version.
        StorageError: the database cannot be reached or written.
    """
    engine = open_database(database, flush=config.log.survives == Survives.POWER_CUT)
    keys = KeyRing(engine)
    log = VerdictLog(engine, config.log)
    metrics = Metrics(lambda: log.counts)
    keys.start()
    log.start()
    logger.info(
        "database opened",
        extra={
            "database": describe(database),
            "verdicts": config.log.enabled,
            "content": config.log.content,
            "keep_days": config.log.keep_days,
        },
    )
    return Hooks(
        keys=keys,
        limits=RateLimiter(config.rates),
        log=log,
        observers=(AccessLog(is_full=config.logging.requests), metrics),
        routes=(metrics.route(keys), *(page_routes(keys) if config.page else ())),
        # Where a lost row is no reason to refuse a request, it is none to send requests elsewhere.
        is_healthy=lambda: log.is_healthy or config.log.on_failure == OnFailure.ANSWER,
    )
