"""The loop of fine-tuning: its loss by hand, what parts and checkpoints leave alone, and resuming."""

import importlib.util
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gooseguard.core.errors import ArtefactError, ConfigError  # noqa: E402
from gooseguard.models.adapter import InitialStates  # noqa: E402
from gooseguard.models.lora import LoraConfig, attach_lora  # noqa: E402
from gooseguard.models.official import load_official  # noqa: E402
from gooseguard.training.answer_loop import (  # noqa: E402
    POSITIONS,
    AnswerLoss,
    Precision,
    TuneConfig,
    TuneSet,
    tune,
)
from gooseguard.training.answers import pad_rows  # noqa: E402
from gooseguard.training.processes import Processes  # noqa: E402
from gooseguard.training.resume import ResumePoints  # noqa: E402

HERE = Path(__file__).parent


def _load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tiny = _load("tiny_base", HERE.parent / "contracts" / "tiny_base.py")
two = _load("two_processes", HERE / "two_processes.py")

CONFIG = TuneConfig(
    epochs=3, learning_rate=2e-2, warmup=2, step_rows=6, part_tokens=512, precision=Precision.F32,
    is_checkpointed=False, validate_steps=4,
)  # fmt: skip
ALONE = Processes(0, 1, torch.device("cpu"))


def make_loss(**options):
    return AnswerLoss(attach_lora(tiny.make_base(), LoraConfig(rank=4)), **options)


@pytest.fixture(autouse=True)
def _one_thread():
    """Tiny products: more threads would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(folder, config=CONFIG, loss=None, train=None, stop_after=None):
    """Fit; gives the facts, the reports, and what was fitted."""
    loss = loss or make_loss()
    reports = []

    def report(progress):
        reports.append(progress)
        if progress.step == stop_after:
            raise KeyboardInterrupt

    data = TuneSet(two.make_rows(24) if train is None else train, two.make_rows(7))
    try:
        facts = tune(loss, data, config, ResumePoints(folder, "tiny"), report, ALONE)
    except KeyboardInterrupt:
        facts = None
    return facts, reports, loss


def batch(rows, index=(0, 3, 4)):
    return [torch.from_numpy(x) for x in pad_rows(rows, np.array(index))]


def test_the_loss_by_hand():
    rows = two.make_rows(6)
    loss = make_loss()
    tokens, is_answer, lengths = batch(rows)
    found = loss(tokens, is_answer, lengths).item()
    expected = 0.0
    with torch.no_grad():
        for row in (0, 3, 4):
            span = slice(rows.offsets[row], rows.offsets[row + 1])
            ids = torch.from_numpy(rows.tokens[span].astype(np.int64))
            logits = loss.model.logits(loss.model(ids[None])[0])[0].double().numpy()
            log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
            for place in np.flatnonzero(rows.is_answer[span]):
                expected -= log_probs[place - 1, ids[place]]
    assert found == pytest.approx(expected, rel=1e-5)


def test_only_answers_are_learnt():
    """Another question with the same tokens before the answer's end changes nothing but what is read."""
    rows = two.make_rows(6)
    loss = make_loss()
    tokens, is_answer, lengths = batch(rows, (0,))
    loss(tokens, torch.zeros_like(is_answer), lengths)
    assert loss(tokens, torch.zeros_like(is_answer), lengths).item() == 0
    loss(tokens, is_answer, lengths).backward()
    assert all(p.grad is not None for p in loss.learnt)
    assert all(p.grad is None for p in loss.parameters() if not p.requires_grad)


@pytest.mark.parametrize("version", ["x052", "x060", "x070"])
@pytest.mark.parametrize("method", ["lora", "state"])
def test_checkpoints_change_no_gradient(version, method):
    gradients = []
    for is_checkpointed in (False, True):
        model = tiny.make_base(version)
        states = None
        if method == "lora":
            tiny.shake(attach_lora(model, LoraConfig(rank=4)))
        else:
            states = InitialStates(model)
        loss = AnswerLoss(model, states, is_checkpointed=is_checkpointed)
        loss(*batch(two.make_rows(6))).backward()
        gradients.append([p.grad for p in loss.learnt])
    for plain, checkpointed in zip(*gradients, strict=True):
        assert plain.abs().max() > 0
        torch.testing.assert_close(checkpointed, plain, rtol=1e-5, atol=1e-6)


def test_logits_are_made_in_pieces(monkeypatch):
    loss, arguments = make_loss(), batch(two.make_rows(6))
    whole = loss(*arguments).item()
    assert arguments[1].sum() < POSITIONS
    monkeypatch.setattr("gooseguard.training.answer_loop.POSITIONS", 5)
    assert loss(*arguments).item() == pytest.approx(whole, rel=1e-6)


def test_it_learns_and_reports_every_step(tmp_path):
    facts, reports, loss = run(tmp_path, replace(CONFIG, epochs=8))
    assert facts["steps"] == 32
    assert [report.step for report in reports] == list(range(1, 33))
    assert reports[2].validation_loss is None
    assert reports[-1].validation_loss < 0.4 * reports[0].loss
    assert facts["validation_loss"] == reports[-1].validation_loss
    assert all(not p.requires_grad for name, p in loss.named_parameters() if "lora_" not in name)


def test_parts_change_no_result(tmp_path):
    """Accumulating over many parts is one large batch."""
    _, whole, first = run(tmp_path / "a", replace(CONFIG, part_tokens=10_000))
    _, cut, second = run(tmp_path / "b", replace(CONFIG, part_tokens=64))
    assert [report.loss for report in cut] == pytest.approx([report.loss for report in whole], rel=1e-5)
    for one, other in zip(first.learnt, second.learnt, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path):
    config = replace(CONFIG, resume_s=0.0)
    _, reports, whole = run(tmp_path / "whole", config)
    facts, first, _ = run(tmp_path / "stopped", config, stop_after=7)
    assert facts is None
    facts, rest, resumed = run(tmp_path / "stopped", config)
    assert facts["resumed_at"] == 7
    assert [r.loss for r in [*first, *rest]] == pytest.approx([r.loss for r in reports], rel=1e-6)
    for one, other in zip(whole.learnt, resumed.learnt, strict=True):
        assert torch.equal(one, other)
    # Only what is learnt is kept, not the base.
    [file] = (tmp_path / "stopped").glob("step-*.safetensors")
    assert file.stat().st_size < 16 * sum(p.numel() for p in whole.learnt) + 20_000


def test_a_finished_run_does_nothing_more(tmp_path):
    run(tmp_path)
    facts, reports, _ = run(tmp_path)
    assert (facts["resumed_at"], facts["steps"], reports) == (12, 12, [])


def test_a_base_in_bfloat16_learns_too(tmp_path):
    base = load_official(tiny.write_base(tmp_path / "base.pth"), dtype=torch.bfloat16)
    assert base.blocks[0].att.key.weight.dtype == torch.bfloat16
    loss = AnswerLoss(attach_lora(base, LoraConfig(rank=4)))
    _, reports, _ = run(tmp_path, replace(CONFIG, epochs=8), loss)
    assert reports[-1].validation_loss < 0.4 * reports[0].loss


def test_states_learn_too(tmp_path):
    model = tiny.make_base()
    before = [p.clone() for p in model.parameters()]
    _, reports, loss = run(
        tmp_path, replace(CONFIG, epochs=8, learning_rate=1.0), AnswerLoss(model, InitialStates(model))
    )
    assert [p.shape for p in loss.learnt] == [(2, 2, 16, 16)]
    assert reports[-1].validation_loss < 0.8 * reports[0].loss
    assert all(map(torch.equal, before, model.parameters()))


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    loss = make_loss()
    with torch.no_grad():
        loss.learnt[0].fill_(math.inf)
    with pytest.raises(ArtefactError, match="training loss is no number at step 1; lower the recipe's"):
        run(tmp_path, loss=loss)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "loop: epochs is 0, expected more than 0"),
        ({"learning_rate": float("nan")}, "loop: learning_rate is nan"),
        ({"step_rows": 0}, "loop: step_rows is 0, expected at least 1"),
    ],
)
def test_configs_that_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        replace(CONFIG, **options)
