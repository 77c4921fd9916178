"""Tiny towers: that they learn, resume, and give what heads read. How well, the run itself shows."""

import numpy as np
import pytest
import torch

from gooseguard.core.content import Modality
from gooseguard.core.errors import ArtefactError
from gooseguard.experiment.fitting import FitConfig
from gooseguard.experiment.scenes import draw_items
from gooseguard.experiment.towers import EVEN, TowersConfig, make_tower, teach_towers

TINY = TowersConfig(
    n_item=96,
    width=32,
    n_layer=1,
    n_head=2,
    patch=16,
    grid=2,
    n_text_layer=1,
    vocab_size=300,
    text=FitConfig(3, 1e-2, batch=32, warmup=1),
    image=FitConfig(3, 5e-3, batch=32, warmup=1),
)


def quiet(_phase):
    return lambda _progress: None


def test_towers_learn_and_are_kept(tmp_path):
    losses = {}

    def listen(phase):
        losses[phase] = []
        return lambda progress: losses[phase].append(progress.loss)

    towers = teach_towers(TINY, 0, tmp_path, listen)
    assert set(losses) == {"teach captions", "teach pictures"}
    for phase, told in losses.items():
        # Log 2 is what a matrix of zeros says.
        assert told[0] == pytest.approx(0.6931, abs=1e-3), phase
        assert told[-1] < told[0], phase
    again = teach_towers(TINY, 0, tmp_path, listen)
    assert losses == {"teach captions": [], "teach pictures": []}
    for one, same in ((towers.backbone, again.backbone), (towers.vision, again.vision)):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
        assert not any(p.requires_grad for p in one.parameters())
    encoders = towers.encoders(1 << 20)
    (item,) = draw_items(1, EVEN, np.random.default_rng(0))
    text, image = (encoders[part.modality].encode(part) for part in item.content.parts)
    assert text.shape[1] == image.shape[1] == 32
    # Four pooled patches and the class token.
    assert len(image) == 5
    assert encoders[Modality.TEXT].digest == again.encoders(0)[Modality.TEXT].digest
    with pytest.raises(ArtefactError, match="another recipe"):
        teach_towers(TINY, 1, tmp_path, quiet)


def test_the_seed_draws_the_picture_tower():
    one, same, other = (make_tower(TINY, seed).state_dict() for seed in (0, 0, 1))
    name = next(key for key in one if key.endswith("patch_embedding.weight"))
    assert torch.equal(one[name], same[name])
    assert not torch.equal(one[name], other[name])
    # Of 3 x 16 x 16 inputs.
    assert one[name].std().item() == pytest.approx(1 / (3 * 16 * 16) ** 0.5, rel=0.05)
