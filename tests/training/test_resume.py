"""A run that was killed and goes on ends with the very parameters of one that was not."""

import json
import math
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from gooseguard.core.errors import ArtefactError  # noqa: E402
from gooseguard.training.loop import LoopConfig, Phase, fit  # noqa: E402
from gooseguard.training.resume import POINTER, ResumePoints  # noqa: E402

# A point after every step.
CONFIG = LoopConfig(
    phases=(Phase(1, 1e-2, 256, is_shallow=True), Phase(1.5, 5e-3, 128)),
    warmup=3,
    token_dropout=0.2,
    resume_s=0.0,
    validate_steps=4,
    threads=2,
)


class KilledError(Exception):
    """Stands for the signal that ends a run."""


def kill_at(step):
    def report(progress):
        if progress.step == step:
            raise KilledError

    return report


def ignore(progress):
    pass


@pytest.fixture
def data(make_set):
    return make_set(60)


@pytest.fixture
def killed(data, make_trainee, tmp_path):
    """The folder of a run that was killed at its fifth step."""
    with pytest.raises(KilledError):
        fit(make_trainee(), data, CONFIG, ResumePoints(tmp_path / "resume", "one"), kill_at(5))
    return tmp_path / "resume"


@pytest.mark.parametrize("bfloat16", [False, True])
def test_killed_at_any_step_a_run_ends_bitwise_the_same(data, make_trainee, tmp_path, bfloat16):
    config = replace(CONFIG, bfloat16=bfloat16)
    whole = make_trainee()
    facts = fit(whole, data, config, ResumePoints(tmp_path / "whole", "one"), ignore)
    # In the shallow phase, at its end, in the second, and at the last step but one.
    n_shallow = fit(
        make_trainee(),
        data,
        replace(config, phases=CONFIG.phases[:1]),
        ResumePoints(tmp_path / "n", "n"),
        ignore,
    )["steps"]
    for step in (2, n_shallow, n_shallow + 3, facts["steps"] - 1):
        points = ResumePoints(tmp_path / str(step), "one")
        with pytest.raises(KilledError):
            fit(make_trainee(), data, config, points, kill_at(step))
        resumed = make_trainee(seed=9)
        again = fit(resumed, data, config, points, ignore)
        assert again["resumed_at"] == step
        assert again["validation_loss"] == facts["validation_loss"]
        assert again["train_loss"] == facts["train_loss"]
        for (name, found), expected in zip(resumed.named_parameters(), whole.parameters(), strict=True):
            assert torch.equal(found, expected), (step, name)


def test_a_finished_run_is_restored_without_a_step(data, make_trainee, tmp_path):
    points = ResumePoints(tmp_path, "one")
    whole, again = make_trainee(), make_trainee(seed=9)
    facts = fit(whole, data, CONFIG, points, ignore)
    reports = []
    assert fit(again, data, CONFIG, points, reports.append)["resumed_at"] == facts["steps"]
    assert reports == []
    for found, expected in zip(again.parameters(), whole.parameters(), strict=True):
        assert torch.equal(found, expected)


def test_a_folder_without_a_point_begins_at_the_beginning(make_trainee, tmp_path):
    model = make_trainee()
    before = [p.detach().clone() for p in model.parameters()]
    reached = ResumePoints(tmp_path / "none", "one").load(model, torch.optim.AdamW(model.parameters()))
    assert reached.step == 0
    assert math.isnan(reached.loss)
    assert all(torch.equal(p, other) for p, other in zip(model.parameters(), before, strict=True))


def test_one_point_is_kept(killed):
    state = json.loads((killed / POINTER).read_text())
    assert state["reached"]["step"] == 5
    assert {path.name for path in killed.iterdir()} == {POINTER, state["file"]}


def refusal(folder, model, fingerprint="one"):
    with pytest.raises(ArtefactError) as caught:
        ResumePoints(folder, fingerprint).load(model, torch.optim.AdamW(model.parameters()))
    return str(caught.value)


def test_another_recipe_is_refused(killed, make_trainee):
    message = refusal(killed, make_trainee(), "two")
    assert "was begun with another recipe or other data" in message
    assert "give another --output, or remove the folder" in message


def test_a_truncated_file_is_refused(killed, make_trainee):
    path = next(killed.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-8])
    assert "resume point is not whole (SafetensorError); remove the folder" in refusal(killed, make_trainee())


def test_a_missing_file_is_refused(killed, make_trainee):
    next(killed.glob("*.safetensors")).unlink()
    assert "resume point is not whole" in refusal(killed, make_trainee())


@pytest.mark.parametrize("content", ["", '{"step": 5', "{}"])
def test_a_damaged_pointer_is_refused(killed, make_trainee, content):
    (killed / POINTER).write_text(content)
    assert "remove the folder to begin again" in refusal(killed, make_trainee())


def test_what_a_kill_while_writing_leaves_is_passed_over(killed, data, make_trainee):
    (killed / "step-0000006.safetensors.partial").write_bytes(b"half")
    (killed / "step-0000006.safetensors").write_bytes(b"whole, but not pointed to yet")
    assert fit(make_trainee(), data, CONFIG, ResumePoints(killed, "one"), ignore)["resumed_at"] == 5
    assert len(list(killed.iterdir())) == 2
