"""Policies: what the TOML may say, and the messages for what it may not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.core.errors import PolicyError
from gooseguard.core.policy import Policy, Threshold, load_policy, packaged_policies, parse_policy
from gooseguard.core.taxonomy import load_taxonomy

GOOD = """
id = "forum"
version = "7"
unscored = ["spam"]

[thresholds."hate/threatening"]
review = 0.25
block = 0.75

[thresholds.insult]
review = 1
block = 1

[definitions]
insult = "Calls another member names."
"""


def test_reads_every_field():
    assert parse_policy(GOOD, "policy forum.toml") == Policy(
        id="forum",
        version="7",
        thresholds={"hate/threatening": Threshold(0.25, 0.75), "insult": Threshold(1.0, 1.0)},
        definitions={"insult": "Calls another member names."},
        unscored=frozenset({"spam"}),
    )
    assert parse_policy(GOOD, "x").name == "forum@7"


def test_only_id_version_and_thresholds_are_needed():
    policy = parse_policy('id = "a"\nversion = "1"\n[thresholds.insult]\nreview = 0\nblock = 0', "x")
    assert policy == Policy("a", "1", {"insult": Threshold(0.0, 0.0)}, {}, frozenset())


def change(old, new):
    assert old in GOOD
    return GOOD.replace(old, new)


WRONG = {
    "not TOML": ("id = \n", r"not valid TOML: .*line 1"),
    "empty": ("", r'id is missing or no text; expected id = "…"'),
    "no id": (change('id = "forum"', ""), r"id is missing"),
    "empty id": (change('"forum"', '""'), r"id is missing or no text"),
    "number as version": (change('"7"', "7"), r"version is missing or no text"),
    "unknown key": (
        change("unscored", "unscord"),
        r"unknown key 'unscord'; expected one of definitions, id, .*; did you mean 'unscored'\?",
    ),
    "no thresholds": ('id = "a"\nversion = "1"', r"no thresholds; expected a table such as"),
    "empty thresholds": ('id = "a"\nversion = "1"\n[thresholds]', r"no thresholds"),
    "thresholds no table": ('id = "a"\nversion = "1"\nthresholds = 3', r"no thresholds"),
    "unknown category": (
        change("thresholds.insult", "thresholds.insul"),
        r"unknown category 'insul'; expected one of toxicity, .*spam; did you mean 'insult'\?",
    ),
    "unknown in unscored": (change('["spam"]', '["spma"]'), r"unknown category 'spma'.*did you mean 'spam'"),
    "unknown in definitions": (change("insult =", "insults ="), r"unknown category 'insults'"),
    "category in capitals": (change("thresholds.insult", "thresholds.Insult"), r"unknown category 'Insult'"),
    "unscored no list": (change('["spam"]', '"spam"'), r"unscored is no list of texts"),
    "unscored of numbers": (change('["spam"]', "[1]"), r"unscored is no list of texts"),
    "definition no text": (change('"Calls another member names."', "1"), r"definitions is no table of texts"),
    "review above block": (
        change("review = 0.25", "review = 0.9"),
        r"threshold for 'hate/threatening' has review 0\.9 above block 0\.75; expected review <= block",
    ),
    "below 0": (
        change("0.25", "-0.25"),
        r"'hate/threatening' has review -0\.25; expected a number within 0\.\.1",
    ),
    "above 1": (change("0.75", "1.5"), r"has block 1\.5; expected a number within"),
    "nan": (change("0.25", "nan"), r"has review nan; expected a number"),
    "inf": (change("0.75", "inf"), r"has block inf; expected a number"),
    "text": (change("0.25", '"0.25"'), r"has review '0\.25'; expected a number"),
    "true": (change("0.75", "true"), r"has block True; expected a number"),
    "block missing": (
        change("block = 0.75", ""),
        r"'hate/threatening' must have review and block, and nothing",
    ),
    "a third bound": (
        change("block = 0.75", "block = 0.75\nwarn = 0.1"),
        r"must have review and block, and nothing",
    ),
    "threshold no table": (
        'id = "a"\nversion = "1"\n[thresholds]\ninsult = 0.5',
        r"'insult' must have review and block",
    ),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_policy_says_where_and_what_to_do(text, message):
    with pytest.raises(PolicyError, match=r"(?s)^policy forum\.toml: .*" + message):
        parse_policy(text, "policy forum.toml")


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(list(load_taxonomy())))
@settings(deadline=None)
def test_any_ordered_pair_within_0_to_1_is_kept_and_any_other_refused(review, block, category):
    text = f'id = "a"\nversion = "1"\n[thresholds."{category}"]\nreview = {review!r}\nblock = {block!r}'
    if review <= block:
        assert parse_policy(text, "x").thresholds == {category: Threshold(review, block)}
    else:
        with pytest.raises(PolicyError, match="above block"):
            parse_policy(text, "x")


def test_check_names_what_the_scorer_lacks_and_offers_the_line_to_add():
    policy = parse_policy(GOOD, "x")
    policy.check({"hate/threatening", "insult", "toxicity"}, "m@0")
    with pytest.raises(PolicyError) as caught:
        policy.check({"insult"}, "m@0")
    assert str(caught.value) == (
        "policy forum@7: model m@0 does not score hate/threatening; expected only insult; "
        "remove the thresholds or add: unscored = ['hate/threatening']"
    )
    # The line offered is TOML, and following it helps.
    mended = change('unscored = ["spam"]', "unscored = ['hate/threatening']")
    parse_policy(mended, "x").check({"insult"}, "m@0")


def test_load_reads_a_file_and_names_it_in_errors(tmp_path):
    path = tmp_path / "forum.toml"
    path.write_text(GOOD, "utf-8")
    assert load_policy(str(path)) == parse_policy(GOOD, "x")
    path.write_text(change("0.25", "7"), "utf-8")
    with pytest.raises(PolicyError, match=r"^policy forum\.toml: threshold"):
        load_policy(str(path))


@pytest.mark.parametrize("name", ["nowhere.toml", "", "x" * 5000, "a\x00b", "defualt"])
def test_load_of_what_is_not_there_lists_the_packaged_ones(name):
    with pytest.raises(PolicyError, match="no such file or packaged policy; expected a TOML file or one of"):
        load_policy(name)


def test_load_refuses_a_folder_and_a_file_that_is_not_utf8(tmp_path):
    with pytest.raises(PolicyError, match="no such file"):
        load_policy(str(tmp_path))
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(
        PolicyError, match=r"binary\.toml: cannot be read as UTF-8 text \(UnicodeDecodeError\)"
    ):
        load_policy(str(path))


@pytest.mark.parametrize("name", packaged_policies())
def test_a_packaged_policy_is_read_by_name(name):
    policy = load_policy(name)
    assert policy.id == name
    assert policy.version
