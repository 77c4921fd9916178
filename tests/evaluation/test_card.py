import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gooseguard.core.policy import Policy, Threshold
from gooseguard.data.shards import read_dataset_manifest
from gooseguard.evaluation.card import model_card, positive_sources
from gooseguard.evaluation.run import EvaluationRequest, run_evaluation

_path = Path(__file__).parents[1] / "contracts" / "tiny_dataset.py"
_spec = importlib.util.spec_from_file_location("tiny_dataset", _path)
tiny_dataset = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny_dataset)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return tiny_dataset.write_dataset(tmp_path_factory.mktemp("made") / "set", 30, 30, 60)


@pytest.fixture(scope="module")
def card(dataset):
    return tiny_dataset.make_card(read_dataset_manifest(dataset).facts)


@pytest.fixture(scope="module")
def evaluated(dataset, card, tmp_path_factory):
    policy = Policy("p", "1", {"toxicity": Threshold(0.5, 0.9)})
    request = EvaluationRequest(dataset, tmp_path_factory.mktemp("out"), baseline=None)
    return run_evaluation(tiny_dataset.OracleScorer(), policy, card, request, tiny_dataset.SilentListener())


def section(text, heading):
    return re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)[1]


def test_every_section_is_there_and_every_table_is_straight(evaluated, card):
    text = model_card(evaluated, card, "Some CPU")
    found = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert found == [
        "Intended use", "Categories", "Not scored", "Results", "Thresholds", "Limits", "Training", "Data",
    ]  # fmt: skip
    for block in text.split("\n\n"):
        lines = [re.sub(r"\\\|", "", line) for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1
    assert "nan" not in text.lower().split()


def test_numbers_come_from_the_facts(evaluated, card):
    text = model_card(evaluated, card, "Some CPU")
    toxicity = card["data"]["categories"]["toxicity"]["train"]
    assert f"{toxicity['positive']} / {toxicity['annotated']}" in section(text, "Categories")
    assert "fewer than 50 positive validation rows" in section(text, "Not scored")
    assert "| `hate` | 2 | 3 | 9 |" in section(text, "Not scored")
    assert "on Some CPU" in section(text, "Results")
    assert "this split was kept out of training" in section(text, "Results")
    assert "partly distilled" in section(text, "Results")
    # All positives score 0.75, all negatives 0.25.
    assert "| `toxicity` | 0.5 | 0.00 % | 100.0 % | 0.9 | 0.00 % | 0.0 % |" in section(text, "Thresholds")
    assert "`insult`" not in section(text, "Thresholds")
    assert "| hours | 2 |" in section(text, "Training")
    assert "| `b` | CC0 | two/b@2 | en | yes | 10 |" in section(text, "Data")
    assert "root" not in text


def test_where_positives_come_from(evaluated):
    labels = np.array([[1.0, 1.0], [1.0, 0.0], [0.0, np.nan], [0.5, np.nan]])
    rows = replace(evaluated.rows, labels=labels, sources=np.array(["a", "b", "b", "b"]), languages=None)
    found = positive_sources(replace(evaluated, rows=rows), {"sets": {"b": {"weak": True}}})
    # toxicity: a, b, b are positive; b also holds a negative. insult: a only.
    toxicity, insult = found["toxicity"], found["insult"]
    assert toxicity.n_positives == 3
    assert toxicity.share_of(toxicity.weak) == pytest.approx(2 / 3)
    assert toxicity.share_of(toxicity.one_sided) == pytest.approx(1 / 3)
    assert [name for name, _ in toxicity.largest()] == ["b", "a"]
    assert toxicity.largest(toxicity.one_sided) == [("a", pytest.approx(1 / 3))]
    assert (insult.share_of(insult.weak), insult.share_of(insult.one_sided)) == (0.0, 1.0)


def test_weak_labels_and_one_sided_sets_are_limits(evaluated, card):
    labels = np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    rows = replace(evaluated.rows, labels=labels, sources=np.array(["b", "b", "a"]), languages=None)
    scored = replace(evaluated.scorers[0], scores=evaluated.scorers[0].scores[:3])
    text = model_card(replace(evaluated, rows=rows, scorers=(scored,)), card, "Some CPU")
    limits = section(text, "Limits")
    assert "`toxicity` is weakly labelled: 100 % of its measured positives" in limits
    assert '`b` 100 % (a 1 says "posted | there")' in limits
    assert "`toxicity`: 100 % of its measured positives come from sets that hold no negative" in limits
    assert "Languages with fewer than 1,000 training rows: und (5), en (25)." in limits
    assert "No set is large enough to measure `toxicity`, `insult`" in limits


@pytest.mark.parametrize("facts", [{}, {"data": 3, "recipe": [], "training": None}, {"languages": ["en"]}])
def test_facts_that_are_missing_are_told(evaluated, facts):
    text = model_card(replace(evaluated, is_own_data=None), facts, "Some CPU")
    assert "The model file does not say what it was trained on." in section(text, "Data")
    assert "| parameters | not stated |" in section(text, "Training")
    assert "## Not scored" not in text
    assert "kept out of training" not in text
