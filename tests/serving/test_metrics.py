import math
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gooseguard.core.scorer import ScoreError, Scores
from gooseguard.core.verdict import Action, Verdict
from gooseguard.serving.hooks import Answered, Hooks, Key, LoopbackOnly
from gooseguard.serving.metrics import Metrics
from gooseguard.serving.problem import Kind, Problem
from gooseguard.serving.verdict_log import LogCounts

RECORD = Answered(
    request="req_1", api="score", path="/v1/score", status=200, problem="", key="k1", n_items=2, n_bytes=30,
    model="m@1", policy="p@2", stages={"queue": 0.002, "total": 0.01},
)  # fmt: skip


def samples(metrics, service=None):
    """Read the page with the library's own parser: (name, labels) to value."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.page(service).decode())
        for sample in family.samples
    }


def test_requests_and_stages():
    metrics = Metrics()
    metrics.answered(RECORD)
    metrics.answered(RECORD._replace(status=429, problem="RATE_LIMITED", stages={"total": 0.1}))
    found = samples(metrics)
    request = ("gooseguard_requests_total", ("api", "score"), ("path", "/v1/score"))
    assert found[*request, ("problem", ""), ("status", "200")] == 1
    assert found[*request, ("problem", "RATE_LIMITED"), ("status", "429")] == 1
    assert found["gooseguard_body_bytes_total", ("api", "score")] == 60
    total = (("api", "score"), ("stage", "total"))
    assert found["gooseguard_stage_seconds_count", *total] == 2
    assert found["gooseguard_stage_seconds_sum", *total] == pytest.approx(0.11)
    # Bounds are inclusive: 0.01 is in its own bucket.
    assert found["gooseguard_stage_seconds_bucket", total[0], ("le", "0.01"), total[1]] == 1


def test_verdicts_and_scores():
    scores = Scores({"toxicity": 1.0, "insult": 0.0, "threat": 0.35, "sexual": None}, "m@1")
    metrics = Metrics()
    verdict = Verdict(Action.BLOCK, {"toxicity": True, "insult": False}, scores, "p@2")
    metrics.judged(verdict, "p@2")
    metrics.judged(ScoreError("ContentError", "…"), "p@2")
    found = samples(metrics)
    policy = ("policy", "p@2")
    assert found["gooseguard_contents_total", ("action", "block"), policy] == 1
    assert found["gooseguard_contents_total", ("action", "error"), policy] == 1
    assert found["gooseguard_flagged_total", ("category", "toxicity"), policy] == 1
    assert ("gooseguard_flagged_total", ("category", "insult"), policy) not in found

    def bucket(category, bound):
        return found["gooseguard_score_bucket", ("category", category), ("le", bound), ("model", "m@1")]

    assert [bucket("threat", bound) for bound in ("0.3", "0.4")] == [0, 1]
    assert (bucket("toxicity", "0.9"), bucket("toxicity", "+Inf")) == (0, 1)
    assert bucket("insult", "0.1") == 1
    assert found["gooseguard_score_sum", ("category", "threat"), ("model", "m@1")] == 0.35
    assert not any("sexual" in str(key) for key in found)


def test_what_waits_for_the_engine(make_client):
    metrics = Metrics()
    client = make_client(Hooks(observers=(metrics,)))
    service = client.app.state.service

    def waiting():
        found = samples(metrics, service)
        return found["gooseguard_queue_items",], found["gooseguard_queue_bytes",]

    assert waiting() == (0, 0)
    text = "<slow>" + "x" * 94
    with ThreadPoolExecutor(3) as callers:
        body = {"items": [{"text": text}]}
        answers = []
        # The one worker has the first for half a second, the second lies ready, the third waits: 100 bytes.
        for _ in range(3):
            answers.append(callers.submit(client.post, "/v1/score", json=body))
            time.sleep(0.1)
        seen = set()
        while not all(answer.done() for answer in answers):
            seen.add(waiting())
            time.sleep(0.01)
    assert (1, 100) in seen
    assert waiting() == (0, 0)


def test_deployment_and_log():
    counts = LogCounts()
    metrics = Metrics(lambda: counts)
    metrics.deployed("m@1", "p@1")
    metrics.deployed("m@2", "p@1")
    counts.written, counts.lost, counts.waiting = 5, 1, 3
    found = samples(metrics)
    infos = {key: value for key, value in found.items() if key[0] == "gooseguard_deployment_info"}
    assert infos == {("gooseguard_deployment_info", ("model", "m@2"), ("policy", "p@1")): 1}
    assert found["gooseguard_log_rows_total", ("outcome", "written")] == 5
    assert found["gooseguard_log_rows_total", ("outcome", "lost")] == 1
    assert found["gooseguard_log_waiting_rows",] == 3


def test_two_servers_in_one_process_count_apart():
    one, other = Metrics(), Metrics()
    one.deployed("m@1", "p@1")
    assert not any(key[0] == "gooseguard_deployment_info" for key in samples(other))
    assert not any(math.isnan(value) for value in samples(one).values())


class OneKey:
    def authenticate(self, secret, client):
        if secret != "right":
            raise Problem(Kind.NO_KEY, "no")
        return Key("k1")


@pytest.mark.parametrize(
    ("client", "keys", "headers", "status"),
    [
        ("127.0.0.1", OneKey(), {}, 200),
        ("192.0.2.1", OneKey(), {"authorization": "Bearer right"}, 200),
        ("192.0.2.1", OneKey(), {"authorization": "Bearer wrong"}, 401),
        ("192.0.2.1", LoopbackOnly(), {}, 403),
    ],
)
def test_the_page_is_for_this_machine_and_for_keys(make_client, client, keys, headers, status):
    http = make_client(Hooks(routes=(Metrics().route(keys),)), client=(client, 5))
    answer = http.get("/metrics", headers=headers)
    assert answer.status_code == status
    assert ("gooseguard_queue_items" in answer.text) == (status == 200)
