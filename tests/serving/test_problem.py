"""Problems and their statuses."""

import pytest

from gooseguard.core.errors import GooseguardError
from gooseguard.serving.problem import Kind, Problem


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("INVALID", 400), ("NO_KEY", 401), ("FORBIDDEN", 403), ("NOT_FOUND", 404), ("WRONG_METHOD", 405),
        ("TOO_SLOW", 408), ("CONFLICT", 409), ("TOO_LARGE", 413), ("WRONG_TYPE", 415), ("RATE_LIMITED", 429),
        ("OVERLOADED", 429), ("ENGINE", 500), ("LOG", 503), ("DRAINING", 503), ("DEADLINE", 504),
    ],
)  # fmt: skip
def test_every_kind_has_its_status(kind, status):
    assert Kind[kind].status == status


def test_none_is_the_alias_of_another():
    assert len(Kind) == len(Kind.__members__)


def test_a_problem_is_one_of_our_errors():
    problem = Problem(Kind.INVALID, "wrong", param="items[0]", retry_after_s=2)
    assert isinstance(problem, GooseguardError)
    assert (str(problem), problem.param, problem.code, problem.retry_after_s) == (
        "wrong",
        "items[0]",
        None,
        2,
    )
