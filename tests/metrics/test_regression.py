"""The strength of regularisation is the one that ranks held-out rows best, or the middle one."""

from typing import NamedTuple

import numpy as np
import pytest

pytest.importorskip("sklearn")

from scipy import sparse

from gooseguard.metrics.regression import (
    HeldOutFeatures,
    choose_strength,
    fit_regression,
    has_both_classes,
    middle_strength,
)

WANTED = "a test needs"


class Settings(NamedTuple):
    strengths: tuple[float, ...] = (1e-4, 1.0, 100.0)
    n_choosing: int = 1000
    max_iterations: int = 200
    tolerance: float = 1e-6
    seed: int = 0


def rows(n, seed):
    """Make two features: a faint one that is always right, and a loud one that is right in training only."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.5).astype(np.float32)
    sign = labels * 2 - 1
    loud = sign if seed == 0 else rng.permutation(sign)
    return sparse.csr_matrix(np.stack([0.05 * sign, 3 * loud], axis=1)), labels


def held_out(labels=None):
    features, own = rows(300, 1)
    return HeldOutFeatures(features, own if labels is None else labels, np.array(["one"] * 300))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([0, 0, 1, 1], True), ([0, 0, 1, np.nan], False), ([0.5, 0.6, 0.4, 0.1], True), ([], False)],
)
def test_classes_by_hand(labels, expected):
    assert has_both_classes(np.array(labels, np.float32)) is expected


def test_a_fit_ranks_what_it_was_fitted_on():
    features, labels = rows(200, 0)
    logits = fit_regression(features, labels, 1.0, Settings(), WANTED).decision_function(features)
    assert logits[labels == 1].min() > logits[labels == 0].max()


def test_the_chosen_strength_ranks_best_on_held_out_rows():
    features, labels = rows(300, 0)
    found = choose_strength(features, labels, held_out(), Settings(), WANTED)
    aucs = {}
    for strength in Settings().strengths:
        logits = fit_regression(features, labels, strength, Settings(), WANTED).decision_function(
            held_out().features
        )
        positive = held_out().labels == 1
        aucs[strength] = (logits[positive][:, None] > logits[~positive]).mean()
    assert aucs[found] == max(aucs.values())


def test_without_anything_to_choose_by_it_is_the_middle_one():
    features, labels = rows(50, 0)
    assert middle_strength(Settings()) == 1.0
    nobody = np.full(300, np.nan, np.float32)
    assert choose_strength(features, labels, held_out(nobody), Settings(), WANTED) == 1.0
    assert choose_strength(features, np.ones(50, np.float32), held_out(), Settings(), WANTED) == 1.0
    assert choose_strength(features, labels, held_out(), Settings((7.0,)), WANTED) == 7.0
