"""What a student learns: goals and losses by hand."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gooseguard.core.errors import ConfigError  # noqa: E402
from gooseguard.training.lessons import Taught  # noqa: E402
from gooseguard.training.student import Student, TeachConfig, make_goals  # noqa: E402

NAN = float("nan")
# Two rows annotated in the first category, none in the second: its weight is 1, and there is no other.
LABELS = np.array([[1, NAN], [0, NAN], [NAN, NAN]], np.float32)
SCORES = np.array([[0.8, 0.6], [NAN, 0.0], [0.5, NAN]], np.float32)
TAUGHT = Taught(SCORES, None, 3, 0, 0)


def logit(p):
    return math.log(p / (1 - p))


def test_goals_by_hand():
    goals = make_goals(LABELS, TAUGHT, TeachConfig(mixing=0.25, unlabelled_weight=0.5))
    np.testing.assert_array_equal(goals.labels, [[1, 0], [0, 0], [0, 0]])
    # Where the teacher says nothing, the label has all of its weight.
    np.testing.assert_allclose(goals.label_weights, [[0.75, 0], [1, 0], [0, 0]])
    np.testing.assert_allclose(goals.soft_weights, [[0.25, 0.5], [0, 0.5], [0.5, 0]])
    # A score of 0 is kept at 0.0001.
    np.testing.assert_allclose(
        goals.soft, [[logit(0.8), logit(0.6)], [0, logit(1e-4)], [0, 0]], rtol=1e-4, atol=1e-7
    )
    assert goals.features is None


def test_without_a_teacher_labels_have_all_their_weight():
    goals = make_goals(LABELS, None, TeachConfig())
    np.testing.assert_allclose(goals.label_weights, [[1, 0], [1, 0], [0, 0]])
    assert not goals.soft_weights.any()


def bce(z, p):
    """Give the cross-entropy of a logit with a probability."""
    q = 1 / (1 + math.exp(-z))
    return -(p * math.log(q) + (1 - p) * math.log(1 - q))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_loss_by_hand(make_model, temperature):
    config = TeachConfig(mixing=0.25, unlabelled_weight=0.5, temperature=temperature)
    student = Student(make_model(), config, 1)
    z = np.array([[0.3, -1.0], [2.0, 0.5]])
    found = student.loss(
        torch.tensor(z, dtype=torch.float32), None, make_goals(LABELS, TAUGHT, config), np.array([0, 1])
    )
    T = temperature

    def soft(z, p):
        return T * T * bce(z / T, 1 / (1 + math.exp(-logit(p) / T)))

    expected = 0.75 * bce(0.3, 1) + bce(2.0, 0)
    expected += 0.25 * soft(0.3, 0.8) + 0.5 * soft(-1.0, 0.6) + 0.5 * soft(0.5, 1e-4)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_hidden_features_by_hand(make_model):
    config = TeachConfig(mixing=0, unlabelled_weight=0, hidden_weight=2.0, layers=((5, 0), (9, 1)))
    student = Student(make_model(n_layer=2), config, 2)
    wanted = np.array([[[1, 0], [0, 3]], [[NAN, NAN], [1, 1]]], np.float32)
    taught = Taught(np.full((2, 2), NAN, np.float32), wanted, 2, 0, 0)
    own = torch.tensor([[[2.0, 0.0], [1.0, 0.0]], [[1.0, 1.0], [3.0, 3.0]]])
    goals = make_goals(np.full((2, 2), NAN, np.float32), taught, config)
    found = student.loss(torch.zeros(2, 2), own, goals, np.array([0, 1]))
    # Cosines 1 and 0 in the first row; nothing and 1 in the second: 2 * (0 + 1 + 0) / 2 layers.
    assert found.item() == pytest.approx(1.0, abs=1e-6)


def test_features_are_the_student_s_own_through_the_projections(make_model):
    config = TeachConfig(hidden_weight=1.0, layers=((3, 1), (0, 0)))
    model = make_model(n_layer=2)
    student = Student(model, config, 5, seed=1)
    tokens, lengths = torch.tensor([[5, 6, 7, 0], [9, 9, 9, 9]]), torch.tensor([3, 4])
    logits, features = student(tokens, lengths)
    assert torch.equal(logits, model(tokens, lengths))
    assert features.shape == (2, 2, 5)
    features.sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in student.projections)
    model.backbone.is_shallow = True
    assert student(tokens, lengths)[1] is None
    # Only the model is kept: its names are what a checkpoint holds.
    assert not [name for name in model.state_dict() if "projection" in name]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixing": 1.5}, "mixing is 1.5, expected 0 to 1"),
        ({"temperature": 0.0}, "temperature is 0.0, expected more than 0"),
        ({"unlabelled_weight": -1.0}, "unlabelled_weight is -1.0, expected at least 0"),
        ({"hidden_weight": 1.0}, "layers and hidden_weight go together"),
        ({"layers": ((0, 0),)}, "layers and hidden_weight go together"),
        ({"layers": ((0, 0, 1),), "hidden_weight": 1.0}, "layers must be pairs"),
    ],
)
def test_configs_that_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        TeachConfig(**options)


def test_a_layer_that_the_student_lacks(make_model):
    with pytest.raises(ConfigError, match="layer 1 of the student: expected 0 to 0"):
        Student(make_model(), TeachConfig(hidden_weight=1.0, layers=((0, 1),)), 4)
