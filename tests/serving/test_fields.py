"""Partial responses. Examples as in Google's documentation of the `fields` parameter, worked by hand."""

import pytest

from gooseguard.serving.fields import parse_fields, select
from gooseguard.serving.problem import Problem

BODY = {
    "kind": "demo",
    "items": [
        {"title": "First", "characteristics": {"length": "short", "accuracy": "high"}, "tags": ["a"]},
        {"title": "Second", "characteristics": {"length": "long"}, "status": "active"},
    ],
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("kind", {"kind": "demo"}),
        ("kind,items(title)", {"kind": "demo", "items": [{"title": "First"}, {"title": "Second"}]}),
        ("items/title", {"items": [{"title": "First"}, {"title": "Second"}]}),
        (
            "items(title,characteristics/length)",
            {
                "items": [
                    {"title": "First", "characteristics": {"length": "short"}},
                    {"title": "Second", "characteristics": {"length": "long"}},
                ]
            },
        ),
        ("items/characteristics/*", {"items": [
            {"characteristics": {"length": "short", "accuracy": "high"}},
            {"characteristics": {"length": "long"}},
        ]}),
        ("items(status)", {"items": [{}, {"status": "active"}]}),
        ("*", BODY),
        ("absent", {}),
        ("items/title,items/status", {"items": [
            {"title": "First"}, {"title": "Second", "status": "active"},
        ]}),
        ("items/characteristics(length),items/characteristics", {"items": [
            {"characteristics": {"length": "short", "accuracy": "high"}},
            {"characteristics": {"length": "long"}},
        ]}),
        (" kind , items / tags ", {"kind": "demo", "items": [{"tags": ["a"]}, {}]}),
    ],
)  # fmt: skip
def test_a_selection_gives_what_it_says(fields, expected):
    assert select(BODY, parse_fields(fields)) == expected


@pytest.mark.parametrize(
    "fields",
    ["a(", "a)", "a(b", "a//b", ",a", "a,", "()", "a b(", "(a)", "a/(b)", "a;b", "/", "x" * 2000, " "],
)
def test_a_wrong_selection_is_refused(fields):
    with pytest.raises(Problem, match="Invalid field selection"):
        parse_fields(fields)
