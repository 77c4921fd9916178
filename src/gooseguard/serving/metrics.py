"""Prometheus metrics of a server: what is asked, how long each stage takes, what comes out. Never content.

Labels take few values: routes, statuses, categories, models, policies; never a key's name or a caller's word.
docs/metrics.md describes each; a test compares.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.responses import Response
from starlette.routing import Route

from gooseguard.core.scorer import ScoreError
from gooseguard.serving.calls import bearer, client_of
from gooseguard.serving.hooks import is_local
from gooseguard.serving.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt
    from prometheus_client.metrics_core import Metric
    from starlette.requests import Request

    from gooseguard.core.scorer import Scores
    from gooseguard.core.verdict import Verdict
    from gooseguard.serving.calls import Service
    from gooseguard.serving.hooks import Answered, Keys
    from gooseguard.serving.verdict_log import LogCounts

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets of times."""

TENTHS = tuple(number / 10 for number in range(1, 11))
"""Upper bounds of the buckets of scores."""

MOST_WAITING = 256
"""Requests and contents that wait to be counted at most."""


class Metrics:
    """A `hooks.Observer` that counts. Belongs to the event loop."""

    def __init__(self, log: Callable[[], LogCounts] | None = None) -> None:
        """Make the metrics.

        Args:
            log: gives the verdict log's counts, where there is a verdict log.
        """
        self.registry = CollectorRegistry()
        self._requests = _Counters(
            "gooseguard_requests_total", "Answered requests.", ("api", "path", "status", "problem")
        )
        self._stages = _Histograms(
            "gooseguard_stage_seconds", "Time of answered requests, by stage.", ("api", "stage"), SECONDS
        )
        self._bytes = _Counters("gooseguard_body_bytes_total", "Bytes of bodies read.", ("api",))
        self._contents = _Counters(
            "gooseguard_contents_total",
            "Judged contents, by the policy and what it made of them.",
            ("policy", "action"),
        )
        self._flagged = _Counters(
            "gooseguard_flagged_total",
            "Contents in which a category reached its review threshold.",
            ("policy", "category"),
        )
        self._scores = _Histograms(
            "gooseguard_score", "Scores the model gave.", ("model", "category"), TENTHS
        )
        for collector in (
            self._requests, self._stages, self._bytes, self._contents, self._flagged, self._scores,
        ):  # fmt: skip
            self.registry.register(collector)
        self._waiting: list[Scores] = []
        self._answered: list[Answered] = []
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
        self._sessions = Gauge(
            "gooseguard_sessions",
            "Streaming sessions that can go on, by where their state is.",
            ("place",),
            registry=self.registry,
        )
        self._streams = Gauge(
            "gooseguard_streams",
            "Streams that are open now: WebSockets, and requests answered by events.",
            registry=self.registry,
        )
        if log is not None:
            self.registry.register(_LogCollector(log))
        ProcessCollector(registry=self.registry)

    def answered(self, record: Answered) -> None:
        """Count a request and its stages, with others like it."""
        self._answered.append(record)
        if len(self._answered) >= MOST_WAITING:
            self._count()

    def judged(self, outcome: Verdict | ScoreError, policy: str) -> None:
        """Count a content, its categories and its scores."""
        if isinstance(outcome, ScoreError):
            self._contents.add((policy, "error"))
            return
        self._contents.add((policy, str(outcome.action)))
        for category, is_flagged in outcome.flagged.items():
            if is_flagged:
                self._flagged.add((policy, category))
        self._waiting.append(outcome.scores)
        if len(self._waiting) >= MOST_WAITING:
            self._count()

    def _count(self) -> None:
        """Count what waits: many at once cost a fraction of one after the other."""
        stages: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)
        for record in self._answered:
            self._requests.add((record.api, record.path, str(record.status), record.problem))
            self._bytes.add((record.api,), record.n_bytes)
            for stage, seconds in record.stages.items():
                stages[record.api, stage].append(seconds)
        self._answered.clear()
        for labels, times in stages.items():
            self._stages.add(labels, np.array(times))
        by_model: defaultdict[str, list[Mapping[str, float | None]]] = defaultdict(list)
        for scores in self._waiting:
            by_model[scores.model].append(scores.values)
        self._waiting.clear()
        for model, tables in by_model.items():
            # A model gives the same categories every time.
            categories = list(tables[0])
            # None becomes NaN.
            values = np.array([[table.get(name) for name in categories] for table in tables], np.float64)
            for category, column in zip(categories, values.T, strict=True):
                self._scores.add((model, category), column[~np.isnan(column)])

    def deployed(self, model: str, policy: str) -> None:
        """Note which model and policy answer."""
        self._deployment.clear()
        self._deployment.labels(model, policy).set(1)

    def page(self, service: Service | None = None) -> bytes:
        """Give all metrics in Prometheus' text format; queue and sessions as they are in `service` now."""
        if service is not None:
            self._queued_items.set(service.scheduler.n_items)
            self._queued_bytes.set(service.scheduler.n_bytes)
            n_in_memory = service.sessions.n_in_memory
            self._sessions.labels("memory").set(n_in_memory)
            self._sessions.labels("disk").set(len(service.sessions) - n_in_memory)
            self._streams.set(service.n_streams)
        self._count()
        return generate_latest(self.registry)

    def route(self, keys: Keys) -> Route:
        """Give `/metrics`: for this machine, and for whoever shows an API key."""

        async def answer(request: Request) -> Response:
            if not is_local(client_of(request)):
                try:
                    keys.authenticate(bearer(request), client_of(request))
                except Problem as problem:
                    return Response(problem.message, problem.kind.status, media_type="text/plain")
            return Response(self.page(request.app.state.service), media_type=CONTENT_TYPE_PLAIN_0_0_4)

        return Route("/metrics", answer, methods=["GET"])


class _Counters(Collector):
    """Counters by labels. A request counts a dozen things: plain numbers, and none of the library's locks."""

    def __init__(self, name: str, description: str, labels: Sequence[str]) -> None:
        self._about = (name, description, labels)
        self._counts: Counter[tuple[str, ...]] = Counter()

    def add(self, labels: tuple[str, ...], amount: int = 1) -> None:
        """Count."""
        self._counts[labels] += amount

    def collect(self) -> Iterator[Metric]:
        """Give the counts as they are now."""
        name, description, labels = self._about
        family = CounterMetricFamily(name, description, labels=labels)
        for values, count in self._counts.items():
            family.add_metric(values, count)
        yield family


class _Histograms(Collector):
    """Histograms by labels, in the same way."""

    def __init__(self, name: str, description: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        self._about = (name, description, labels)
        self._bounds = bounds
        self._counts: defaultdict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * (len(bounds) + 1))
        self._sums: defaultdict[tuple[str, ...], float] = defaultdict(float)

    def add(self, labels: tuple[str, ...], values: npt.NDArray[np.float64]) -> None:
        """Count values, float64 (n,)."""
        if len(values):
            places = np.searchsorted(self._bounds, values)
            found = np.bincount(places, minlength=len(self._bounds) + 1).tolist()
            self._counts[labels] = [
                count + more for count, more in zip(self._counts[labels], found, strict=True)
            ]
            self._sums[labels] += float(values.sum())

    def collect(self) -> Iterator[Metric]:
        """Give the histograms as they are now."""
        name, description, labels = self._about
        family = HistogramMetricFamily(name, description, labels=labels)
        bounds = [*map(str, self._bounds), "+Inf"]
        for values, counts in self._counts.items():
            buckets = list(zip(bounds, map(float, accumulate(counts)), strict=True))
            family.add_metric(values, buckets, self._sums[values])
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
