"""Threads share a batch: the gradient is that of one thread, and of autograd without any of this."""

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gooseguard.training.batches import pad  # noqa: E402
from gooseguard.training.loop import LoopConfig  # noqa: E402
from gooseguard.training.workers import Workers, drop  # noqa: E402

CONFIG = LoopConfig(token_dropout=0.0, bfloat16=False, longest=25)
TOLERANCE = 1e-6


@pytest.fixture
def make_trained(make_trainee):
    """Make a model whose every parameter matters: its last matrices are not zero any more."""

    def make():
        model = make_trainee(n_layer=2)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        return model

    return make


def gradients_of(model, data, batch, config, step=3):
    workers = Workers(model, data.train, data.targets, config)
    loss = workers.gradients(batch, step)
    workers.close()
    # What a replica accumulated was handed over and cleared.
    assert all(p.grad is None for replica in workers.replicas[1:] for p in replica.parameters())
    return loss, {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("n_rows", [1, 2, 7])
def test_threads_give_the_gradient_of_plain_autograd(n_rows, make_trained, make_set):
    data, batch = make_set(20), np.arange(4, 4 + n_rows)
    model = make_trained()
    tokens, lengths = pad(data.train, batch, CONFIG.longest)
    logits = model(torch.from_numpy(tokens), torch.from_numpy(lengths))
    expected_loss = model.loss(logits, data.targets, batch) / n_rows
    expected_loss.backward()
    expected = {name: p.grad for name, p in model.named_parameters()}
    for threads in (1, 2, 3):
        loss, found = gradients_of(make_trained(), data, batch, replace(CONFIG, threads=threads))
        assert math.isclose(loss, expected_loss.item(), rel_tol=1e-6)
        for name, gradient in expected.items():
            if gradient is None:
                assert found[name] is None
            else:
                assert (found[name] - gradient).abs().max() < TOLERANCE, (threads, name)


def test_replicas_see_what_the_optimiser_does(make_trained, make_set):
    data, model = make_set(20), make_trained()
    workers = Workers(model, data.train, data.targets, replace(CONFIG, threads=2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)
    for own, shared in zip(workers.replicas[1].parameters(), model.parameters(), strict=True):
        assert own.data_ptr() == shared.data_ptr()
    workers.close()


def test_the_same_step_gives_the_same_gradient_bitwise(make_trained, make_set):
    data, batch = make_set(20), np.arange(10)
    config = replace(CONFIG, token_dropout=0.3, bfloat16=True)
    one, same, other = (gradients_of(make_trained(), data, batch, config, step) for step in (3, 3, 4))
    assert one[0] == same[0] != other[0]
    for name, gradient in one[1].items():
        assert torch.equal(gradient, same[1][name]), name


def test_drop_replaces_about_its_share_by_the_reserved_token():
    tokens = torch.arange(1, 20_001).view(100, 200)
    dropped = drop(tokens, 0.1, seed=5, run_seed=0)
    is_dropped = dropped == 0
    # 2,000 expected, standard deviation 42.
    assert 1800 < int(is_dropped.sum()) < 2200
    assert torch.equal(dropped[~is_dropped], tokens[~is_dropped])
    assert torch.equal(dropped, drop(tokens, 0.1, seed=5, run_seed=0))
    assert not torch.equal(dropped, drop(tokens, 0.1, seed=6, run_seed=0))
    assert not torch.equal(dropped, drop(tokens, 0.1, seed=5, run_seed=1))
    assert torch.equal(drop(tokens, 0.0, seed=5, run_seed=0), tokens)
