import pytest

from gooseguard.serving import limits
from gooseguard.serving.config import RateLimits
from gooseguard.serving.hooks import Key
from gooseguard.serving.limits import RateLimiter
from gooseguard.serving.problem import Kind, Problem


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def refusal(limiter, key, n_items=1, n_bytes=0):
    with pytest.raises(Problem) as caught:
        limiter.admit(key, n_items, n_bytes)
    assert caught.value.kind is Kind.RATE_LIMITED
    return caught.value


def test_a_minutes_worth_at_once_and_then_as_fast_as_it_refills(clock):
    limiter = RateLimiter(RateLimits(requests_per_minute=3), clock=clock)
    for _ in range(3):
        limiter.admit(Key("a"), 1, 0)
    # 3 a minute: one each 20 seconds.
    assert refusal(limiter, Key("a")).retry_after_s == pytest.approx(20.0)
    clock.now += 19.9
    assert refusal(limiter, Key("a")).retry_after_s == pytest.approx(0.1)
    clock.now += 0.2
    limiter.admit(Key("a"), 1, 0)
    refusal(limiter, Key("a"))


def test_a_bucket_never_holds_more_than_a_minutes_worth(clock):
    limiter = RateLimiter(RateLimits(items_per_minute=10), clock=clock)
    clock.now += 3600
    limiter.admit(Key("a"), 10, 0)
    assert "rate limit items_per_minute:" in refusal(limiter, Key("a"), 1).message


def test_keys_do_not_share_and_their_own_limits_go_first(clock):
    limiter = RateLimiter(RateLimits(requests_per_minute=1), clock=clock)
    rich = Key("rich", {"requests_per_minute": 100})
    limiter.admit(Key("a"), 1, 0)
    limiter.admit(Key("b"), 1, 0)
    for _ in range(100):
        limiter.admit(rich, 1, 0)
    for key in (Key("a"), Key("b"), rich):
        refusal(limiter, key)


def test_a_refused_request_costs_nothing(clock):
    limiter = RateLimiter(RateLimits(requests_per_minute=5, items_per_minute=2), clock=clock)
    limiter.admit(Key("a"), 2, 0)
    for _ in range(10):
        assert "rate limit items_per_minute:" in refusal(limiter, Key("a"), 1).message
    assert limiter.remaining(Key("a"))["requests_per_minute"].remaining == 4


def test_what_no_minute_allows_is_said_so(clock):
    limiter = RateLimiter(RateLimits(bytes_per_minute=100), clock=clock)
    problem = refusal(limiter, Key("a"), 1, 101)
    assert problem.retry_after_s is None
    assert "asked for 101, allowed 100 a minute; send less at once" in problem.message


def test_headers_say_what_is_left(clock):
    limiter = RateLimiter(RateLimits(requests_per_minute=60, items_per_minute=120), clock=clock)
    limiter.admit(Key("a"), 30, 5)
    clock.now += 0.5
    # 60 - 1 + 0.5, then - 1; 120 - 30 + 1, then - 30.
    assert limiter.admit(Key("a"), 30, 5) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "58",
        "x-ratelimit-reset-requests": "1.500s",
        "x-ratelimit-limit-items": "120",
        "x-ratelimit-remaining-items": "61",
        "x-ratelimit-reset-items": "29.500s",
    }


def test_no_limits_no_headers_no_refusal(clock):
    limiter = RateLimiter(RateLimits(), clock=clock)
    assert [limiter.admit(Key("a"), 10**6, 10**9) for _ in range(100)] == [{}] * 100


def test_a_limit_that_changes_counts_at_once(clock):
    limiter = RateLimiter(RateLimits(), clock=clock)
    limiter.admit(Key("a", {"requests_per_minute": 1}), 1, 0)
    refusal(limiter, Key("a", {"requests_per_minute": 1}))
    limiter.admit(Key("a", {"requests_per_minute": 2}), 1, 0)
    limiter.admit(Key("a"), 1, 0)
    assert limiter.remaining(Key("a")) == {}


def test_keys_that_are_quiet_are_forgotten(clock, monkeypatch):
    monkeypatch.setattr(limits, "MAX_KEYS", 10)
    limiter = RateLimiter(RateLimits(requests_per_minute=60), clock=clock)
    limiter.admit(Key("spent"), 1, 0)
    for number in range(1000):
        clock.now += 0.001
        limiter.remaining(Key(f"quiet-{number}"))
    assert len(limiter._buckets) <= 10
    assert limiter.remaining(Key("spent"))["requests_per_minute"].remaining == 59
