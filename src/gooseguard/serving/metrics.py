"""Prometheus metrics of a server: what is asked, how long each stage takes, what comes out. Never content.

Labels take few values: routes, statuses, categories, models, policies; never a key's name or a caller's word.
docs/metrics.md describes each; a test compares.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.responses import Response
from starlette.routing import Route

from gooseguard.core.scorer import ScoreError
from gooseguard.serving.calls import bearer, client_of
from gooseguard.serving.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.metrics_core import Metric
    from starlette.requests import Request

    from gooseguard.core.verdict import Verdict
    from gooseguard.serving.hooks import Answered, Keys
    from gooseguard.serving.verdict_log import LogCounts

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets of times."""

N_SCORE_BUCKETS = 10
"""Buckets of scores, each a tenth wide."""


class Metrics:
    """A `hooks.Observer` that counts. Belongs to the event loop."""

    def __init__(self, log: Callable[[], LogCounts] | None = None) -> None:
        """Make the metrics.

        Args:
            log: gives the verdict log's counts, where there is a verdict log.
        """
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "gooseguard_requests_total",
            "Answered requests.",
            ("api", "path", "status", "problem"),
            registry=self.registry,
        )
        self._stages = Histogram(
            "gooseguard_stage_seconds",
            "Time of answered requests, by stage.",
            ("api", "stage"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._bytes = Counter(
            "gooseguard_body_bytes_total", "Bytes of bodies read.", ("api",), registry=self.registry
        )
        self._contents = Counter(
            "gooseguard_contents_total",
            "Judged contents, by the policy and what it made of them.",
            ("policy", "action"),
            registry=self.registry,
        )
        self._flagged = Counter(
            "gooseguard_flagged_total",
            "Contents in which a category reached its review threshold.",
            ("policy", "category"),
            registry=self.registry,
        )
        self._queued_items = Gauge(
            "gooseguard_queue_items", "Contents that wait for the engine.", registry=self.registry
        )
        self._queued_bytes = Gauge(
            "gooseguard_queue_bytes", "Bytes of text that wait for the engine.", registry=self.registry
        )
        self._deployment = Gauge(
            "gooseguard_deployment_info",
            "1 for the model and the policy that answer now.",
            ("model", "policy"),
            registry=self.registry,
        )
        self._scores = _ScoreCollector()
        self.registry.register(self._scores)
        if log is not None:
            self.registry.register(_LogCollector(log))
        ProcessCollector(registry=self.registry)

    def answered(self, record: Answered) -> None:
        """Count a request and its stages."""
        self._requests.labels(record.api, record.path, record.status, record.problem).inc()
        self._bytes.labels(record.api).inc(record.n_bytes)
        for stage, seconds in record.stages.items():
            self._stages.labels(record.api, stage).observe(seconds)

    def judged(self, outcome: Verdict | ScoreError, policy: str) -> None:
        """Count a content, its categories and its scores."""
        if isinstance(outcome, ScoreError):
            self._contents.labels(policy, "error").inc()
            return
        self._contents.labels(policy, outcome.action.value).inc()
        for category, is_flagged in outcome.flagged.items():
            if is_flagged:
                self._flagged.labels(policy, category).inc()
        for category, score in outcome.scores.values.items():
            if score is not None:
                self._scores.add(outcome.scores.model, category, score)

    def queued(self, n_items: int, n_bytes: int) -> None:
        """Note how much waits."""
        self._queued_items.set(n_items)
        self._queued_bytes.set(n_bytes)

    def deployed(self, model: str, policy: str) -> None:
        """Note which model and policy answer."""
        self._deployment.clear()
        self._deployment.labels(model, policy).set(1)

    def page(self) -> bytes:
        """Give all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def route(self, keys: Keys) -> Route:
        """Give `/metrics`: for this machine, and for whoever shows an API key."""

        async def answer(request: Request) -> Response:
            if not _is_local(client_of(request)):
                try:
                    keys.authenticate(bearer(request), client_of(request))
                except Problem as problem:
                    return Response(problem.message, problem.kind.status, media_type="text/plain")
            return Response(self.page(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

        return Route("/metrics", answer, methods=["GET"])


class _ScoreCollector(Collector):
    """Histograms of scores: a dozen a content, hence plain integers and none of the library's locks."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], list[int]] = {}
        self._sums: dict[tuple[str, str], float] = {}

    def add(self, model: str, category: str, score: float) -> None:
        """Count a score, 0..1."""
        labels = (model, category)
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = [0] * N_SCORE_BUCKETS
            self._sums[labels] = 0.0
        counts[min(int(score * N_SCORE_BUCKETS), N_SCORE_BUCKETS - 1)] += 1
        self._sums[labels] += score

    def collect(self) -> Iterator[Metric]:
        """Give the histograms; a bucket's bound belongs to the bucket above it, unlike elsewhere."""
        family = HistogramMetricFamily(
            "gooseguard_score", "Scores the model gave.", labels=("model", "category")
        )
        for labels, counts in self._counts.items():
            total, buckets = 0, []
            for place, count in enumerate(counts):
                total += count
                is_last = place == N_SCORE_BUCKETS - 1
                buckets.append(("+Inf" if is_last else str((place + 1) / N_SCORE_BUCKETS), float(total)))
            family.add_metric(labels, buckets, self._sums[labels])
        yield family


class _LogCollector(Collector):
    """What became of rows of the verdict log."""

    def __init__(self, counts: Callable[[], LogCounts]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Give the counts as they are now."""
        counts = self._counts()
        rows = CounterMetricFamily(
            "gooseguard_log_rows_total",
            "Rows of the verdict log, by what became of them.",
            labels=("outcome",),
        )
        for outcome in ("written", "lost", "refused"):
            rows.add_metric((outcome,), getattr(counts, outcome))
        yield rows
        yield GaugeMetricFamily(
            "gooseguard_log_waiting_rows", "Rows that wait for the database.", counts.waiting
        )


def _is_local(client: str) -> bool:
    try:
        return not client or ipaddress.ip_address(client).is_loopback
    except ValueError:
        # A Unix socket has no address.
        return True
