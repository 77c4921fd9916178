"""The student's loop: it learns from labels, scores and features, reports, resumes, and ends on NaN."""

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gooseguard.core.errors import ArtefactError  # noqa: E402
from gooseguard.metrics.ranking import roc_auc  # noqa: E402
from gooseguard.training.lessons import Taught  # noqa: E402
from gooseguard.training.loop import LoopConfig, Phase, predict  # noqa: E402
from gooseguard.training.resume import ResumePoints  # noqa: E402
from gooseguard.training.student import Student, TeachConfig, make_goals  # noqa: E402
from gooseguard.training.student_loop import StudySet, fit_student, validation_loss  # noqa: E402

CONFIG = LoopConfig(
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
    return StudySet(rows, make_goals(rows.labels, taught, teach), np.ones(n, np.int64), make_rows(100, 1000))


def run(model, data, teach, folder, config=CONFIG, width=1, stop_after=None):
    student, reports = Student(model, teach, width), []

    def report(progress):
        reports.append(progress)
        if progress.step == stop_after:
            raise KeyboardInterrupt

    try:
        facts = fit_student(student, data, config, ResumePoints(folder, "tiny"), report)
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
        facts["validation_loss"] == reports[-1].validation_loss == validation_loss(student, data.val, CONFIG)
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
    config = replace(CONFIG, phases=(Phase(2, 1e-2, 512),))
    _, reports, _ = run(make_model(), data, teach, tmp_path, config, width=3)
    # The cosine distance, which begins at about 1.
    assert reports[-1].loss < 0.9 * reports[0].loss


def test_a_run_that_was_stopped_ends_as_one_that_was_not(make_model, make_rows, tmp_path):
    teach = TeachConfig()
    config, data = replace(CONFIG, resume_s=0.0), study(make_rows, teach, n=60)
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
    data.goals.labels[3] = math.nan
    with pytest.raises(ArtefactError, match=r"no number at step \d+; lower the phase's learning_rate"):
        run(make_model(), data, teach, tmp_path)


def test_no_labelled_validation_row_means_no_validation_loss(make_model, make_rows):
    rows = make_rows(10)
    rows.labels[:] = np.nan
    assert validation_loss(Student(make_model(), TeachConfig(), 1), rows, CONFIG) is None
