import math

import pytest
import torch

from gooseguard.core.errors import ArtefactError
from gooseguard.experiment.fitting import FitConfig, fit_rows
from gooseguard.training.resume import ResumePoints


class Line(torch.nn.Module):
    """Fits y = 2 x - 1; remembers which rows it saw, and what was drawn with them."""

    def __init__(self):
        super().__init__()
        self.slope, self.offset = torch.nn.Parameter(torch.zeros(1, 1)), torch.nn.Parameter(torch.zeros(1))
        self.x = torch.linspace(-1, 1, 10).unsqueeze(1)
        self.seen = []
        self.stop_at = None

    def loss(self, rows, generator):
        if len(self.seen) == self.stop_at:
            raise KeyboardInterrupt
        self.seen.append((rows.tolist(), torch.rand((), generator=generator).item()))
        x = self.x[rows]
        return (x @ self.slope + self.offset - (2 * x - 1)).square().mean()


CONFIG = FitConfig(epochs=15, learning_rate=0.3, batch=4, warmup=2, weight_decay=0.0, resume_s=0.0)


def fit(module, folder, seed=0, config=CONFIG):
    told = []
    facts = fit_rows(module, 10, module.loss, config, seed, ResumePoints(folder, "f"), told.append)
    return facts, told


def test_every_row_is_seen_once_an_epoch_in_a_new_order(tmp_path):
    line = Line()
    facts, told = fit(line, tmp_path)
    assert facts["steps"] == len(told) == 45
    epochs = [[row for rows, _ in line.seen[i : i + 3] for row in rows] for i in range(0, 45, 3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 12
    assert line.slope.item() == pytest.approx(2, abs=0.2)
    assert line.offset.item() == pytest.approx(-1, abs=0.2)


def test_a_killed_run_goes_on_to_the_same_end(tmp_path):
    whole = Line()
    fit(whole, tmp_path / "whole")
    first = Line()
    first.stop_at = 20
    with pytest.raises(KeyboardInterrupt):
        fit(first, tmp_path / "killed")
    second = Line()
    facts, _ = fit(second, tmp_path / "killed")
    assert facts["resumed_at"] == 20
    assert first.seen + second.seen == whole.seen
    assert torch.equal(second.slope, whole.slope)
    done = Line()
    fit(done, tmp_path / "killed")
    assert done.seen == []
    assert torch.equal(done.slope, whole.slope)


def test_seeds_give_other_orders(tmp_path):
    lines = [Line() for _ in range(2)]
    for seed, line in enumerate(lines):
        fit(line, tmp_path / str(seed), seed, FitConfig(epochs=1, batch=4))
    assert lines[0].seen != lines[1].seen


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    line = Line()
    line.x[3] = math.nan
    with pytest.raises(ArtefactError, match="no number at step"):
        fit(line, tmp_path)
