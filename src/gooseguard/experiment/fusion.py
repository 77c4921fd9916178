"""Early against late against asymmetric fusion, complete and with modalities missing or corrupted.

On the controlled benchmark of `scenes.py`: two towers are taught once, then heads of each kind are fitted on
balanced and on imbalanced items, on equal budgets, with several seeds. Thresholds come from validation items;
test items are scored last. Everything that was done is kept, so that a run that was stopped goes on.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from gooseguard.core.content import Modality
from gooseguard.core.errors import ConfigError
from gooseguard.core.manifest import canonical_json
from gooseguard.core.scorer import Scores
from gooseguard.evaluation.cache import ScoreKey, read_arrays, write_arrays
from gooseguard.evaluation.corruption import ABSENT, KINDS, REPLACED, STRENGTHS, Degradation, degrade
from gooseguard.evaluation.robustness import RobustnessConfig, Runs, measure_robustness, score_runs
from gooseguard.experiment.fusion_heads import CATEGORY, HeadsConfig, encode_items, fit_head, plan_head
from gooseguard.experiment.scenes import HARMFUL, draw_items
from gooseguard.experiment.towers import TowersConfig, teach_towers
from gooseguard.metrics.resampling import N_RESAMPLES
from gooseguard.models.fusion import FusionKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from gooseguard.core.content import Content
    from gooseguard.core.scorer import Scorer
    from gooseguard.evaluation.robustness import Curve, MakeContents
    from gooseguard.experiment.fusion_heads import Fitted
    from gooseguard.experiment.scenes import Item
    from gooseguard.training.loop import Progress, Reporter

CONDITIONS = ("complete", "text missing", "image missing", "corrupted")
"""What test items are scored as."""

TRAININGS = ("balanced", "imbalanced")
"""What heads are fitted on."""

CACHE_BYTES = 1 << 28
"""Of features that each encoder keeps: all items of one condition."""

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class ItemsConfig:
    """Items that heads see."""

    n_train: int = 4000
    """Of each training."""
    n_val: int = 1000
    """Of each training, in its own shares."""
    n_test: int = 720
    """In balanced shares, the same for both trainings."""
    balanced: dict[str, float] = field(
        default_factory=lambda: {"text": 1 / 6, "image": 1 / 6, "combination": 1 / 6}
    )
    """Shares of the harmful cases; the rest is harmless."""
    imbalanced: dict[str, float] = field(
        default_factory=lambda: {"text": 0.06, "image": 0.04, "combination": 0.02}
    )
    """The same, rarer, and rarest where both are needed."""


@dataclass(frozen=True, slots=True)
class FusionExperiment:
    """The recipe."""

    name: str = "fusion-experiment"
    """Of the run's folder."""
    seed: int = 0
    """Of items, towers, damage and resamples."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Of heads: one run each."""
    items: ItemsConfig = field(default_factory=ItemsConfig)
    """The benchmark."""
    towers: TowersConfig = field(default_factory=TowersConfig)
    """What heads read."""
    heads: HeadsConfig = field(default_factory=HeadsConfig)
    """What is compared."""
    corrupted: int = 3
    """Strength at which the condition `corrupted` damages picture and caption."""
    strengths: tuple[int, ...] = STRENGTHS
    """Of the curves; without any there are none."""
    n_resamples: int = N_RESAMPLES
    """Of the intervals."""
    threads: int = 1
    """Of torch: the matrices are too small for more."""

    def __post_init__(self) -> None:
        findings = []
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            findings.append(f"seeds are {list(self.seeds)}, expected one at least, none twice")
        if not {self.corrupted, *self.strengths} <= set(STRENGTHS):
            findings.append(f"corrupted and strengths must be among {', '.join(map(str, STRENGTHS))}")
        if min(self.items.n_train, self.items.n_val, self.items.n_test, self.n_resamples, self.threads) < 1:
            findings.append("a number below 1")
        if findings:
            raise ConfigError(f"recipe: {'; '.join(findings)}")


class Listener(Protocol):
    """Who is told where the experiment stands."""

    def say(self, phase: str) -> None:
        """Begin a phase."""

    def count(self, phase: str, done: int, total: int) -> None:
        """Say how far a phase is."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Everything that was scored, before anything is counted."""

    config: FusionExperiment
    """As it ran."""
    cases: NDArray[np.str_]
    """(n,), where the harm of each test item lies."""
    heads: Mapping[tuple[str, FusionKind], Sequence[Fitted]]
    """Training and kind to the runs."""
    scores: Mapping[tuple[str, FusionKind, str], NDArray[np.float32]]
    """Training, kind and condition to scores, float32, (R, n)."""
    drivers: Mapping[FusionKind, NDArray[np.bool_]]
    """Of complete test items, balanced training: bool, (R, n, 2), whether text and image drove the score."""
    curves: Sequence[Curve]
    """Balanced training, over all harmful cases."""
    facts: Mapping[str, Any]
    """Counts, sizes and times."""


def run_fusion(config: FusionExperiment, folder: Path, listener: Listener) -> Found:
    """Run the experiment, or what of it `folder` does not hold yet.

    Args:
        config: the recipe.
        folder: of what is kept; made.
        listener: told where it stands.

    Raises:
        ArtefactError: `folder` holds what another recipe began.
        ConfigError: the recipe asks for what cannot be.
    """
    torch.set_num_threads(config.threads)
    listener.say("draw items, teach towers")
    towers = teach_towers(
        config.towers, config.seed, folder / "towers", lambda phase: _reporter(listener, phase)
    )
    encoders = towers.encoders(CACHE_BYTES)
    heads: dict[tuple[str, FusionKind], list[Fitted]] = {}
    plans = {kind: plan_head(kind, encoders, config.heads) for kind in FusionKind}
    total, done = len(TRAININGS) * len(FusionKind) * len(config.seeds), 0
    for training in TRAININGS:
        listener.say(f"encode {training} items")
        sides = tuple(
            encode_items(encoders, [item.content for item in items], _labels(items))
            for items in (draw_split(config, training, split) for split in SPLITS[:2])
        )
        for kind in FusionKind:
            for seed in config.seeds:
                done += 1
                report = _reporter(listener, f"fit head {done} of {total}: {kind}, {training}, seed {seed}")
                work = folder / "heads" / f"{training}-{kind}-{seed}"
                fitted = fit_head(
                    plans[kind], seed, (sides[0], sides[1]), encoders, config.heads, work, report
                )
                heads.setdefault((training, kind), []).append(fitted)
    # Only from here on is a test item looked at.
    test = draw_split(config, "balanced", "test")
    judge = Judge(config, test, folder / "scores")
    scores = {}
    for condition, make in make_conditions(test, config).items():
        for place, ((training, kind), runs) in enumerate(heads.items()):
            listener.count(f"score test items, {condition}", place, len(heads))
            scores[training, kind, condition] = judge.score(
                [run.scorer for run in runs], make, CATEGORY, condition
            )
        listener.count(f"score test items, {condition}", len(heads), len(heads))
    return Found(
        config,
        np.array([item.case.value for item in test]),
        heads,
        scores,
        {kind: find_drivers(heads["balanced", kind], test) for kind in FusionKind},
        draw_curves(config, heads, test, judge, listener),
        {"widths": {kind.value: plan.width for kind, plan in plans.items()}},
    )


def draw_split(config: FusionExperiment, training: str, split: str) -> list[Item]:
    """Draw the items of a split in the shares of a training; each has a seed of its own."""
    shares = config.items.balanced if training == "balanced" else config.items.imbalanced
    count = {name: getattr(config.items, f"n_{name}") for name in SPLITS}[split]
    # 0 draws what the towers learn from.
    number = 1 + len(SPLITS) * TRAININGS.index(training) + SPLITS.index(split)
    return draw_items(count, shares, np.random.default_rng([config.seed, number]))


def _labels(items: Sequence[Item]) -> NDArray[np.float32]:
    return np.array([item.case in HARMFUL for item in items], np.float32)


def make_conditions(test: Sequence[Item], config: FusionExperiment) -> dict[str, MakeContents]:
    """Give what makes test items of each condition, once; those that lack a modality keep the other."""
    contents = [item.content for item in test]
    missing = {
        f"{modality} missing": cache(
            partial(degrade, contents, Degradation(modality, ABSENT, STRENGTHS[-1]), config.seed)
        )
        for modality in (Modality.TEXT, Modality.IMAGE)
    }
    corrupted = cache(partial(corrupt_both, contents, config.corrupted, config.seed))
    return {"complete": lambda: contents, **missing, "corrupted": corrupted}


def corrupt_both(contents: Sequence[Content], strength: int, seed: int) -> list[Content]:
    """Damage picture and caption of each item, each in one way that is drawn for it, all ways as often."""
    rng = np.random.default_rng([seed, strength])
    damaged = list(contents)
    for modality, kinds in KINDS.items():
        ways = [kind for kind in kinds if kind not in (ABSENT, REPLACED)]
        drawn = rng.permutation(len(damaged)) % len(ways)
        for number, kind in enumerate(ways):
            rows = np.flatnonzero(drawn == number).tolist()
            given = degrade([damaged[row] for row in rows], Degradation(modality, kind, strength), seed)
            for row, content in zip(rows, given, strict=True):
                assert content is not None
                damaged[row] = content
    return damaged


class Judge:
    """Scores test items, and keeps the scores: what was scored once is read."""

    def __init__(self, config: FusionExperiment, test: Sequence[Item], folder: Path) -> None:
        """Take the items, and where scores are kept."""
        self._folder = folder
        digests = [item.content.digest() for item in test]
        self._digest = hashlib.sha256(canonical_json([digests, config.seed]).encode()).hexdigest()

    def score(
        self, scorers: Sequence[Scorer], make: MakeContents, category: str, condition: str
    ) -> NDArray[np.float32]:
        """Give scores, float32, (R, n), of what `make` gives: what `condition` makes of the test items."""
        names = ",".join(scorer.name for scorer in scorers)
        key = ScoreKey(names, self._digest, condition, (category,))
        path = self._folder / key.file_name("scores")
        kept = read_arrays(path, key)
        if kept is not None:
            return kept["scores"]
        scores = score_runs(scorers, make(), category)
        self._folder.mkdir(parents=True, exist_ok=True)
        write_arrays(path, key, {"scores": scores})
        return scores


def find_drivers(runs: Sequence[Fitted], test: Sequence[Item]) -> NDArray[np.bool_]:
    """Tell which modalities drove the score of each complete item, bool, (R, n, 2): text, image."""
    order = (Modality.TEXT, Modality.IMAGE)
    found = np.zeros((len(runs), len(test), 2), bool)
    for number, run in enumerate(runs):
        for row, scores in enumerate(run.explainer.score([item.content for item in test])):
            assert isinstance(scores, Scores)
            found[number, row] = [modality in scores.applied[CATEGORY] for modality in order]
    return found


def draw_curves(
    config: FusionExperiment,
    heads: Mapping[tuple[str, FusionKind], Sequence[Fitted]],
    test: Sequence[Item],
    judge: Judge,
    listener: Listener,
) -> list[Curve]:
    """Measure the heads of balanced training under every kind of damage."""
    if not config.strengths:
        return []
    groups = [
        Runs(
            kind.value,
            [run.scorer for run in heads["balanced", kind]],
            [run.threshold for run in heads["balanced", kind]],
        )
        for kind in FusionKind
    ]
    measured = RobustnessConfig(KINDS, config.strengths, config.n_resamples, config.seed)
    return measure_robustness(
        groups,
        [item.content for item in test],
        _labels(test),
        CATEGORY,
        measured,
        lambda done, total: listener.count("score damaged test items", done, total),
        judge.score,
    )


def _reporter(listener: Listener, phase: str) -> Reporter:
    def report(progress: Progress) -> None:
        listener.count(phase, progress.step, progress.n_steps)

    return report


def describe(config: FusionExperiment) -> dict[str, Any]:
    """Give the recipe, JSON-ready."""
    return asdict(config)
