"""What rules make of cells: classes, numbers, lists, absence; and what they refuse."""

import pytest

from gooseguard.core.errors import ConfigError, DataError
from gooseguard.data.rules import Votes, annotate, find_subgroups, read_label_rule, read_subgroup_rule


def rule(**table):
    return read_label_rule({"field": "f", "category": "hate", **table}, "mapping m.toml")


@pytest.mark.parametrize(
    ("table", "cell", "label"),
    [
        ({"values": {"yes": 1, "no": 0}}, "yes", 1.0),
        ({"values": {"yes": 1, "no": 0}}, " no ", 0.0),
        ({"values": {"1": 1, "0": 0}}, 1, 1.0),
        ({"values": {"1": 1, "0": 0}}, 0.0, 0.0),
        ({"values": {"true": 1, "false": 0}}, True, 1.0),
        ({"values": {"sexy": "unannotated"}}, "sexy", None),
        ({"values": {"a": 1}, "otherwise": 0}, "b", 0.0),
        ({"values": {"a": 1}, "otherwise": "unannotated"}, "b", None),
        ({"range": [0, 1]}, "0.25", 0.25),
        ({"range": [1, 5]}, 3, 0.5),
        # A float32 sum a hair above 1.
        ({"range": [0, 1]}, 1.0000001, 1.0),
        ({"range": [0, 1]}, "", None),
        ({"range": [0, 1]}, None, None),
        ({"range": [0, 1]}, float("nan"), None),
        ({"range": [0, 1], "missing": ["-1"]}, "-1", None),
        ({"range": [0, 1], "missing": ["-1"]}, -1.0, None),
        ({"values": {"a": 1}, "absent": 0}, "", 0.0),
        # Tags: the greatest of what they mean.
        ({"values": {"a": 0.2, "b": 0.9, "c": "unannotated"}, "list_of": "tags"}, ["a", "b", "c"], 0.9),
        ({"values": {"c": "unannotated"}, "list_of": "tags"}, ["c"], None),
        ({"values": {"a": 1}, "list_of": "tags", "absent": 0}, [], 0.0),
    ],
)
def test_a_cell_becomes_a_label_or_none(table, cell, label):
    labels = annotate([rule(**table)], {"f": cell}).labels
    assert labels == ({} if label is None else {"hate": pytest.approx(label)})


def test_a_missing_column_is_not_annotated():
    assert annotate([rule(range=[0, 1])], {}).labels == {}


def test_annotators_are_kept_one_by_one_and_their_disagreement_with_them():
    found = annotate([rule(values={"h": 1, "o": 0, "n": 0})], {"f": ["h", "n", "h"]})
    assert found.labels["hate"] == pytest.approx(2 / 3)
    assert found.votes == {"hate": Votes(3, (1.0, 0.0, 1.0))}


def test_a_fraction_keeps_the_number_of_its_votes():
    found = annotate([rule(range=[0, 1], votes="n")], {"f": "0.4", "n": "10"})
    assert (found.labels, found.votes) == ({"hate": 0.4}, {"hate": Votes(10)})
    assert annotate([rule(range=[0, 1], votes="n")], {"f": "0.4"}).votes == {}


def test_of_two_rules_for_a_category_the_greater_label_holds_with_its_votes_and_weight():
    weak, sure = rule(values={"a": 1}, field="x", weight=0.5), rule(range=[0, 1], field="y", votes="n")
    row = {"x": "a", "y": 0.2, "n": 3}
    for rules in ([weak, sure], [sure, weak]):
        found = annotate(rules, row)
        assert (found.labels, found.votes, found.weights) == ({"hate": 1.0}, {}, {"hate": 0.5})


@pytest.mark.parametrize(
    ("table", "row", "message"),
    [
        (
            {"values": {"yes": 1, "no": 0}},
            {"f": "yess"},
            r"'f': unknown class 'yess'; expected one of yes, no; did",
        ),
        ({"range": [0, 1]}, {"f": "much"}, "'f' is no number"),
        ({"range": [0, 1]}, {"f": 1.2}, "'f' is 1.2, expected 0 to 1"),
        ({"range": [0, 1]}, {"f": "inf"}, "'f' is not finite"),
        ({"values": {"a": 1}, "absent": "error"}, {"f": " "}, "'f' is empty; expected a label"),
        ({"range": [0, 1], "votes": "n"}, {"f": 0, "n": 2.5}, "'n' is 2.5, expected a number of annotators"),
    ],
)
def test_a_wrong_cell_is_refused_by_name(table, row, message):
    with pytest.raises(DataError, match=message):
        annotate([rule(**table)], row)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"values": {"a": 1}, "category": "hat"}, "category 'hat' is unknown; did you mean 'hate'"),
        ({}, "expected either values or range"),
        ({"values": {"a": 1}, "range": [0, 1]}, "expected either values or range"),
        ({"values": {"a": 2}}, "2 is no label; expected 0..1"),
        ({"values": {"a": "maybe"}}, "'maybe' is no label"),
        ({"range": [1, 1]}, "expected its least and its greatest value"),
        ({"range": [0, 1], "weight": 0}, "weight is 0.0, expected above 0"),
        ({"range": [0, 1], "list_of": "things"}, "list_of is 'things'"),
        ({"range": [0, 1], "vote": "n"}, "unknown key 'vote'.*did you mean 'votes'"),
        ({"range": "0-1"}, "range is '0-1', which is of the wrong type"),
        ({"field": "", "range": [0, 1]}, "field is missing"),
    ],
)
def test_a_wrong_rule_is_refused(table, message):
    with pytest.raises(ConfigError, match=f"mapping m.toml: .*{message}"):
        rule(**table)


def test_subgroups_come_from_fractions_and_from_names():
    rules = [
        read_subgroup_rule({"field": "male", "name": "men"}, "m"),
        read_subgroup_rule({"field": "black", "name": "black", "at_least": 0.2}, "m"),
        read_subgroup_rule({"field": "group"}, "m"),
    ]
    row = {"male": "0.5", "black": 0.1, "group": ["women", "None", "women"]}
    assert find_subgroups(rules, row) == ("men", "women")
    assert find_subgroups(rules, {"male": ""}) == ()
    with pytest.raises(DataError, match="'male' is no number"):
        find_subgroups(rules, {"male": "many"})
