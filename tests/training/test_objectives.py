"""Targets and losses, worked by hand."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gooseguard.training.objectives import category_weights, make_targets, weighted_bce  # noqa: E402

NAN = math.nan


def test_category_weights_by_hand():
    labels = np.full((10, 3), NAN, np.float32)
    labels[:8, 0] = 0
    labels[3, 1] = 1
    # 8^(-1/3) = 1/2 and 1^(-1/3) = 1; the mean over 9 annotations is (8/2 + 1) / 9 = 5/9, so times 9/5.
    np.testing.assert_allclose(category_weights(labels), [0.9, 1.8, 0.0], rtol=1e-6)


def test_category_weights_have_mean_one_over_all_annotations():
    rng = np.random.default_rng(0)
    labels = np.where(rng.random((5000, 4)) < [0.9, 0.3, 0.01, 0.0], 1.0, NAN).astype(np.float32)
    weights, counts = category_weights(labels), (~np.isnan(labels)).sum(0)
    assert weights.dtype == np.float32
    assert math.isclose(float((weights * counts).sum() / counts.sum()), 1.0, rel_tol=1e-6)
    assert weights[0] < weights[1] < weights[2]
    assert weights[3] == 0.0


def test_no_annotation_at_all_weighs_nothing():
    np.testing.assert_array_equal(category_weights(np.full((4, 2), NAN, np.float32)), [0.0, 0.0])


LABELS = np.array([[1.0, NAN], [NAN, 0.25], [NAN, NAN]], np.float32)


SOURCES = np.array([2, 0, 1])


def test_targets_of_labels_alone():
    targets = make_targets(LABELS, SOURCES)
    np.testing.assert_array_equal(targets.values, [[1.0, 0.0], [0.0, 0.25], [0.0, 0.0]])
    np.testing.assert_array_equal(targets.weights, [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    assert not targets.is_taught.any()
    np.testing.assert_array_equal(targets.sources, SOURCES)
    assert targets.values.dtype == targets.weights.dtype == np.float32


def test_a_teacher_speaks_only_where_nobody_annotated():
    teacher = np.array([[0.125, 0.5], [0.75, 0.875], [NAN, 0.0625]], np.float32)
    targets = make_targets(LABELS, SOURCES, teacher, 0.5)
    np.testing.assert_array_equal(targets.values, [[1.0, 0.5], [0.75, 0.25], [0.0, 0.0625]])
    np.testing.assert_array_equal(targets.weights, [[1.0, 0.5], [0.5, 1.0], [0.0, 0.5]])
    np.testing.assert_array_equal(targets.is_taught, [[False, True], [True, False], [False, True]])


def test_a_teacher_without_weight_changes_no_loss():
    teacher = np.full(LABELS.shape, 0.5, np.float32)
    expected = make_targets(LABELS, SOURCES).weights
    np.testing.assert_array_equal(make_targets(LABELS, SOURCES, teacher).weights, expected)


def test_loss_by_hand():
    logits = torch.tensor([[0.0, math.log(3)], [-math.log(3), 50.0]])
    values = torch.tensor([[1.0, 0.5], [0.0, 1.0]])
    weights = torch.tensor([[2.0, 1.0], [0.5, 1.0]])
    # Scores are 1/2, 3/4, 1/4 and all but 1.
    expected = 2 * math.log(2) - 0.5 * (math.log(3 / 4) + math.log(1 / 4)) - 0.5 * math.log(3 / 4)
    assert math.isclose(weighted_bce(logits, values, weights).item(), expected, rel_tol=1e-6)


def test_gradient_is_weight_times_score_minus_value():
    logits = torch.tensor([[0.0, math.log(3)], [1.0, 2.0]], requires_grad=True)
    labels = np.array([[1.0, 0.5], [NAN, NAN]], np.float32)
    targets = make_targets(labels, np.zeros(2, np.int64))
    values, weights = torch.from_numpy(targets.values), torch.from_numpy(targets.weights)
    weighted_bce(logits, values, weights).backward()
    np.testing.assert_allclose(logits.grad.numpy(), [[-0.5, 0.25], [0.0, 0.0]], atol=1e-7)


def test_what_nobody_annotated_carries_no_loss_however_wrong():
    targets = make_targets(LABELS, SOURCES)
    values, weights = torch.from_numpy(targets.values), torch.from_numpy(targets.weights)
    right = torch.tensor([[100.0, 0.0], [0.0, math.log(1 / 3)], [0.0, 0.0]])
    wrong = torch.where(weights > 0, right, torch.full_like(right, 1e4))
    assert weighted_bce(wrong, values, weights).item() == weighted_bce(right, values, weights).item()
