"""What a student learns: goals and losses by hand; the loop fits it to labels, scores and features."""

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gooseguard.core.errors import ArtefactError, ConfigError  # noqa: E402
from gooseguard.metrics.ranking import roc_auc  # noqa: E402
from gooseguard.training.lessons import Taught  # noqa: E402
from gooseguard.training.loop import (  # noqa: E402
    LoopConfig,
    Phase,
    TrainingSet,
    fit,
    predict,
    validation_loss,
)
from gooseguard.training.resume import ResumePoints  # noqa: E402
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
        (torch.tensor(z, dtype=torch.float32), None), make_goals(LABELS, TAUGHT, config), np.array([0, 1])
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
    found = student.loss((torch.zeros(2, 2), own), goals, np.array([0, 1]))
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


LOOP = LoopConfig(
    phases=(Phase(6, 2e-2, 512, is_shallow=True), Phase(1, 1e-2, 512)),
    warmup=4,
    head_rate=1.0,
    token_dropout=0.05,
    bfloat16=False,
    validate_steps=10,
    threads=1,
)


@pytest.fixture(autouse=True)
def _same_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def study(make_rows, teach, labels=None, taught=None, n=200):
    rows = make_rows(n)
    rows = rows if labels is None else replace(rows, labels=labels)
    goals = make_goals(rows.labels, taught, teach)
    return TrainingSet(rows, goals, np.ones(n, np.int64), make_rows(100, 1000))


def run(model, data, teach, folder, config=LOOP, width=1, stop_after=None):
    student, reports = Student(model, teach, width), []

    def report(progress):
        reports.append(progress)
        if progress.step == stop_after:
            raise KeyboardInterrupt

    try:
        facts = fit(student, data, config, ResumePoints(folder, "tiny"), report)
    except KeyboardInterrupt:
        facts = None
    return facts, reports, student


def check_learnt(model, val):
    logits = predict(model, val)
    for k in range(2):
        assert roc_auc(val.labels[:, k], logits[:, k]) > 0.9


def test_it_learns_from_labels_alone_and_reports_every_step(make_model, make_rows, tmp_path):
    teach = TeachConfig()
    data = study(make_rows, teach)
    facts, reports, student = run(make_model(), data, teach, tmp_path)
    assert [report.step for report in reports] == list(range(1, facts["steps"] + 1))
    assert reports[8].validation_loss is None
    assert (
        facts["validation_loss"]
        == reports[-1].validation_loss
        == validation_loss(student.model, data.val, LOOP)
    )
    assert student.model.backbone.is_shallow is False
    check_learnt(student.model, data.val)


def test_it_learns_from_a_teacher_alone(make_model, make_rows, tmp_path):
    teach = TeachConfig(temperature=2.0)
    truth = np.nan_to_num(make_rows(200).labels, nan=0.5)
    taught = Taught((0.1 + 0.8 * truth).astype(np.float32), None, 200, 0, 0)
    nobody = np.full((200, 2), np.nan, np.float32)
    data = study(make_rows, teach, nobody, taught)
    _, _, student = run(make_model(), data, teach, tmp_path)
    check_learnt(student.model, data.val)


def test_it_learns_features(make_model, make_rows, tmp_path):
    teach = TeachConfig(mixing=0.0, unlabelled_weight=0.0, hidden_weight=1.0, layers=((0, 0),))
    features = np.random.default_rng(0).normal(size=(1, 1, 3)).astype(np.float32).repeat(200, 0)
    taught = Taught(np.full((200, 2), np.nan, np.float32), features, 200, 0, 0)
    nobody = np.full((200, 2), np.nan, np.float32)
    data = study(make_rows, teach, nobody, taught)
    config = replace(LOOP, phases=(Phase(2, 1e-2, 512),))
    _, reports, _ = run(make_model(), data, teach, tmp_path, config, width=3)
    # The cosine distance, which begins at about 1.
    assert reports[-1].loss < 0.9 * reports[0].loss


def test_a_run_that_was_stopped_ends_as_one_that_was_not(make_model, make_rows, tmp_path):
    teach = TeachConfig()
    config, data = replace(LOOP, resume_s=0.0), study(make_rows, teach, n=60)
    _, reports, whole = run(make_model(), data, teach, tmp_path / "whole", config)
    facts, first, _ = run(make_model(), data, teach, tmp_path / "stopped", config, stop_after=5)
    assert facts is None
    facts, rest, resumed = run(make_model(), data, teach, tmp_path / "stopped", config)
    assert facts["resumed_at"] == 5
    assert [r.loss for r in [*first, *rest]] == pytest.approx([r.loss for r in reports], rel=1e-6)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_loss_that_is_no_number_ends_the_run(make_model, make_rows, tmp_path):
    teach = TeachConfig()
    data = study(make_rows, teach, n=20)
    data.targets.labels[3] = math.nan
    with pytest.raises(ArtefactError, match=r"no number at step \d+; lower the recipe's learning_rate"):
        run(make_model(), data, teach, tmp_path)
