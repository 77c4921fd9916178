"""The experiment: its conditions and splits by hand, and all of it, tiny, from end to end."""

import json
from dataclasses import replace

import numpy as np
import pytest

from gooseguard.core.config import read_config
from gooseguard.core.content import Modality
from gooseguard.core.errors import ArtefactError, ConfigError
from gooseguard.core.scorer import Scores
from gooseguard.evaluation.corruption import KINDS
from gooseguard.experiment import fusion
from gooseguard.experiment.fusion import (
    FusionExperiment,
    ItemsConfig,
    Judge,
    corrupt_both,
    draw_split,
    find_drivers,
    make_conditions,
    run_fusion,
)
from gooseguard.experiment.fusion_heads import CATEGORY, HeadsConfig
from gooseguard.experiment.fusion_report import tabulate, write_fusion_report
from gooseguard.experiment.towers import TowersConfig
from gooseguard.models.fusion import FusionKind

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE
SMALL = FusionExperiment(items=ItemsConfig(n_train=60, n_val=50, n_test=40))


def test_splits_share_no_item_and_have_their_shares():
    drawn = {
        (training, split): draw_split(SMALL, training, split)
        for training in fusion.TRAININGS
        for split in fusion.SPLITS
    }
    digests = [item.content.digest() for items in drawn.values() for item in items]
    assert len(set(digests)) == len(digests)
    assert [len(drawn["balanced", split]) for split in fusion.SPLITS] == [60, 50, 40]
    cases = [item.case.value for item in drawn["balanced", "train"]]
    assert [cases.count(case) for case in ("text", "image", "combination", "none")] == [10, 10, 10, 30]
    cases = [item.case.value for item in drawn["imbalanced", "val"]]
    assert [cases.count(case) for case in ("text", "image", "combination", "none")] == [3, 2, 1, 44]


def test_the_conditions():
    test = draw_split(SMALL, "balanced", "test")
    contents = [item.content for item in test]
    found = {name: make() for name, make in make_conditions(test, SMALL).items()}
    assert tuple(found) == fusion.CONDITIONS
    assert found["complete"] == contents
    assert [c.parts for c in found["text missing"]] == [c.parts[1:] for c in contents]
    assert [c.parts for c in found["image missing"]] == [c.parts[:1] for c in contents]
    for damaged, whole in zip(found["corrupted"], contents, strict=True):
        assert [part.modality for part in damaged.parts] == [TEXT, IMAGE]
        assert damaged.parts[1].data != whole.parts[1].data


def test_each_item_is_corrupted_in_one_way_and_all_ways_come_as_often(monkeypatch):
    asked = {}

    def degrade(contents, degradation, seed):
        asked[degradation.modality, degradation.kind] = len(contents)
        assert (degradation.strength, seed) == (2, 7)
        return list(contents)

    monkeypatch.setattr(fusion, "degrade", degrade)
    contents = [item.content for item in draw_split(SMALL, "balanced", "test")]
    assert corrupt_both(contents, 2, 7) == contents
    assert set(asked) == {(m, kind) for m, kinds in KINDS.items() for kind in kinds} - {
        (m, kind) for m in KINDS for kind in ("absent", "replaced")
    }
    assert [asked[TEXT, kind] for kind in ("character-noise", "truncation")] == [20, 20]
    assert {asked[IMAGE, kind] for kind in ("jpeg", "blur", "noise")} <= {6, 7}


class Counting:
    """Scores 0.25, and counts what it is asked."""

    name, categories, n = "counting@0", {CATEGORY}, 0

    def score(self, contents):
        self.n += len(contents)
        return [Scores({CATEGORY: 0.25}, self.name, applied={CATEGORY: {IMAGE}}) for _ in contents]


def test_what_was_scored_once_is_read(tmp_path):
    test = draw_split(SMALL, "balanced", "test")
    contents = [item.content for item in test]
    scorer = Counting()
    for _ in range(2):
        scores = Judge(SMALL, test, tmp_path).score([scorer, scorer], lambda: contents, CATEGORY, "complete")
        assert scores.tolist() == [[0.25] * 40] * 2
    assert scorer.n == 80
    Judge(SMALL, test, tmp_path).score([scorer, scorer], lambda: contents, CATEGORY, "image blur 1")
    assert scorer.n == 160
    Judge(SMALL, test[1:], tmp_path).score([scorer, scorer], lambda: contents[1:], CATEGORY, "complete")
    assert scorer.n == 238


def test_drivers_are_laid_out_text_first():
    class Run:
        explainer = Counting()

    drivers = find_drivers([Run(), Run()], draw_split(SMALL, "balanced", "test"))
    assert drivers.shape == (2, 40, 2)
    assert not drivers[..., 0].any()
    assert drivers[..., 1].all()


def test_the_recipe_of_the_repository_is_the_default(root):
    recipe = read_config(FusionExperiment, root / "recipes" / "fusion-experiment.toml")
    default = FusionExperiment()
    shares = {name: pytest.approx(value, abs=1e-3) for name, value in default.items.balanced.items()}
    assert recipe.items.balanced == shares
    assert replace(recipe, items=default.items) == default


@pytest.fixture
def root():
    from pathlib import Path

    return Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": ()}, "seeds are"),
        ({"seeds": (1, 1)}, "none twice"),
        ({"corrupted": 6}, "among 1, 2, 3, 4, 5"),
        ({"strengths": (0,)}, "among 1, 2, 3, 4, 5"),
        ({"threads": 0}, "below 1"),
    ],
)
def test_impossible_recipes(changes, message):
    with pytest.raises(ConfigError, match=message):
        FusionExperiment(**changes)


class Quiet:
    def __init__(self):
        self.phases = []

    def say(self, phase):
        self.phases.append(phase)

    def count(self, phase, done, total):
        if phase not in self.phases:
            self.phases.append(phase)


@pytest.mark.slow
def test_the_whole_experiment_and_again_from_what_is_kept(tmp_path):
    from gooseguard.experiment.fitting import FitConfig

    fit = FitConfig(epochs=1, batch=32, warmup=1)
    config = FusionExperiment(
        seeds=(0,),
        items=ItemsConfig(n_train=64, n_val=60, n_test=36),
        towers=TowersConfig(n_item=64, width=32, n_layer=1, n_head=2, patch=16, grid=2, n_text_layer=1,
                            vocab_size=300, text=fit, image=fit),
        heads=HeadsConfig(parameters=4000, n_head=2, fit=fit),
        strengths=(4,),
        n_resamples=30,
    )  # fmt: skip
    told = Quiet()
    document = tabulate(run_fusion(config, tmp_path, told))
    assert len([phase for phase in told.phases if phase.startswith("fit head")]) == 6
    # 2 trainings, 3 kinds, 4 cases, 4 conditions.
    assert len(document["table"]) == 96
    assert len(document["curves"]) == 3 * sum(map(len, KINDS.values()))
    assert {len(curve["points"]) for curve in document["curves"]} == {2}
    complete = {
        (row["fusion"], row["case"]): row for row in document["table"]
        if (row["training"], row["condition"]) == ("balanced", "complete")
    }  # fmt: skip
    for kind in FusionKind:
        # Strength 0 is the complete condition.
        curve = next(curve for curve in document["curves"] if curve["name"] == kind.value)
        assert curve["points"][0]["rates"] == {
            name: complete[kind.value, "any"][name] for name in curve["points"][0]["rates"]
        }
        assert (complete[kind.value, "any"]["n_positives"], complete[kind.value, "any"]["n_negatives"]) == (
            18,
            18,
        )
    # A score of an item without an image is that of its text: no head may see the other half.
    again = Quiet()
    found = run_fusion(config, tmp_path, again)
    assert [phase for phase in again.phases if phase.startswith(("fit", "teach"))] == []
    assert json.dumps(_timeless(tabulate(found))) == json.dumps(_timeless(document))
    made = write_fusion_report(found, document, tmp_path / "report")
    names = {
        "fusion.png",
        "examples.png",
        "report.md",
        "results.json",
        *(f"robustness-{x}.png" for x in ("auc", "fpr", "fnr")),
    }
    assert set(made) == names
    assert json.loads(made["results.json"].read_text("utf-8")) == document
    with pytest.raises(ArtefactError, match="another recipe"):
        run_fusion(replace(config, seed=1), tmp_path, Quiet())


def _timeless(document):
    return {**document, "heads": [{**row, "seconds": None} for row in document["heads"]]}


def test_labels_are_of_harmful_cases():
    items = draw_split(SMALL, "balanced", "test")
    assert fusion._labels(items).sum() == np.sum([item.case.value != "none" for item in items]) == 21
