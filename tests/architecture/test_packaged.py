"""What ships inside the package fits together: policies, taxonomy, the starter model; and it is small."""

import re
from importlib import resources
from itertools import pairwise

import pytest

import gooseguard
from gooseguard.core.policy import packaged_policies
from gooseguard.core.taxonomy import load_taxonomy

LENIENT_FIRST = ("lenient", "default", "strict")
STARTER_BYTES = 20_000_000


@pytest.fixture(scope="module")
def policies():
    return {name: gooseguard.load_policy(name) for name in LENIENT_FIRST}


def test_the_promised_policies_ship():
    assert set(packaged_policies()) >= set(LENIENT_FIRST)


def test_policies_act_on_the_same_categories_and_differ_in_strictness(policies):
    orders = [policies[name] for name in LENIENT_FIRST]
    assert len({tuple(sorted(policy.thresholds)) for policy in orders}) == 1
    for milder, harder in pairwise(orders):
        for category in harder.thresholds:
            assert harder.thresholds[category].review <= milder.thresholds[category].review, category
            assert harder.thresholds[category].block <= milder.thresholds[category].block, category


def test_a_packaged_policy_is_called_what_its_file_is(policies):
    assert {name: policy.id for name, policy in policies.items()} == {name: name for name in LENIENT_FIRST}


@pytest.mark.parametrize("name", LENIENT_FIRST)
def test_every_threshold_says_how_often_it_is_wrong(name):
    """Above each table stands a comment with the false-positive rate it gave on validation rows."""
    text = resources.files("gooseguard.policies").joinpath(f"{name}.toml").read_text("utf-8")
    lines = text.splitlines()
    tables = [number for number, line in enumerate(lines) if line.startswith("[thresholds.")]
    assert tables
    for number in tables:
        assert re.match(r"#.*review: FPR [\d.]+%.*block: FPR [\d.]+%", lines[number - 1]), lines[number]


def test_the_starter_scores_what_the_policies_act_on_and_nothing_is_forgotten(policies):
    scorer = gooseguard.load(threads=1)
    for policy in policies.values():
        policy.check(scorer.categories, scorer.name)
        assert set(policy.thresholds) == set(scorer.categories)
    assert scorer.categories <= set(load_taxonomy())


def test_the_starter_is_small_enough_to_install_with():
    weights = resources.files("gooseguard").joinpath("weights")
    sizes = {
        entry.name: len(entry.read_bytes())
        for entry in weights.iterdir()
        if entry.name.endswith(".safetensors")
    }
    assert sizes
    assert sum(sizes.values()) <= STARTER_BYTES
