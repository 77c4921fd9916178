"""What training adds to a model, and what it leaves behind."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from gooseguard.training.objectives import make_targets  # noqa: E402
from gooseguard.training.trainee import Trainee, source_offsets  # noqa: E402

NAN = math.nan


def test_source_offsets_by_hand():
    # Source a: 39 of 79 positive, even odds. b: 79 against 39. c: nobody annotated. d: only positives.
    labels = [1.0] * 39 + [0.0] * 39 + [1.0] * 79 + [0.0] * 39 + [NAN] * 5 + [1.0] * 40
    sources = ["a"] * 78 + ["b"] * 118 + ["c"] * 5 + ["d"] * 40
    offsets = source_offsets(np.array(labels, np.float32)[:, None], sources)
    assert offsets.names == ("a", "b", "c", "d")
    assert offsets.number(["d", "a", "elsewhere"]).tolist() == [3, 0, 4]
    # Over all: 158 positive, 78 negative.
    overall = math.log(159 / 79)
    np.testing.assert_allclose(
        offsets.values[:, 0], [0 - overall, math.log(80 / 40) - overall, 0, 0, 0], rtol=1e-6
    )


def test_a_source_needs_thirty_of_both_classes():
    labels = np.array([1.0] * 30 + [0.0] * 30 + [1.0] * 30 + [0.0] * 29, np.float32)[:, None]
    offsets = source_offsets(labels, ["a"] * 60 + ["b"] * 59)
    assert (offsets.values[:, 0] != 0).tolist() == [True, False, False]


def test_loss_by_hand(make_trainee):
    trainee = make_trainee()
    with torch.no_grad():
        trainee.teacher_offset.copy_(torch.tensor([math.log(3), 0.0]))
    labels = np.array([[1.0, NAN], [NAN, 0.0]], np.float32)
    teacher = np.array([[NAN, 0.5], [1.0, NAN]], np.float32)
    targets = make_targets(labels, np.array([0, 1]), teacher, 0.5)
    logits = torch.zeros(2, 2)
    # Row 0 is of source 0: offset 0.5 for the first category. Row 1 is of source 1: 0.25 for the second.
    label_loss = math.log(1 + math.exp(-0.5)) + math.log(1 + math.exp(0.25))
    # The teacher's: an even score taught as 0.5, and log odds log 3, so 3/4, taught as 1.
    taught_loss = 0.5 * math.log(2) + 0.5 * math.log(4 / 3)
    loss = trainee.loss(logits, targets, np.array([0, 1]))
    assert math.isclose(loss.item(), label_loss + taught_loss, rel_tol=1e-6)


def test_finish_gives_the_model_with_a_plain_embedding_and_the_same_logits(make_trainee):
    trainee = make_trainee(n_layer=2)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in trainee.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    tokens, lengths = torch.arange(3, 23).view(2, 10), torch.tensor([10, 7])
    expected = trainee(tokens, lengths)
    model = trainee.finish()
    assert type(model.backbone.emb) is nn.Embedding
    assert "backbone.emb.weight" in model.state_dict()
    torch.testing.assert_close(model(tokens, lengths), expected, rtol=1e-5, atol=1e-6)
    # Twice does no harm.
    assert trainee.finish() is model


def test_without_aids_the_loss_and_the_parameters_are_the_model_s_own(make_model):
    model = make_model()
    names = [f"model.{name}" for name, _ in model.named_parameters()]
    trainee = Trainee(model)
    assert [name for name, _ in trainee.named_parameters()] == names
    targets = make_targets(np.array([[1.0, NAN]], np.float32), np.array([0]))
    assert math.isclose(
        trainee.loss(torch.zeros(1, 2), targets, np.array([0])).item(), math.log(2), rel_tol=1e-6
    )
    assert trainee.finish() is model
