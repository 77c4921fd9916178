"""Heads on features made up here: a text row and an image row that say what the item is."""

import numpy as np
import pytest
import torch

from gooseguard.core.content import Content, Modality, Part
from gooseguard.core.errors import ArtefactError
from gooseguard.experiment.fitting import FitConfig
from gooseguard.experiment.fusion_heads import (
    HeadLoss,
    HeadsConfig,
    Rows,
    encode_items,
    fit_head,
    plan_head,
    read_logits,
)
from gooseguard.models.fusion import Features, FusionKind, make_fusion
from gooseguard.models.fusion_scorer import Encoder

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE
CONFIG = HeadsConfig(
    parameters=2000, n_head=1, fit=FitConfig(epochs=10, learning_rate=2e-2, batch=32, warmup=2)
)


def encode(part):
    value = float(part.data.decode())
    return torch.tensor([[value, 1.0, 0.0], [value, 0.0, 1.0]])


ENCODERS = {name: Encoder(3, encode, f"digest of {name}") for name in (TEXT, IMAGE)}


def make_rows(n=128, seed=0):
    """Items of two signs; the label is that of the text's."""
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], (n, 2))
    contents = [
        Content((Part.from_text(str(text)), Part(IMAGE, str(image).encode(), "image/png")))
        for text, image in signs
    ]
    return encode_items(ENCODERS, contents, (signs[:, 0] > 0).astype(np.float32)), signs


def test_items_are_encoded_in_order():
    rows, signs = make_rows(5)
    for place, name in enumerate((TEXT, IMAGE)):
        assert rows.features[name].rows[:, 0, 0].tolist() == signs[:, place].tolist()
        assert rows.features[name].is_real.all()


@pytest.mark.parametrize("kind", list(FusionKind))
def test_a_head_learns_calibrates_and_keeps_its_promise(kind, tmp_path):
    train, _ = make_rows()
    val, signs = make_rows(100, seed=1)
    # One label in ten is wrong, so that calibration has something to do.
    labels = val.labels.copy()
    labels[::10] = 1 - labels[::10]
    val = Rows(val.features, labels)
    fitted = fit_head(
        plan_head(kind, ENCODERS, CONFIG), 0, (train, val), ENCODERS, CONFIG, tmp_path, lambda _: None
    )
    logits = read_logits(fitted.scorer.head, val)
    assert ((logits > 0) == (signs[:, 0] > 0)).all()
    scores = fitted.scorer.calibration.apply(logits[:, None])[:, 0]
    # Maximum likelihood with a bias: mean score and share of positives agree.
    assert scores.mean() == pytest.approx(labels.mean(), abs=0.01)
    assert (scores[labels == 0] >= fitted.threshold).mean() <= CONFIG.max_fpr
    assert fitted.facts["parameters"] == pytest.approx(2000, rel=0.25)
    again = fit_head(
        plan_head(kind, ENCODERS, CONFIG), 0, (train, val), ENCODERS, CONFIG, tmp_path, lambda _: None
    )
    assert again.scorer.name == fitted.scorer.name
    assert again.threshold == fitted.threshold
    with pytest.raises(ArtefactError, match="another recipe"):
        fit_head(
            plan_head(kind, ENCODERS, CONFIG), 1, (train, val), ENCODERS, CONFIG, tmp_path, lambda _: None
        )


def test_the_loss_is_cross_entropy_and_a_tenth_of_the_contrast(monkeypatch):
    rows, _ = make_rows(8)
    still = HeadsConfig(parameters=3000, n_head=2, dropped=0.0)
    for kind in FusionKind:
        head = make_fusion(plan_head(kind, ENCODERS, still), 3)
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.add_(0.1)
        found = HeadLoss(head, rows, still).loss(torch.arange(8), torch.Generator().manual_seed(0)).item()
        logits = read_logits(head, rows).astype(np.float64)
        expected = np.mean(np.logaddexp(0, logits) - rows.labels * logits)
        if kind is FusionKind.ASYMMETRIC:
            generator = torch.Generator().manual_seed(0)
            torch.rand(8, generator=generator)  # what modality dropout draws
            expected += 0.1 * head.contrast(rows.take(torch.arange(4)), generator).item()
        assert found == pytest.approx(expected, abs=1e-5), kind


def test_modality_dropout_is_on_in_training():
    rows, _ = make_rows(64)
    config = HeadsConfig(parameters=3000, n_head=2, dropped=1.0)
    seen = []

    class Head(torch.nn.Module):
        def forward(self, features):
            seen.append({name: given.is_present for name, given in features.items()})
            return torch.zeros(64, 1)

        def contrast(self, features, generator):
            return None

    HeadLoss(Head(), rows, config).loss(torch.arange(64), torch.Generator().manual_seed(0))
    assert (seen[0][TEXT] ^ seen[0][IMAGE]).all()
    assert isinstance(rows.features[TEXT], Features)
