"""The loop: its learning rates, its plan, what it learns, what it reports."""

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gooseguard.core.errors import ArtefactError  # noqa: E402
from gooseguard.metrics.ranking import roc_auc  # noqa: E402
from gooseguard.training.batches import pack  # noqa: E402
from gooseguard.training.loop import (  # noqa: E402
    LoopConfig,
    Phase,
    fit,
    learning_rate,
    predict,
)
from gooseguard.training.resume import ResumePoints  # noqa: E402

CONFIG = LoopConfig(
    phases=(Phase(4, 2e-2, 512, is_shallow=True), Phase(1.5, 1e-2, 512)),
    warmup=4,
    head_rate=1.0,
    token_dropout=0.05,
    bfloat16=False,
    validate_steps=10,
    threads=2,
)


def run(model, data, config, folder):
    """Fit; give the facts and everything that was reported."""
    reports = []
    facts = fit(model, data, config, ResumePoints(folder, "tiny"), reports.append)
    return facts, reports


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        # Linear over 10 steps, then a cosine over the 100 that are left, to 3 % of the peak.
        (0, 0.1),
        (4, 0.5),
        (9, 1.0),
        (10, 1.0),
        (35, 0.03 + 0.97 * (1 + math.sqrt(0.5)) / 2),
        (60, 0.515),
        (110, 0.03),
        (200, 0.03),
    ],
)
def test_learning_rate_by_hand(step, expected):
    assert learning_rate(step, 110, 2.0, 10) == pytest.approx(2.0 * expected, rel=1e-12)


def test_learning_rate_of_a_phase_that_is_all_warm_up():
    assert [learning_rate(step, 3, 1.0, 4) for step in range(3)] == [0.25, 0.5, 0.75]


def test_learns_the_signal_and_reports_every_step(make_trainee, make_set, tmp_path):
    model, data = make_trainee(), make_set(240)
    before = predict(model, data.val)
    facts, reports = run(model, data, CONFIG, tmp_path)
    assert [report.step for report in reports] == list(range(1, facts["steps"] + 1))
    assert {report.n_steps for report in reports} == {facts["steps"]}
    assert facts["resumed_at"] == 0
    assert facts["train_loss"] == reports[-1].loss
    assert facts["validation_loss"] == reports[-1].validation_loss
    assert reports[8].validation_loss is None
    assert reports[9].validation_loss is not None
    assert reports[-1].validation_loss < 0.7 * reports[9].validation_loss
    assert reports[-1].seconds_left == 0.0
    assert all(report.tokens_per_s > 0 for report in reports)
    after = predict(model, data.val)
    assert (before == 0).all()
    for k in range(2):
        assert roc_auc(data.val.labels[:, k], after[:, k]) > 0.95


def test_a_shallow_phase_leaves_the_blocks_alone(make_trainee, make_set, tmp_path):
    model, data = make_trainee(n_layer=2), make_set(60)
    config = replace(CONFIG, phases=CONFIG.phases[:1])
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    run(model, data, config, tmp_path)
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    # The norm after the embedding is the first block's by name.
    assert changed == {
        "model.backbone.emb.weight",
        "model.backbone.blocks.0.ln0.weight",
        "model.backbone.blocks.0.ln0.bias",
        "model.backbone.ln_out.weight",
        "model.backbone.ln_out.bias",
        "model.backbone.emb.ngrams",
        "model.categories.weight",
        "model.categories.bias",
        "source_offsets",
    }
    assert model.model.backbone.is_shallow is False


def test_a_full_phase_trains_everything(make_trainee, make_set, tmp_path):
    model, data = make_trainee(n_layer=2), make_set(60)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    run(model, data, replace(CONFIG, phases=(Phase(2, 1e-2, 128),)), tmp_path)
    assert [name for name, p in model.named_parameters() if torch.equal(p, before[name])] == [
        # Nothing is taught here.
        "teacher_offset"
    ]


def test_half_a_pass_is_half_the_steps_and_phases_differ(make_trainee, make_set, tmp_path):
    data = make_set(100)
    steps = {}
    for epochs in (1, 0.5, 2, 2.5):
        config = replace(CONFIG, phases=(Phase(epochs, 1e-3, 64, is_shallow=True),))
        steps[epochs] = run(make_trainee(), data, config, tmp_path / str(epochs))[0]["steps"]
    # Batches of an epoch differ a little in number, as rows of other lengths meet.
    assert steps[0.5] == math.ceil(steps[1] / 2)
    assert steps[2] == pytest.approx(2 * steps[1], rel=0.05)
    assert steps[2.5] == pytest.approx(2.5 * steps[1], rel=0.05)


def test_rows_without_repeats_are_not_learnt_from(make_trainee, make_set, tmp_path):
    data = make_set(40)
    poisoned = replace(data.targets, values=data.targets.values.copy())
    poisoned.values[20:] = np.nan
    repeats = np.where(np.arange(40) < 20, 1, 0)
    config = replace(CONFIG, phases=(Phase(1, 1e-3, 64, is_shallow=True),))
    facts, _ = run(make_trainee(), replace(data, targets=poisoned, repeats=repeats), config, tmp_path)
    assert math.isfinite(facts["train_loss"])


def test_a_loss_that_is_no_number_ends_the_run(make_trainee, make_set, tmp_path):
    data = make_set(20)
    data.targets.values[3] = np.nan
    with pytest.raises(ArtefactError, match=r"no number at step \d+; lower the recipe's learning_rate"):
        run(make_trainee(), data, CONFIG, tmp_path)


def test_no_labelled_validation_row_means_no_validation_loss(make_trainee, make_set, tmp_path):
    data = make_set(20)
    data.val.labels[:] = np.nan
    config = replace(CONFIG, phases=(Phase(1, 1e-3, 256, is_shallow=True),))
    facts, _ = run(make_trainee(), data, config, tmp_path)
    assert facts["validation_loss"] is None


def test_predict_gives_each_row_its_own_logits_whatever_the_batches(make_trainee, make_rows):
    rows = make_rows(30)
    ids = [rows.tokens[a:b] for a, b in zip(rows.offsets, rows.offsets[1:], strict=False)]
    ids[7] = ids[7][:0]
    rows = pack(ids, rows.labels)
    model = make_trainee()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    logits = predict(model, rows, batch_tokens=64)
    assert logits.dtype == np.float32
    # A text without tokens has no logits; it is not 0.
    assert np.isnan(logits[7]).all()
    with torch.inference_mode():
        for i, row in enumerate(ids):
            if i != 7:
                tokens = torch.from_numpy(row.astype(np.int64))[None]
                alone = model(tokens, torch.tensor([len(row)])).numpy()[0]
                np.testing.assert_allclose(logits[i], alone, rtol=0, atol=1e-5)


def test_a_phase_that_holds_the_embedding_trains_all_but_it(make_trainee, make_set, tmp_path):
    trainee, data = make_trainee(), make_set(120)
    embedding = trainee.model.backbone.emb
    before = {name: tensor.clone() for name, tensor in trainee.state_dict().items()}
    config = replace(CONFIG, phases=(Phase(1, 1e-2, 512, holds_embedding=True),))
    run(trainee, data, config, tmp_path)
    changed = {name for name, tensor in trainee.state_dict().items() if not torch.equal(tensor, before[name])}
    assert not any(".emb." in name for name in changed)
    assert {"model.backbone.blocks.0.att.output.weight", "model.categories.weight"} <= changed
    assert all(parameter.requires_grad for parameter in embedding.parameters())
